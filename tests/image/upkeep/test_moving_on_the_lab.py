"""The registry moves, to a folder, to another node and back; what it has is seen by curl and pulled by the nodes."""

from __future__ import annotations

import json
from pathlib import Path

from tests.commands import Lab, until
from tests.image.lab_registry import digest, pulled, push_variant, tags

NAMES = ("alertmanager", "busybox", "gateway", "node_exporter", "prometheus", "registry")
FOLDER = "/srv/registry"
VOLUME = "/var/lib/docker/volumes/pishelf-registry/_data"


def holds(lab: Lab, node: str) -> dict[str, str]:
    """The digest of each tag, SBOMs' among them."""
    return {f"{name}:{tag}": digest(lab, name, tag, node) for name in NAMES for tag in tags(lab, name, node)}


def pushed(lab: Lab, folder: str, node: str) -> list[str]:
    """Each tag's file in the registry's data with its time."""
    find = f"cd {folder}/docker/registry/v2/repositories && find . -path '*/current/link' -printf '%p %Ts\\n' | sort"
    return lab.on(node, "sh", "-c", find).ok().splitlines()


def running_from(lab: Lab) -> set[str]:
    """The addresses of the registries that the services have their images from."""
    services = lab.docker("service", "ls", "--format", "{{.Image}}").ok().split()
    return {image.partition(":")[0] for image in services}


def registries(lab: Lab) -> dict[str, str]:
    """The containers of registries, by node."""
    listed = ("docker", "ps", "--all", "--filter", "name=pishelf-registry", "--format", "{{.Names}}")
    found = {pi: lab.on(pi, *listed).ok().strip() for pi in ("pi1", "pi2", "pi3")}
    return {pi: names for pi, names in found.items() if names}


def made(folder: Path) -> Path:
    folder.mkdir()
    return folder


def provision(lab: Lab, folder: Path, **data: str) -> None:
    said = ", ".join(f"{key}={value!r}" for key, value in data.items())
    text = f"managers = _with(_managers, {said})\nworkers = _with(_workers, {said})"
    lab.deploy("swarm", inventory=lab.inventory(folder, text)).ok()


def test_the_registry_moves_to_a_folder_to_another_node_and_back_and_nothing_is_lost(
    stack: Lab, tmp_path: Path
) -> None:
    before = holds(stack, "pi1")
    times = pushed(stack, VOLUME, "pi1")
    assert len(before) >= 8
    assert all(before.values())

    # To a folder of the same node. Nothing moves silently, and nothing is begun without the folder.
    provision(stack, tmp_path, registry_data=FOLDER)
    stack.image("build-all").refused("pishelf-registry", FOLDER, "move-registry")
    stack.image("move-registry").refused(f"mkdir -p {FOLDER}")
    assert holds(stack, "pi1") == before
    stack.on("pi1", "mkdir", "-p", FOLDER).ok()
    stack.image("move-registry").ok()
    assert holds(stack, "pi1") == before
    assert pushed(stack, FOLDER, "pi1") == times

    # Back and forth: a tag that has moved on is the new image wherever the registry goes.
    first = push_variant(stack, made(tmp_path / "first"), "busybox", "v0-moving")
    stack.provision().ok()
    stack.image("move-registry").ok()
    second = push_variant(stack, made(tmp_path / "second"), "busybox", "v0-moving")
    provision(stack, tmp_path, registry_data=FOLDER)
    stack.image("move-registry").ok()
    assert first != second == digest(stack, "busybox", "v0-moving", "pi1")
    stack.image("rm", "busybox:v0-moving").ok()

    # The volume is all that there is: no empty registry is begun, and it goes when all is in the folder.
    stack.on("pi1", "docker", "rm", "--force", "pishelf-registry").ok()
    stack.on("pi1", "rm", "-r", f"{FOLDER}/docker").ok()
    stack.image("build-all").refused("its images are in pishelf-registry", "move-registry")
    stack.image("move-registry", "--remove-old").ok()
    stack.image("rm", "busybox:v0-moving").ok()
    assert holds(stack, "pi1") == before
    assert pushed(stack, FOLDER, "pi1") == times
    assert stack.on("pi1", "test", "-e", VOLUME).code == 1

    # To another node. The old one serves until nobody asks it.
    provision(stack, tmp_path, registry_node="pi2")
    stack.image("build-all").refused("pi2", "pi1", "move-registry")
    stack.image("move-registry").ok()
    assert holds(stack, "pi2") == before
    assert pushed(stack, VOLUME, "pi2") == times
    images = [tag for tag in before if ":sha256-" not in tag]
    assert {(pi, tag): pulled(stack, pi, tag, "pi2") for pi in ("pi1", "pi3") for tag in images} == {
        (pi, tag): "" for pi in ("pi1", "pi3") for tag in images
    }
    stack.image("move-registry", "--remove-old").refused("shelf_", "nothing is removed", "deploy")
    assert holds(stack, "pi1") == before

    # A revision of before the move is rolled out from where the registry is now; then nobody asks the old one.
    number = json.loads(stack.image("history", "--json").ok())[0]["number"]
    stack.image("rollback", str(number)).ok()
    assert running_from(stack) == {stack.address("pi2")}
    stack.image("move-registry", "--remove-old").ok()
    stack.on("pi1", "rm", "-r", FOLDER).ok()
    assert registries(stack) == {"pi2": "pishelf-registry"}

    # And back. A node that is away may be the one that has the images.
    stack.provision().ok()
    stack.on("pi2", "systemctl", "stop", "docker.service", "docker.socket").ok()
    stack.image("move-registry").refused("pi2", "could not be asked")
    stack.restart_engine("pi2")
    until(lambda: stack.on("pi2", "docker", "info").code == 0)
    stack.image("move-registry").ok()
    stack.image("deploy").ok()
    stack.image("move-registry", "--remove-old").ok()
    assert holds(stack, "pi1") == before
    assert pushed(stack, VOLUME, "pi1") == times
    assert running_from(stack) == {stack.address("pi1")}
    assert registries(stack) == {"pi1": "pishelf-registry"}
    assert "nothing to do" in stack.image("build-all").stderr
