"""The lab's registry, asked as any program on the network could."""

from __future__ import annotations

import base64
import json
import subprocess
from typing import Any

from image import plan
from image.registry import Login, Registry
from tests.commands import ROOT, Lab

INDEX = "application/vnd.oci.image.index.v1+json"
MANIFEST = "application/vnd.oci.image.manifest.v1+json"
# Where the registry's container keeps its data, on its node.
DATA = "/var/lib/docker/volumes/pishelf-registry/_data/docker/registry/v2"


def login(lab: Lab) -> tuple[str, str]:
    """The registry's address, and `user:password`."""
    address = f"{lab.address('pi1')}:5000"
    auth = json.loads((lab.folder / "config.json").read_text())["auths"][address]["auth"]
    return address, base64.b64decode(auth).decode()


def curl(lab: Lab, path: str, *argv: str) -> str:
    """What the registry answers; the password goes through a file descriptor."""
    address, secret = login(lab)
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


def digest(lab: Lab, name: str, reference: str) -> str:
    """The digest that a tag leads to."""
    headers = curl(lab, f"/v2/{name}/manifests/{reference}", "--head", "-H", f"Accept: {INDEX}").splitlines()
    return next(line.split()[1] for line in headers if line.lower().startswith("docker-content-digest:"))


def registry(lab: Lab) -> Registry:
    """The same, for the code under test."""
    address, secret = login(lab)
    user, _, password = secret.partition(":")
    return Registry(address, Login(user, password), lab.folder / "ca.pem")
