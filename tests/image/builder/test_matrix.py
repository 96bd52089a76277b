"""Every image for every platform, pushed to a registry, and each program started as the registry gives it out.

`make test-matrix` runs it; `make test` does not, for a cold run compiles for half an hour.
"""

from __future__ import annotations

import io
import platform as machine
import subprocess
import tarfile
from collections.abc import Iterator
from pathlib import Path

import pytest

from image import plan
from tests.commands import ROOT, Lab, command
from tests.conftest import NAME
from tests.image.builder.test_images_on_the_lab import platforms
from tests.image.lab_registry import login, manifest

pytestmark = pytest.mark.matrix

# Platform -> who plays its oldest Pi; source: QEMU's user documentation, and `lscpu` on a Pi of each kind.
PLAYERS = {
    "linux/amd64": ("qemu-x86_64", "max"),
    "linux/arm64": ("qemu-aarch64", "cortex-a53"),
    "linux/arm/v6": ("qemu-arm", "arm1176"),
    "linux/arm/v7": ("qemu-arm", "cortex-a7"),
}
SHOWS = {
    "alertmanager": ("--version", "version {}"),
    "busybox": ("--help", "BusyBox v{}"),
    "gateway": ("version", "Caddy v{}"),
    "node_exporter": ("--version", "version {}"),
    "prometheus": ("--version", "version {}"),
    "registry": ("--version", " v{}"),
    "whiskers": ("-version", "whiskers {}"),
}
"""By the image's name: what its program is started with, and what it then prints."""


@pytest.fixture(scope="module")
def matrix(engine: None) -> Iterator[Lab]:
    """A lab with one node, whose registry has everything; one command an image, for each may take its time."""
    every = tuple(word for platform in PLAYERS for word in ("--platform", platform))
    with Lab(f"{NAME}-matrix").fresh(1) as lab:
        lab.provision().ok()
        for name in ("registry", *(name for name in SHOWS if name != "registry")):
            lab.image("build-all", name, *every).ok()
        yield lab


def program(lab: Lab, name: str, digest: str) -> bytes:
    """The image's program, out of the layers that the registry gives to a node."""
    address, secret = login(lab)
    for layer in manifest(lab, name, digest)["layers"]:
        done = subprocess.run(
            ["curl", "--silent", "--show-error", "--fail", "--max-time", "120", "--cacert", lab.folder / "ca.pem",
             "--config", "-", f"https://{address}/v2/{name}/blobs/{layer['digest']}"],
            input=f'user = "{secret}"\n'.encode(), capture_output=True, check=True, cwd=ROOT,
        )  # fmt: skip
        with tarfile.open(fileobj=io.BytesIO(done.stdout)) as tar:
            if f"bin/{name}" in tar.getnames():
                content = tar.extractfile(f"bin/{name}")
                assert content
                return content.read()
    raise AssertionError(f"no layer of {name} has bin/{name}")


@pytest.mark.parametrize("platform", PLAYERS)
@pytest.mark.parametrize("name", SHOWS)
def test_every_program_starts_on_every_platform_as_the_registry_has_it(
    matrix: Lab, name: str, platform: str, tmp_path: Path
) -> None:
    (image,) = plan.read((name,))
    file = tmp_path / name
    file.write_bytes(program(matrix, name, platforms(matrix, name, image.tag)[platform]))
    file.chmod(0o755)
    player, model = PLAYERS[platform]
    words = (file,) if (machine.machine(), platform) == ("x86_64", "linux/amd64") else (player, "-cpu", model, file)
    argument, shows = SHOWS[name]
    for _ in range(3):
        assert shows.format(image.version) in command(*words, argument).said


def test_no_two_platforms_share_an_image(matrix: Lab) -> None:
    for name in SHOWS:
        (image,) = plan.read((name,))
        found = platforms(matrix, name, image.tag)
        assert set(found) == set(PLAYERS)
        assert len(set(found.values())) == len(PLAYERS)
