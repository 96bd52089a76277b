"""The lab's registry, asked as any program on the network could."""

from __future__ import annotations

import base64
import fcntl
import json
import os
import signal
import subprocess
import sys
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from image import plan
from image.registry.client import Login, Registry
from tests.commands import ROOT, Lab, command

INDEX = "application/vnd.oci.image.index.v1+json"
MANIFEST = "application/vnd.oci.image.manifest.v1+json"
# Where the registry's container keeps its data, on its node.
DATA = "/var/lib/docker/volumes/pishelf-registry/_data/docker/registry/v2"


def login(lab: Lab, node: str = "pi1") -> tuple[str, str]:
    """The address of the registry on a node, and `user:password`."""
    address = f"{lab.address(node)}:5000"
    auth = json.loads((lab.folder / "config.json").read_text())["auths"][address]["auth"]
    return address, base64.b64decode(auth).decode()


def curl(lab: Lab, path: str, *argv: str, node: str = "pi1") -> str:
    """What the registry answers; the password goes through a file descriptor."""
    address, secret = login(lab, node)
    done = subprocess.run(
        ["curl", "--silent", "--show-error", "--max-time", "20", "--cacert", lab.folder / "ca.pem", "--config", "-",
         *argv, f"https://{address}{path}"],
        input=f'user = "{secret}"\n', capture_output=True, text=True, check=False, cwd=ROOT,
    )  # fmt: skip
    return done.stdout + done.stderr


def manifest(lab: Lab, name: str, reference: str) -> dict[str, Any]:
    """An index or a manifest."""
    accept = f"Accept: {INDEX}, {MANIFEST}"
    found: dict[str, Any] = json.loads(curl(lab, f"/v2/{name}/manifests/{reference}", "-H", accept))
    return found


def tag(name: str) -> str:
    """The tag of an image, as this clone describes it."""
    (image,) = plan.read((name,))
    return image.tag


def tags(lab: Lab, name: str, node: str = "pi1") -> list[str]:
    """All of an image's tags."""
    return list(json.loads(curl(lab, f"/v2/{name}/tags/list", node=node)).get("tags") or [])


def versions(lab: Lab, name: str, node: str = "pi1") -> list[str]:
    """The tags of images, without those that list what is said of one."""
    return [tag for tag in tags(lab, name, node) if not tag.startswith("sha256-")]


def digest(lab: Lab, name: str, reference: str, node: str = "pi1") -> str:
    """The digest that a tag leads to; empty where there is none."""
    said = curl(lab, f"/v2/{name}/manifests/{reference}", "--head", "-H", f"Accept: {INDEX}", node=node)
    found = [line.split()[1] for line in said.splitlines() if line.lower().startswith("docker-content-digest:")]
    return found[0] if found else ""


def registry(lab: Lab) -> Registry:
    """The same, for the code under test."""
    address, secret = login(lab)
    user, _, password = secret.partition(":")
    return Registry(address, Login(user, password), lab.folder / "ca.pem")


def pulled(lab: Lab, node: str, reference: str, registry: str = "pi1") -> str:
    """Have a node's engine pull `name:tag` or `name@digest`; empty, or what it said against it."""
    address, secret = login(lab, registry)
    user, _, password = secret.partition(":")
    script = (
        f"docker login --username {user} --password-stdin {address} >/dev/null 2>&1 &&"
        f" docker pull --quiet {address}/{reference}; code=$?;"
        f" docker image rm {address}/{reference} >/dev/null 2>&1;"  # unless a task uses it
        f" docker logout {address} >/dev/null; exit $code"
    )
    done = subprocess.run(
        ["docker", "exec", "--interactive", f"{lab.name}-{node}", "sh", "-c", script],
        input=password, capture_output=True, text=True, check=False,
    )  # fmt: skip
    return "" if done.returncode == 0 else done.stdout + done.stderr or "no words"


def push_variant(lab: Lab, folder: Path, name: str, tag: str, node: str = "pi1") -> str:
    """Push an image of a megabyte that nothing else has a part of, for two platforms; its digest."""
    context = folder / tag
    context.mkdir()
    (context / "noise").write_bytes(os.urandom(1 << 20))
    (context / "Dockerfile").write_text("FROM scratch\nARG TARGETPLATFORM\nLABEL for=$TARGETPLATFORM\nCOPY noise /\n")
    address, _ = login(lab, node)
    command(
        "buildx", "build", "--quiet", "--provenance=false", "--output=type=image,oci-mediatypes=true,push=true",
        "--platform=linux/amd64,linux/arm64", f"--tag={address}/{name}:{tag}", context,
        PATH=f"{ROOT / '.build' / 'bin'}{os.pathsep}{os.environ['PATH']}",
        DOCKER_HOST=f"tcp://{lab.address(node)}:2376", DOCKER_TLS_VERIFY="1", DOCKER_CERT_PATH=str(lab.folder),
        DOCKER_CONFIG=str(lab.folder), BUILDX_CONFIG=str(folder / "buildx"), BUILDX_BUILDER="",
    ).ok()  # fmt: skip
    return digest(lab, name, tag, node)


@contextmanager
def begun(lab: Lab, *argv: str) -> Iterator[subprocess.Popen[str]]:
    """A command that goes on while the body runs, and no longer."""
    with subprocess.Popen(
        [sys.executable, "-m", "image", "--context", lab.name, *argv], cwd=ROOT, start_new_session=True,
        stdin=subprocess.DEVNULL, stdout=subprocess.DEVNULL, stderr=subprocess.PIPE, text=True,
    ) as running:  # fmt: skip
        try:
            yield running
        finally:
            if running.poll() is None:
                os.killpg(running.pid, signal.SIGKILL)


def says(running: subprocess.Popen[str], word: str) -> None:
    """Wait until it tells of its work with this word."""
    assert running.stderr
    seen = []
    for line in running.stderr:
        seen.append(line)
        if word in line:
            return
    raise AssertionError(f"it ended with {running.wait()} and never said {word!r}: {seen}")


@contextmanager
def another_command(lab: Lab) -> Iterator[Callable[[], None]]:
    """As if another command of this clone changed the registry while the body runs, or until it calls what it gets."""
    with (ROOT / ".build" / f"bake-{lab.name}.lock").open("w") as file:
        fcntl.flock(file, fcntl.LOCK_EX)
        yield lambda: fcntl.flock(file, fcntl.LOCK_UN)
