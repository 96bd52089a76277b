"""What the peers need: Ansible and Mitogen on this machine, Python's library and python3-apt on their nodes."""

from __future__ import annotations

import hashlib
import sys
from typing import Final

from docker import DockerClient
from docker.errors import ImageNotFound

from bench.ways import BENCH, VENV
from image.errors import UserError
from image.run import run
from lab import engine, image
from lab.progress import step
from lab.spec import CLONE, LABEL_NODE

_REQUIREMENTS: Final = BENCH / "requirements.txt"
_STAMP: Final = VENV / "made-from"
# On Raspberry Pi OS they are there; without them Ansible's modules do not start, or install them first.
_PACKAGES: Final = "python3 python3-apt"


def ensure_venv() -> None:
    """Make the peers' own virtual environment, exactly as bench/requirements.txt pins it."""
    key = f"{hashlib.sha256(_REQUIREMENTS.read_bytes()).hexdigest()} {sys.version} {CLONE}"
    if _STAMP.exists() and _STAMP.read_text(encoding="utf-8") == key:
        return
    with step("making the peers' virtual environment"):
        run(sys.executable, "-m", "venv", "--clear", VENV)
        pip = (VENV / "bin" / "python", "-m", "pip", "install", "--disable-pip-version-check")
        run(*pip, "--require-hashes", "-r", _REQUIREMENTS)
        _STAMP.write_text(key, encoding="utf-8")  # last: without it the next run begins again


def images() -> tuple[str, str]:
    """The tags of a blank Pi's image, and of the same with what the peers need on a node."""
    client = engine.connect()
    blank = image.ensure(client, CLONE / ".build" / "lab" / "image")
    return blank, _with_python(client, blank)


def _with_python(client: DockerClient, blank: str) -> str:
    tag = f"{blank}-python"
    try:
        client.images.get(tag)
    except ImageNotFound:
        with step("making the peers' nodes' file system"):
            _install(client, blank, tag)
    return tag


def _install(client: DockerClient, blank: str, tag: str) -> None:
    get = f"apt-get -qq --yes --no-install-recommends install {_PACKAGES}"
    # From the lists at hand, so that the engine's packages are as new as on a blank node.
    script = f"{get} || {{ apt-get -qq update && {get}; }}"
    container = client.containers.create(
        blank, entrypoint=["sh", "-c", script], environment={"DEBIAN_FRONTEND": "noninteractive"}
    )
    try:
        container.start()
        if container.wait()["StatusCode"] != 0:
            said = container.logs(tail=8).decode(errors="replace")
            raise UserError(f"installing {_PACKAGES} into {tag}:\n{said}")
        repository, _, name = tag.partition(":")
        settings = image.read_recipe().settings
        container.commit(repository=repository, tag=name, changes=[f"LABEL {LABEL_NODE}={name}", "CMD []", *settings])
    finally:
        container.remove(force=True)


def versions() -> dict[str, str]:
    """The peers' versions, as they are pinned."""
    pins = (
        line.split()[0].split("==") for line in _REQUIREMENTS.read_text(encoding="utf-8").splitlines() if "==" in line
    )
    return {name: version for name, version in pins if name in ("ansible-core", "mitogen")}
