"""What is true of the Docker engine on a host, installed or not. One round trip."""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, ClassVar

from facts.part import Part

DAEMON_JSON = "/etc/docker/daemon.json"
DROP_IN = "/etc/systemd/system/docker.service.d/cluster.conf"
TLS_FOLDER = "/etc/docker/tls"
# The drop-in touches it at each start, so what is newer was not read yet.
STARTED = "/run/docker-started"

_READ_AT_START = " ".join([DAEMON_JSON, DROP_IN, *(f"{TLS_FOLDER}/{name}.pem" for name in ("ca", "server-cert"))])


@dataclass(frozen=True)
class EngineState:
    """The engine's packages, configuration and unit."""

    packages: Mapping[str, str]
    """Version by name, of the engine's packages that are installed whole."""
    interrupted: bool
    """Whether dpkg was stopped in the middle of its work and has to be helped up first."""
    daemon_json: Mapping[str, Any] | None
    """None where there is none."""
    daemon_json_error: str
    """Why daemon.json cannot be read as what it should be; empty where it can."""
    drop_in: str
    active: bool
    enabled: bool
    stale: bool
    """Whether something that the engine reads at its start has changed since."""


class Engine(Part[EngineState]):
    """Reads `EngineState`."""

    questions: ClassVar[Mapping[str, str]] = {
        "packages": "dpkg-query -W -f '${Package} ${Version} ${db:Status-Abbrev}\\n' docker.io docker-cli docker-ce",
        "interrupted": "ls -A /var/lib/dpkg/updates; dpkg --audit",
        "daemon_json": f"cat {DAEMON_JSON}",
        "drop_in": f"cat {DROP_IN}",
        "unit": "systemctl show docker.service -p ActiveState -p UnitFileState -p NeedDaemonReload",
        "stale": f'for file in {_READ_AT_START}; do if test "$file" -nt {STARTED}; then echo "$file"; fi; done',
    }

    def parse(self, found: Mapping[str, str]) -> EngineState:
        words = [line.split() for line in found["packages"].splitlines()]
        unit = dict(line.split("=", 1) for line in found["unit"].splitlines() if "=" in line)
        daemon_json, daemon_json_error = _daemon_json(found["daemon_json"].strip())
        return EngineState(
            packages={word[0]: word[1] for word in words if word[-1] in ("ii", "hi")},
            interrupted=bool(found["interrupted"].strip()),
            daemon_json=daemon_json,
            daemon_json_error=daemon_json_error,
            drop_in=found["drop_in"],
            active=unit.get("ActiveState") == "active",
            enabled=unit.get("UnitFileState") == "enabled",
            stale=bool(found["stale"].strip()) or unit.get("NeedDaemonReload") == "yes",
        )


def _daemon_json(text: str) -> tuple[Mapping[str, Any] | None, str]:
    try:
        found = json.loads(text) if text else None
    except ValueError as error:
        return None, f"{DAEMON_JSON} is not JSON: {error}"
    if found is not None and not isinstance(found, dict):
        return None, f"{DAEMON_JSON} is not a JSON object"
    return found, ""
