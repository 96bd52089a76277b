"""A lab from nothing to running and back; each call finishes what an earlier, killed one began."""

from __future__ import annotations

import json
import shutil
from collections.abc import Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import AbstractContextManager
from dataclasses import dataclass, replace
from ipaddress import IPv4Network
from pathlib import Path

from docker import DockerClient
from docker.errors import APIError, NotFound
from docker.models.containers import Container
from docker.models.networks import Network
from docker.types import IPAMConfig, IPAMPool

from image.errors import UserError
from lab import engine, files, image, keys, nodes, subnet, watchers
from lab.progress import say, step
from lab.spec import LABEL_LAB, Lab, Node, node_number
from pki.context import ENGINE_PORT, docker_config_folder, forget
from pki.folder import write_private

_TRIES = 5


@dataclass(frozen=True)
class Found:
    """What the engine holds of a lab: nodes by number, what stands beside them, and its network."""

    containers: dict[int, Container]
    others: tuple[Container, ...]
    """E.g. the mail server."""
    network: Network | None
    subnet: IPv4Network | None

    def __bool__(self) -> bool:
        return bool(self.containers or self.others) or self.network is not None


@dataclass(frozen=True)
class Status:
    """One node as a person or a program wants to know it."""

    name: str
    container: str
    address: str
    state: str


def find(client: DockerClient, lab: Lab, force: bool = False) -> Found:
    """Look up what belongs to `lab`.

    Raises:
        UserError: a lab of that name belongs to another clone. `force` takes it over where that
            clone's folder is gone.
    """
    only: dict[str, str | list[str] | bool] = {"label": f"{LABEL_LAB}={lab.name}"}
    containers = client.containers.list(all=True, filters=only, ignore_removed=True)
    networks = client.networks.list(filters=only)
    owners = {nodes.clone_of(container.labels) for container in containers}
    owners |= {nodes.clone_of(network.attrs.get("Labels")) for network in networks}
    for owner in sorted(owners - {str(lab.clone)}):
        _refuse_or_take(lab, owner, force)
    network = networks[0] if networks else None
    numbered = [(node_number(container.name or ""), container) for container in containers]
    return Found(
        containers={number: container for number, container in numbered if number},
        others=tuple(container for number, container in numbered if not number),
        network=network,
        subnet=IPv4Network(network.attrs["IPAM"]["Config"][0]["Subnet"]) if network else None,
    )


def _refuse_or_take(lab: Lab, owner: str, force: bool) -> None:
    if Path(owner).is_dir():
        raise UserError(
            f"lab {lab.name!r} is in use by another clone, {owner}",
            f"LAB=other make demo, or make clean in {owner}",
        )
    if not force:
        raise UserError(
            f"lab {lab.name!r} belongs to a clone that is gone, {owner}",
            f"python -m lab down --name {lab.name} --force, or LAB=other make demo",
        )


def up(lab: Lab, count: int, tag: str = "") -> list[Status]:
    """Make, start and await what `lab` lacks of `count` nodes; leaves alone what is there.

    Args:
        tag: an image that the engine has, instead of a blank Pi's.
    """
    with alone(lab):
        client = engine.connect()
        found = find(client, lab)
        _open_state(lab)
        public_key = keys.ensure(lab)
        found = _without_halves(found)
        missing = [number for number in range(1, count + 1) if number not in found.containers]
        if missing:
            tag = tag or image.ensure(client, lab.clone / ".build" / "lab" / "image")
            _create(client, lab, found, missing, tag, public_key)
            found = find(client, lab)
        started = _start(found)
        _await(lab, found, public_key, quiet=not (missing or started))
        _report(lab, found, count, changed=bool(missing or started))
        return _statuses(find(client, lab) if missing or started else found)


def down(lab: Lab, force: bool = False) -> None:
    """Remove exactly what belongs to `lab`: nodes, volumes, network, docker context, keys."""
    with alone(lab):
        client = engine.connect()
        found = find(client, lab, force)
        volumes = client.volumes.list(filters={"label": f"{LABEL_LAB}={lab.name}"})
        if not (found or volumes or _is_ours(lab)):
            say(f"lab {lab.name!r} is not there: nothing to remove")
            return
        with step(f"removing lab {lab.name!r}: {len(found.containers)} nodes"):
            with ThreadPoolExecutor() as pool:
                list(pool.map(_remove, (*found.containers.values(), *found.others)))
            for volume in volumes:
                volume.remove(force=True)
            # The network last but the keys: its address tells which docker context is this lab's.
            _remove_context(lab, found.subnet)
            if found.network is not None:
                found.network.remove()
            if _is_ours(lab):
                shutil.rmtree(lab.state)


def status(lab: Lab) -> list[Status]:
    """The nodes of `lab`, by number; none where it is not there."""
    return _statuses(find(engine.connect(), lab))


def runs(found: Sequence[Status]) -> bool:
    """Whether any node of a lab runs; a lab without a leader was never made whole."""
    return bool(found) and found[0].name == "pi1" and any(node.state == "running" for node in found)


def alone(lab: Lab) -> AbstractContextManager[None]:
    """Hold the lab for ourselves."""
    path = lab.clone / ".build" / "lab" / f"{lab.name}.lock"
    return files.lock(path, f"another `python -m lab` works on lab {lab.name!r}")


