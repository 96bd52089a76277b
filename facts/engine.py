"""What is true of the Docker engine on a host, installed or not. One round trip."""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import PurePosixPath
from typing import Any, ClassVar, Final

from facts.part import Part

DAEMON_JSON = "/etc/docker/daemon.json"
DROP_IN = "/etc/systemd/system/docker.service.d/cluster.conf"
TLS_FOLDER = "/etc/docker/tls"
# The drop-in touches it at each start, so what is newer was not read yet.
STARTED = "/run/docker-started"
# The configuration that the running engine started with, while it is not sure that it does with the new one.
BEFORE = ".before"
# Its own metrics, for programs on the host itself: whoever reaches them needs no certificate.
METRICS_ADDRESS = "127.0.0.1:9323"

# Docker's own repository, in the files that Docker's page for Debian names.
REPOSITORY = "/etc/apt/sources.list.d/docker.sources"
KEYRING = "/etc/apt/keyrings/docker.asc"

# What an engine is made of, by where it comes from; the first of each is the engine itself.
PACKAGES: Final[Mapping[str, tuple[str, ...]]] = {
    "distribution": ("docker.io", "docker-cli", "containerd", "runc"),
    "docker-ce": ("docker-ce", "docker-ce-cli", "containerd.io"),
}

# What an engine leaves behind.
DATA = ("/var/lib/docker", "/var/lib/containerd")
CONFIGURATION = ("/etc/docker", str(PurePosixPath(DROP_IN).parent), REPOSITORY, KEYRING, STARTED, "/run/docker")

_READ_AT_START = " ".join([DAEMON_JSON, DROP_IN, *(f"{TLS_FOLDER}/{name}.pem" for name in ("ca", "server-cert"))])
_NAMES = "|".join(name.replace(".", "[.]") for names in PACKAGES.values() for name in names)
# One look at dpkg's list: our packages, and any that dpkg was stopped in the middle of (dpkg-query(1), Status-Abbrev).
_LISTED = f"^[^ ]([^inc]|.[^ ])|^... ({_NAMES}) "


@dataclass(frozen=True)
class EngineState:
    """The engine's packages, configuration and unit."""

    packages: Mapping[str, str]
    """Version by name, of the engine's packages that are installed whole."""
    held: frozenset[str]
    """Which of them apt leaves alone."""
    interrupted: bool
    """Whether dpkg was stopped in the middle of its work and has to be helped up first."""
    programs: frozenset[str]
    """Which of the programs `docker`, `curl` and `nft` are there."""
    codename: str
    """The distribution's release, e.g. `trixie`."""
    repository: str
    """Where apt finds Docker's own packages; empty where it does not know of them from us."""
    keyring: str
    """The key that these packages have to be signed with."""
    daemon_json: Mapping[str, Any] | None
    """None where there is none."""
    daemon_json_error: str
    """Why daemon.json cannot be read as what it should be; empty where it can."""
    drop_in: str
    unproven: bool
    """Whether an earlier configuration is kept, for the engine has not started with the new one yet."""
    active: bool
    enabled: bool
    unread: tuple[str, ...]
    """What the engine reads at its start and what is newer than that: files, the unit, the program itself."""
    mixed_iptables: bool
    """Whether the engine's rules are nftables' while others are iptables-legacy's: a packet has to pass both."""

    @property
    def stale(self) -> bool:
        """Whether the engine runs with something else than what is there by now."""
        return bool(self.unread)

    @property
    def source(self) -> str:
        """Where the installed engine comes from; empty where there is none."""
        return next((source for source, names in PACKAGES.items() if names[0] in self.packages), "")

    @property
    def version(self) -> str:
        """The version of the installed engine's package; empty where there is none."""
        return self.packages[PACKAGES[self.source][0]] if self.source else ""


