"""The ways that are compared. A way is files to write first, and a command for each scenario; nothing is run here."""

from __future__ import annotations

import sys
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Final, Literal, Protocol

from bench.site import Site
from lab.spec import CLONE

Scenario = Literal["cold", "nothing", "join", "light"]

BENCH: Final = CLONE / "bench"
VENV: Final = CLONE / ".build" / "bench-venv"
_MITOGEN: Final = f"lib/python{sys.version_info.major}.{sys.version_info.minor}/site-packages/ansible_mitogen"


@dataclass(frozen=True)
class Command:
    """A program to start, and what differs in its environment."""

    argv: tuple[str, ...]
    env: Mapping[str, str] = field(default_factory=dict)
    cwd: Path = CLONE


class Way(Protocol):
    """One way to make a swarm of hosts."""

    @property
    def name(self) -> str:
        """What tables call it."""

    @property
    def needs_python(self) -> bool:
        """Whether its nodes need more of Python than a blank virtual Pi has."""

    def files(self, site: Site) -> Mapping[str, str]:
        """What it wants to find in the site's folder: content by file name."""

    def command(self, scenario: Scenario, site: Site) -> Command:
        """What does the scenario's work on all nodes of the site."""


@dataclass(frozen=True)
class Pyinfra:
    """What this repository does."""

    name: str = "this project"
    needs_python: bool = False

    def files(self, site: Site) -> Mapping[str, str]:
        """An inventory as a person writes it; the lab's own would ask this machine's engine for its nodes."""
        common = {
            "cluster_name": site.lab.name,
            "ssh_user": "pi",
            "ssh_key": str(site.key),
            "ssh_known_hosts_file": str(site.known_hosts),
            "ssh_strict_host_key_checking": "yes",
        }
        leader, *others = ((node.name, common | {"address": node.address}) for node in site.nodes)
        return {"inventory.py": f"managers = {[leader]!r}\nworkers = {others!r}\n"}

    def command(self, scenario: Scenario, site: Site) -> Command:
        deploy = "bench/light.py" if scenario == "light" else "deploys/swarm.py"
        return Command(("pyinfra", "-y", str(site.work / "inventory.py"), deploy))


@dataclass(frozen=True)
class Ansible:
    """The playbook of bench/ansible/, with Ansible's own strategy or with Mitogen's."""

    name: str = "Ansible"
    needs_python: bool = True
    mitogen: bool = False

    def files(self, site: Site) -> Mapping[str, str]:
        leader, *others = (f"{node.name} ansible_host={node.address}" for node in site.nodes)
        settings = {
            "ansible_user": "pi",
            "ansible_ssh_private_key_file": site.key,
            "ansible_ssh_common_args": f"-o UserKnownHostsFile={site.known_hosts}",
            "pki": site.work / "pki",
            "payload": BENCH / "payload",
        }
        data = (f"{name}={value}" for name, value in settings.items())
        return {"inventory.ini": "\n".join(["[managers]", leader, "[workers]", *others, "[all:vars]", *data, ""])}

    def command(self, scenario: Scenario, site: Site) -> Command:
        del scenario  # a playbook finds out itself
        strategy = {
            "ANSIBLE_STRATEGY": "mitogen_linear",
            "ANSIBLE_STRATEGY_PLUGINS": str(VENV / _MITOGEN / "plugins" / "strategy"),
        }
        return Command(
            (
                str(VENV / "bin" / "ansible-playbook"),
                "-i",
                str(site.work / "inventory.ini"),
                "bench/ansible/playbook.yml",
            ),
            {
                "ANSIBLE_CONFIG": str(BENCH / "ansible" / "ansible.cfg"),
                "ANSIBLE_SSH_CONTROL_PATH_DIR": str(site.work / "ssh"),
                "LC_ALL": "C.UTF-8",
                **(strategy if self.mitogen else {}),
            },
        )


@dataclass(frozen=True)
class Floor:
    """Plain ssh, as bench/floor/floor.sh describes it."""

    name: str = "floor"
    needs_python: bool = False

    def files(self, site: Site) -> Mapping[str, str]:
        options = {
            "User": "pi",
            "IdentityFile": site.key,
            "IdentitiesOnly": "yes",
            "UserKnownHostsFile": site.known_hosts,
            "LogLevel": "ERROR",
        }
        return {"ssh_config": "".join(f"{name} {value}\n" for name, value in options.items())}

    def command(self, scenario: Scenario, site: Site) -> Command:
        nodes = (f"{node.name}={node.address}" for node in site.nodes)
        return Command(("bash", "bench/floor/floor.sh", scenario, str(site.work), *nodes))


OURS: Final = Pyinfra()
PLAIN: Final = Ansible()
MITOGEN: Final = Ansible(name="Ansible on Mitogen", mitogen=True)
FLOOR: Final = Floor()
WAYS: Final[Mapping[str, Way]] = {"ours": OURS, "mitogen": MITOGEN, "ansible": PLAIN, "floor": FLOOR}


def write_files(way: Way, site: Site) -> None:
    """Write what a way wants to find."""
    for name, content in way.files(site).items():
        Path(site.work / name).write_text(content, encoding="utf-8")
