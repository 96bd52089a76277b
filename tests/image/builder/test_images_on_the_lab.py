"""Images built, pushed and pulled on the lab; the registry is asked by curl and by the nodes' own engines."""

from __future__ import annotations

import base64
import json
import os
import signal
import subprocess
import sys
from pathlib import Path

import pytest

from tests.commands import ROOT, Lab, command
from tests.image.lab_registry import curl, login, manifest, pulled, tags

NAMES = ("alertmanager", "busybox", "gateway", "node_exporter", "prometheus", "registry")


def platforms(lab: Lab, name: str, tag: str) -> dict[str, str]:
    """Digest by platform, from the index that the registry holds."""
    index = manifest(lab, name, tag)
    found = {}
    for one in index["manifests"]:
        platform = one["platform"]
        words = (platform["os"], platform["architecture"], platform.get("variant"))
        found["/".join(filter(None, words))] = one["digest"]
    return found


def nodes_platform(lab: Lab) -> str:
    machine = lab.docker("info", "--format", "{{.Architecture}}").ok().strip()
    return {"x86_64": "linux/amd64", "aarch64": "linux/arm64"}[machine]


@pytest.mark.parametrize("name", NAMES)
def test_the_registry_has_each_image_for_the_nodes_and_for_arm64(images: Lab, name: str) -> None:
    newest = tags(images, name)[-1]
    assert {nodes_platform(images), "linux/arm64"} <= set(platforms(images, name, newest))


def test_a_second_build_has_nothing_to_do(images: Lab) -> None:
    done = images.image("build-all")
    done.ok()
    assert "nothing to do" in done.stderr


def test_json_tells_of_each_platform_what_the_registry_holds(images: Lab) -> None:
    for image in json.loads(images.image("build-all", "--json").ok()):
        held = platforms(images, image["name"], image["tag"])
        assert {row["platform"]: row["digest"] for row in image["platforms"]} == held
        for row in image["platforms"]:
            layers = manifest(images, image["name"], row["digest"])["layers"]
            assert row["wire"] == sum(layer["size"] for layer in layers)
            assert row["wire"] < row["plain"]


def test_the_registry_lets_nobody_in_without_its_password_or_without_tls(images: Lab) -> None:
    address, _ = login(images)
    ca = str(images.folder / "ca.pem")
    status = ("curl", "-s", "-m", "10", "-o", "/dev/null", "-w", "%{http_code}")
    assert command(*status, "--cacert", ca, f"https://{address}/v2/").stdout == "401"
    assert command(*status, "--cacert", ca, "-u", "cluster:wrong", f"https://{address}/v2/").stdout == "401"
    assert command(*status, f"http://{address}/v2/").stdout in ("400", "000")


def test_what_was_pushed_survives_a_restart_of_the_registry(images: Lab) -> None:
    before = {name: tags(images, name) for name in NAMES}
    images.on("pi1", "docker", "restart", "pishelf-registry").ok()
    curl(images, "/v2/", "--retry", "20", "--retry-connrefused", "--retry-delay", "1")
    assert {name: tags(images, name) for name in NAMES} == before


def test_every_node_pulls_from_the_registry(images: Lab) -> None:
    tag = tags(images, "busybox")[-1]
    assert {pi: pulled(images, pi, f"busybox:{tag}") for pi in ("pi1", "pi2", "pi3")} == {
        "pi1": "",
        "pi2": "",
        "pi3": "",
    }


def test_a_wrong_password_is_named_and_nothing_is_built(images: Lab, tmp_path: Path) -> None:
    address, _ = login(images)
    wrong = {"auths": {address: {"auth": base64.b64encode(b"cluster:wrong").decode()}}}
    (tmp_path / "config.json").write_text(json.dumps(wrong))
    said = images.image("--credentials", str(tmp_path), "build-all").refused(address, "password", "Try:")
    assert "linux/" not in said, "a program was made for a registry that does not let us in"


@pytest.mark.parametrize("text", ["linux/armv7", "windows/amd64", "linux/arm"])
def test_an_unknown_platform_is_refused_by_name(images: Lab, text: str) -> None:
    images.image("build-all", "--platform", text).refused(f"{text!r}", "linux/arm/v7")


def test_an_unknown_image_is_refused_with_the_nearest(images: Lab) -> None:
    images.image("build-all", "node-exporter").refused("'node-exporter'", "node_exporter")


def test_an_unknown_context_is_refused_by_name(images: Lab) -> None:
    images.python("image", "--context", "no-such-context", "build-all").refused("no-such-context")


def test_a_build_for_the_oldest_pis_is_killed_again_and_again_and_ends_well(images: Lab, tmp_path: Path) -> None:
    """With an artefact cache of its own, so that there is something to be half-done; Go's cache is the usual one."""
    build = ("build-all", "busybox", "node_exporter", "--platform", "linux/arm/v6", "--platform", "linux/arm/v7")
    gocache = command(Path(sys.executable).parent / "go", "env", "GOCACHE").ok().strip()
    own = {"XDG_CACHE_HOME": str(tmp_path), "GOCACHE": gocache}
    for seconds, how in ((1, signal.SIGINT), (3, signal.SIGKILL), (8, signal.SIGTERM)):
        running = subprocess.Popen(
            [sys.executable, "-m", "image", "--context", images.name, *build],
            cwd=ROOT, env={**os.environ, **own}, start_new_session=True,
            stdin=subprocess.DEVNULL, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL,
        )  # fmt: skip
        try:
            running.wait(seconds)
        except subprocess.TimeoutExpired:
            os.killpg(running.pid, how)
            running.wait(60)
    images.image(*build, **own).ok()
    for name in ("busybox", "node_exporter"):
        found = platforms(images, name, tags(images, name)[-1])
        assert {nodes_platform(images), "linux/arm64", "linux/arm/v6", "linux/arm/v7"} <= set(found)
        assert len(set(found.values())) == len(found), "two platforms share an image"
    assert "nothing to do" in images.image(*build, **own).stderr