def _open_state(lab: Lab) -> None:
    """Make the folder for the lab's keys; refuse one that is a real cluster's."""
    if lab.state.exists() and any(lab.state.iterdir()) and not _is_ours(lab):
        raise UserError(
            f"{lab.state} holds the keys of a cluster that is no lab",
            "another name for the lab: LAB=other make demo",
        )
    files.private_folder(lab.state)
    if not _is_ours(lab):
        write_private(_marker(lab), json.dumps({"lab": lab.name}).encode("ascii"))


def _marker(lab: Lab) -> Path:
    """The file that tells a lab's folder from a real cluster's, which `down` must never remove."""
    return lab.state / "lab.json"


def _is_ours(lab: Lab) -> bool:
    return _marker(lab).exists()


def _without_halves(found: Found) -> Found:
    """Remove nodes that were made but never started: their maker was killed, the key may be missing."""
    halves = [number for number, container in found.containers.items() if container.status in ("created", "dead")]
    for number in halves:
        _remove(found.containers[number])
    whole = {number: container for number, container in found.containers.items() if number not in halves}
    return replace(found, containers=whole)


def _create(client: DockerClient, lab: Lab, found: Found, missing: list[int], tag: str, public_key: str) -> None:
    machine = engine.inspect(client)
    watchers.make_room(len(client.containers.list(filters={"label": LABEL_LAB})) + len(missing))
    network = found.subnet or _create_network(client, lab)
    with step(f"making {', '.join(f'pi{number}' for number in missing)} in {network}"):
        for number in missing:
            nodes.create(client, Node(lab, number, network), tag, machine, public_key)


def _create_network(client: DockerClient, lab: Lab) -> IPv4Network:
    refused: list[IPv4Network] = []
    for _ in range(_TRIES):
        chosen = subnet.choose(lab.name, (*_taken(client), *refused))
        pool = IPAMPool(subnet=str(chosen), gateway=str(chosen.network_address + 1))
        try:
            client.networks.create(
                lab.name,
                driver="bridge",
                labels=lab.labels,
                ipam=IPAMConfig(pool_configs=[pool]),
                check_duplicate=True,  # engines before 25 allow two networks of one name
            )
            return chosen
        except APIError as error:
            if error.status_code == 409 or "already exists" in str(error.explanation):
                raise UserError(
                    f"the engine has a network {lab.name!r} that is not a lab's",
                    "another name for the lab: LAB=other make demo",
                ) from None
            # Another lab is just taking this subnet; the engine lists its network only a moment later.
            refused.append(chosen)
            failure = error
    raise UserError(f"making network {lab.name!r}: {failure.explanation}")


def _taken(client: DockerClient) -> list[IPv4Network]:
    networks = subnet.parse_routes(Path("/proc/net/route").read_text(encoding="ascii"))
    for network in client.networks.list():
        for config in (network.attrs.get("IPAM") or {}).get("Config") or []:
            if ":" not in config.get("Subnet", ":"):
                networks.append(IPv4Network(config["Subnet"], strict=False))
    return networks


def _start(found: Found) -> list[int]:
    """Start what does not run; the numbers of what was started."""
    stopped = [number for number, container in sorted(found.containers.items()) if container.status != "running"]
    if stopped:
        with step(f"starting {', '.join(f'pi{number}' for number in stopped)}"), ThreadPoolExecutor() as pool:
            list(pool.map(lambda number: nodes.start(found.containers[number]), stopped))
    return stopped


def _await(lab: Lab, found: Found, public_key: str, quiet: bool) -> None:
    """Wait for all nodes, learn their host keys, and let the lab's key in where it is not."""

    def one(container: Container) -> nodes.Answers:
        answers = nodes.wait(container, nodes.address_of(container))
        if public_key not in answers.authorized:
            nodes.authorize(container, [*answers.authorized, public_key])
        return answers

    containers = [container for _, container in sorted(found.containers.items())]
    for container in containers:
        container.reload()
    with ThreadPoolExecutor(max_workers=16) as pool:
        if quiet:
            answers = list(pool.map(one, containers))
        else:
            with step("waiting until every node is up"):
                answers = list(pool.map(one, containers))
    addresses = [nodes.address_of(container) for container in containers]
    learnt = {address: list(answer.host_keys) for address, answer in zip(addresses, answers, strict=True)}
    keys.write_known_hosts(lab, learnt)


def _report(lab: Lab, found: Found, count: int, changed: bool) -> None:
    extra = sorted(number for number in found.containers if number > count)
    if extra:
        names = ", ".join(f"pi{number}" for number in extra)
        say(f"lab {lab.name!r} has more nodes than the {count} asked for and keeps them: {names}")
    if not changed:
        say(f"lab {lab.name!r}: {len(found.containers)} nodes are up, nothing to do")


def _statuses(found: Found) -> list[Status]:
    return [
        Status(f"pi{number}", container.name or "", str(nodes.address_of(container)), container.status)
        for number, container in sorted(found.containers.items())
    ]


def _remove(container: Container) -> None:
    for _ in range(_TRIES):
        try:
            container.remove(v=True, force=True)
            return
        except NotFound:
            return
        except APIError as error:
            # 409: its removal is already on its way; 500: a mount is still busy for a moment
            failure = error
    raise UserError(f"removing {container.name}: {failure.explanation}", f"docker rm -f {container.name}")


def _remove_context(lab: Lab, network: IPv4Network | None) -> None:
    """Remove the docker context of that name, if it leads to this lab's leader."""
    if network is None:
        return
    forget(lab.name, f"tcp://{Node(lab, 1, network).address}:{ENGINE_PORT}", docker_config_folder())
