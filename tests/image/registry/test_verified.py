"""What is wrong with an image in the lab's registry: found where something is, and only there."""

from __future__ import annotations

import hashlib
import json
import re
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

import pytest

from image import plan
from image.registry import referrers
from image.registry.verified import verify
from tests.commands import Lab
from tests.image.lab_registry import DATA, INDEX, curl, digest, manifest, registry, tag

NAMES = ("alertmanager", "busybox", "gateway", "node_exporter", "prometheus", "registry")


@pytest.mark.parametrize("deep", [False, True], ids=["", "deep"])
@pytest.mark.parametrize("name", NAMES)
def test_nothing_is_wrong_with_what_was_pushed(images: Lab, name: str, deep: bool) -> None:
    assert verify(registry(images), name, tag(name), deep, platforms=True) == ()
    beside = referrers.fallback_tag(digest(images, name, tag(name)))
    assert verify(registry(images), name, beside, deep) == (), "its SBOM"


def test_what_is_not_there_is_missing(images: Lab) -> None:
    assert verify(registry(images), "busybox", "v0") == ("busybox:v0: is missing",)


def parts(lab: Lab) -> tuple[str, dict[str, Any]]:
    """The first platform's digest and its manifest, of a small image."""
    found = manifest(lab, "busybox", tag("busybox"))["manifests"][0]["digest"]
    return found, manifest(lab, "busybox", found)


@contextmanager
def damaged(lab: Lab, blob: str, script: str) -> Iterator[None]:
    """Do something to a blob's file `$f` on the registry's disk; afterwards all is as it was."""
    value = blob.removeprefix("sha256:")
    file = f"{DATA}/blobs/sha256/{value[:2]}/{value}/data"
    lab.on("pi1", "sh", "-c", f"f={file}; cp $f /tmp/kept && {script}").ok()
    try:
        yield
    finally:
        lab.on("pi1", "sh", "-c", f"mv /tmp/kept {file}").ok()


@pytest.mark.parametrize(
    ("script", "deep", "words"),
    [
        ("rm $f", False, "layer sha256:"),
        ("truncate -s -1 $f", False, "layer sha256:"),
        ("rm $f", True, "layer sha256:"),
        ("printf x | dd of=$f bs=1 seek=99 conv=notrunc 2>/dev/null", True, "is damaged: it is sha256:"),
    ],
)
def test_a_layer_that_is_not_as_it_was_is_found(images: Lab, script: str, deep: bool, words: str) -> None:
    at, found = parts(images)
    layer = found["layers"][0]["digest"]
    with damaged(images, layer, script):
        wrong = verify(registry(images), "busybox", tag("busybox"), deep)
    assert len(wrong) == 1, wrong
    assert at in wrong[0]
    assert layer in wrong[0]
    assert words in wrong[0]
    assert verify(registry(images), "busybox", tag("busybox"), deep=True) == ()


def test_a_configuration_that_was_changed_is_found(images: Lab) -> None:
    at, found = parts(images)
    with damaged(images, found["config"]["digest"], "sed -i s/linux/xunil/g $f"):
        wrong = verify(registry(images), "busybox", tag("busybox"), platforms=True)
    assert [re.search("configuration sha256:.* is damaged", line) is not None for line in wrong] == [True, False], wrong
    assert "its configuration says xunil/" in wrong[1]
    assert at in wrong[0]


@pytest.mark.parametrize(
    "platform", [{"os": "linux", "architecture": "mips64le"}, {"os": "linux", "architecture": "arm", "variant": "v6"}]
)
def test_a_platform_that_is_not_the_images_is_found(images: Lab, platform: dict[str, str]) -> None:
    """With variant: an ARMv7 program under ARMv6's name does not start on a Pi Zero."""
    index = manifest(images, "busybox", tag("busybox"))
    entry = {**index["manifests"][0], "platform": platform}
    body = json.dumps({"schemaVersion": 2, "mediaType": INDEX, "manifests": [entry]})
    reference = f"sha256:{hashlib.sha256(body.encode()).hexdigest()}"
    put = ("--request", "PUT", "-H", f"Content-Type: {INDEX}", "--data-binary", body)
    assert curl(images, f"/v2/busybox/manifests/{reference}", *put) == ""
    try:
        (wrong,) = verify(registry(images), "busybox", reference, platforms=True)
        assert verify(registry(images), "busybox", reference) == (), "a copy is as its maker made it"
        assert f"the index says {'/'.join(platform.values())}, its configuration says linux/" in wrong
    finally:
        curl(images, f"/v2/busybox/manifests/{reference}", "--request", "DELETE")


@pytest.mark.parametrize("name", NAMES)
def test_index_and_manifests_and_labels_say_what_the_image_is(images: Lab, name: str) -> None:
    (image,) = plan.read((name,))
    index = manifest(images, name, image.tag)
    for entry in index["manifests"]:
        found = manifest(images, name, entry["digest"])
        config = json.loads(curl(images, f"/v2/{name}/blobs/{found['config']['digest']}"))
        for said in (index["annotations"], found["annotations"], config["config"]["Labels"]):
            about = {key.removeprefix("org.opencontainers.image."): value for key, value in said.items()}
            assert about.get("title") == name
            assert about.get("version") == image.version
            assert about.get("licenses") == image.about.licenses
            assert about.get("source") == image.about.source
            assert about.get("description") == image.about.description
            assert about.get("revision", "").startswith("v" if image.about.go else image.version)


def questions(lab: Lab) -> int:
    """How many manifests the registry was asked for since it started, as its metrics say, inside its own network."""
    script = """
    at=$(docker inspect -f '{{range .NetworkSettings.Networks}}{{.IPAddress}}{{end}}' pishelf-registry)
    exec 3<>/dev/tcp/$at/5001; printf 'GET /metrics HTTP/1.0\\r\\n\\r\\n' >&3; cat <&3"""
    said = lab.on("pi1", "bash", "-c", script).ok()
    counted = re.findall(r'^registry_http_requests_total\{.*handler="manifest".*\} (\S+)$', said, re.MULTILINE)
    assert counted, said
    return int(sum(map(float, counted)))


def test_a_run_with_nothing_to_do_asks_one_question_an_image_and_starts_no_compiler_and_no_buildkit(
    images: Lab,
) -> None:
    before = questions(images)
    done = images.image("--verbose", "build-all")
    assert "nothing to do" in done.stderr
    assert questions(images) - before == len([image for image in plan.read() if image.name != "whiskers"])  # it is off
    started = [line for line in done.stderr.splitlines() if line.startswith("+ ")]
    assert [line for line in started if "docker context" not in line] == []