class Engine(Part[EngineState]):
    """Reads `EngineState`."""

    questions: ClassVar[Mapping[str, str]] = {
        "packages": "dpkg-query --show --showformat='${db:Status-Abbrev} ${Package} ${Version}\\n'"
        f" | grep -E '{_LISTED}'",
        "updates": "ls -A /var/lib/dpkg/updates",
        "programs": "for program in docker curl nft; do command -v $program; done",
        "codename": '. /etc/os-release && echo "$VERSION_CODENAME"',
        "repository": f"cat {REPOSITORY}",
        "keyring": f"cat {KEYRING}",
        "daemon_json": f"cat {DAEMON_JSON}",
        "drop_in": f"cat {DROP_IN}",
        "before": f"ls {DAEMON_JSON}{BEFORE} {DROP_IN}{BEFORE}",
        "unit": "systemctl show docker.service -p ActiveState -p UnitFileState -p NeedDaemonReload",
        "unread": f'for file in {_READ_AT_START}; do if test "$file" -nt {STARTED}; then echo "$file"; fi; done',
        # A package that was upgraded under a running engine leaves it running from a file that is gone.
        "program": "readlink /proc/$(cat /run/docker.pid)/exe",
        "iptables": 'readlink -f "$(command -v iptables)"',
        "legacy_rules": "grep -q . /proc/net/ip_tables_names && iptables-legacy-save | grep -m 1 '^-A'",
    }

    def parse(self, found: Mapping[str, str]) -> EngineState:
        listed = [_package(line) for line in found["packages"].splitlines()]
        unit = dict(line.split("=", 1) for line in found["unit"].splitlines() if "=" in line)
        daemon_json, daemon_json_error = _daemon_json(found["daemon_json"].strip())
        whole = [package for package in listed if package.status[1:] == "i "]
        return EngineState(
            packages={package.name: package.version for package in whole},
            held=frozenset(package.name for package in whole if package.status[0] == "h"),
            interrupted=bool(found["updates"].strip()) or any(package.interrupted for package in listed),
            programs=frozenset(PurePosixPath(path).name for path in found["programs"].split()),
            codename=found["codename"].strip(),
            repository=found["repository"],
            keyring=found["keyring"],
            daemon_json=daemon_json,
            daemon_json_error=daemon_json_error,
            drop_in=found["drop_in"],
            unproven=bool(found["before"].strip()),
            active=unit.get("ActiveState") == "active",
            enabled=unit.get("UnitFileState") == "enabled",
            unread=_unread(found, unit) if unit.get("ActiveState") == "active" else (),
            mixed_iptables=found["iptables"].strip().endswith("nft-multi") and bool(found["legacy_rules"].strip()),
        )


class Remains(Part[tuple[str, ...]]):
    """What is there of an engine besides its packages: the first file of its data, and its configuration."""

    questions: ClassVar[Mapping[str, str]] = {
        "remains": f"find {' '.join(DATA)} -mindepth 1 -print -quit; ls -d {' '.join(CONFIGURATION)}"
    }

    def parse(self, found: Mapping[str, str]) -> tuple[str, ...]:
        return tuple(found["remains"].splitlines())


@dataclass(frozen=True)
class _Package:
    """A line of dpkg's list."""

    status: str
    """Three letters: what is wanted, what is, what is wrong (a space if nothing is)."""
    name: str
    version: str

    @property
    def interrupted(self) -> bool:
        """Whether it is neither installed whole nor removed whole."""
        return self.status[1] not in "inc" or self.status[2] != " "


def _package(line: str) -> _Package:
    words = line[3:].split()
    if len(line) < 3 or not words:
        raise ValueError(f"not a line of dpkg's list: {line!r}")
    return _Package(line[:3], words[0], words[1] if len(words) > 1 else "")


def _unread(found: Mapping[str, str], unit: Mapping[str, str]) -> tuple[str, ...]:
    return (
        *found["unread"].split(),
        *(["docker.service"] if unit.get("NeedDaemonReload") == "yes" else []),
        *(["its own program"] if found["program"].strip().endswith("(deleted)") else []),
    )


def _daemon_json(text: str) -> tuple[Mapping[str, Any] | None, str]:
    try:
        found = json.loads(text) if text else None
    except (ValueError, RecursionError) as error:
        return None, f"{DAEMON_JSON} is not JSON: {error}"
    if found is not None and not isinstance(found, dict):
        return None, f"{DAEMON_JSON} is not a JSON object"
    return found, ""
