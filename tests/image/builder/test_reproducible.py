"""The same pins give the same bytes: in another folder, under another umask, another day, with nothing kept."""

from __future__ import annotations

import os
import shutil
import subprocess
import sys
from pathlib import Path

import pytest

from image.builder import bake
from image.builder.compile import compiled
from image.builder.pack import Program, Sizes
from image.plan import ROOT, Description, Go, Image, Starts
from image.platform import Platform
from image.registry import referrers
from image.run import run
from tests.commands import Lab
from tests.image.lab_registry import MANIFEST, curl, digest, manifest, tag

PLATFORMS = [Platform.parse(text) for text in ("linux/arm/v6", "linux/arm64")]
SMALL = ("busybox", "node_exporter")


@pytest.mark.parametrize("platform", PLATFORMS, ids=str)
def test_a_program_has_the_same_bytes_in_another_folder(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, platform: Platform
) -> None:
    monkeypatch.setenv("GOCACHE", run("go", "env", "GOCACHE").strip())  # the standard library is slow to compile
    made = []
    for number, folder in enumerate((tmp_path / "here", tmp_path / "another" / "place")):
        folder.mkdir(parents=True)
        (folder / "go.mod").write_text("module hello\n\ngo 1.25\n")
        (folder / "main.go").write_text('package main\n\nfunc main() { panic("whose path would show") }\n')
        about = Description("hello", "hello", "", "", "", Starts((), ""), go=Go("hello", "."))
        monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / f"cache{number}"))
        assert about.go
        made.append(compiled(Image(folder, about, "1.2.3"), about.go, platform))
    assert made[0] != made[1], "there is one artefact: nothing was compiled twice"
    sums = subprocess.run(["sha256sum", *made], capture_output=True, text=True, check=True).stdout.split()[::2]
    assert sums[0] == sums[1]


def test_images_have_the_same_digests_from_another_folder_and_a_cold_buildkit(images: Lab, tmp_path: Path) -> None:
    tags = {name: tag(name) for name in SMALL}
    # Other tests may have built for more platforms than the nodes'.
    wanted = [word for each in platforms(images, "busybox", tags["busybox"]) for word in ("--platform", each)]
    assert set(platforms(images, "node_exporter", tags["node_exporter"])) == set(wanted[1::2])
    before = {name: digest(images, name, tags[name]) for name in SMALL}
    sboms = {name: referrer(images, name, before[name]) for name in SMALL}
    clone = tmp_path / "another clone"
    for name in ("image", "pki", "Busybox", "NodeExporter"):
        shutil.copytree(ROOT / name, clone / name, symlinks=True, ignore=shutil.ignore_patterns("__pycache__"))
    for path in clone.rglob("*"):
        os.utime(path, follow_symlinks=False)
        if not path.is_symlink():  # as git writes files for a user whose files nobody else may read
            path.chmod(path.stat().st_mode & 0o700)
    (clone / ".build").mkdir()
    (clone / ".build" / "bin").symlink_to(ROOT / ".build" / "bin")
    for name in SMALL:
        assert curl(images, f"/v2/{name}/manifests/{tags[name]}", "--request", "DELETE") == ""
    images.on("pi1", "docker", "builder", "prune", "--all", "--force").ok()

    # As another user on another machine would, whose files nobody else may read: nothing is there but Go's own cache.
    own = {"XDG_CACHE_HOME": str(tmp_path / "cache"), "GOCACHE": run("go", "env", "GOCACHE").strip()}
    done = subprocess.run(
        [sys.executable, "-m", "image", "--context", images.name, "--credentials", images.folder, "build-all",
         *SMALL, *wanted],
        cwd=clone, env={**os.environ, **own}, umask=0o077, capture_output=True, text=True, check=False,
    )  # fmt: skip
    assert done.returncode == 0, done.stderr
    assert "push the images" in done.stderr, "nothing was made anew"
    assert {name: digest(images, name, tags[name]) for name in SMALL} == before
    assert {name: referrer(images, name, before[name]) for name in SMALL} == sboms


def platforms(lab: Lab, name: str, tag: str) -> list[str]:
    entries = (entry["platform"] for entry in manifest(lab, name, tag)["manifests"])
    return sorted("/".join(filter(None, map(each.get, ("os", "architecture", "variant")))) for each in entries)


def referrer(lab: Lab, name: str, subject: str) -> str:
    (entry,) = manifest(lab, name, referrers.fallback_tag(subject))["manifests"]
    assert entry["mediaType"] == MANIFEST
    return str(entry["digest"])


def test_a_context_is_named_after_what_lies_in_it(tmp_path: Path) -> None:
    """BuildKit takes a file of the same size and time, from a folder of the same name, for the one that it has."""

    def laid_out(content: str) -> set[str]:
        folder = tmp_path / content
        folder.mkdir()
        (folder / "Dockerfile").write_text("FROM scratch\n")
        (folder / "page").write_text(content)
        program = Program(folder / "page", Sizes(1))
        about = Description("hello", "hello", "", "", "", Starts((), ""))
        contents = bake.Contents(Image(folder, about, "1.2.3"), {PLATFORMS[0]: program}, pack=False)
        tree = tmp_path / f"tree of {content}"
        bake.lay_out(contents, tree)
        assert {int(path.stat().st_mtime) for path in tree.rglob("*")} == {0}
        return {path.name for path in tree.iterdir()}

    assert not laid_out("here") & laid_out("else")


def test_layers_hold_no_time_of_their_making(images: Lab, tmp_path: Path) -> None:
    """Of the image that has most of them: files that are the same for all platforms, a folder that a user owns."""
    listed: list[str] = []
    file = tmp_path / "layer.tar.gz"
    (entry, *_) = manifest(images, "prometheus", tag("prometheus"))["manifests"]
    for layer in manifest(images, "prometheus", entry["digest"])["layers"]:
        curl(images, f"/v2/prometheus/blobs/{layer['digest']}", "--output", str(file))
        listed += run("tar", "--utc", "--full-time", "-tvzf", file).splitlines()
    assert {line.split()[-1] for line in listed} >= {"bin/prometheus", "ui/static/", "prometheus/"}
    assert [line for line in listed if " 1970-01-01 00:00:00 " not in line] == []
