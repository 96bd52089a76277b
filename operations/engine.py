"""How a host gets its Docker engine, configured before it starts for the first time."""

from __future__ import annotations

import json
from collections.abc import Generator, Mapping, Sequence
from typing import Any

from pyinfra import host
from pyinfra.api import StringCommand
from pyinfra.api.command import PyinfraCommand

from facts.engine import DAEMON_JSON, DROP_IN, Engine
from facts.swarm import Swarm
from operations.file import place
from operations.known import converges, known
from operations.refusal import Refused

# dpkg itself does not wait for another dpkg, such as the automatic upgrade of a first boot.
_FINISH = (
    "for second in $(seq 300); do"
    " said=$(DEBIAN_FRONTEND=noninteractive dpkg --configure -a --force-confold 2>&1) && exit 0;"
    ' case "$said" in *lock*) sleep 1;; *) break;; esac; done; echo "$said" >&2; exit 1'
)
# Debian's mirror of the moment, the automatic upgrade of a first boot: both are waited for.
_APT = "DEBIAN_FRONTEND=noninteractive apt-get -y -o DPkg::Lock::Timeout=300 -o Dpkg::Options::=--force-confold"


@converges(Engine)
def configured(daemon_json: Mapping[str, Any], drop_in: str) -> Generator[PyinfraCommand, None, None]:
    """Merge `daemon_json` into what is there, so that keys which a person added stay, and place the drop-in."""
    state = known(Engine)
    if state.daemon_json_error:
        raise Refused(f"{state.daemon_json_error}; mend or remove the file on {host.name}, then run again")
    merged = {**(state.daemon_json or {}), **daemon_json}
    if state.daemon_json == merged and state.drop_in.strip() == drop_in.strip():
        host.noop("already configured")
        return
    if state.daemon_json != merged:
        yield place(DAEMON_JSON, json.dumps(merged, indent=2) + "\n")
    if state.drop_in.strip() != drop_in.strip():
        yield place(DROP_IN, drop_in)


@converges(Engine, Swarm)
def installed(packages: Sequence[str]) -> Generator[PyinfraCommand, None, None]:
    """Install the engine's packages, after finishing what an interrupted dpkg left behind."""
    state = known(Engine)
    if not state.interrupted and all(package in state.packages for package in packages):
        host.noop("already installed")
        return
    if state.interrupted:
        yield StringCommand(_FINISH)
        yield StringCommand(f"{_APT} --fix-broken install")
    if "docker-ce" in state.packages:
        raise Refused(
            f"has docker-ce, and this deploy installs {packages[0]}, which would replace it; remove one first"
        )
    yield StringCommand("apt-get -o DPkg::Lock::Timeout=300 update -qq")
    yield StringCommand(f"{_APT} --no-install-recommends install {' '.join(packages)}")


@converges(Engine, Swarm)
def running() -> Generator[PyinfraCommand, None, None]:
    """Start the engine, or restart it where it runs with an older configuration.

    It asks the host and not what this run changed, so that a run which was killed in between is made good.
    """
    state = known(Engine)
    if state.active and state.enabled and not state.stale:
        host.noop("already running with this configuration")
        return
    yield StringCommand(f"dockerd --validate --config-file={DAEMON_JSON}")
    yield StringCommand("systemctl daemon-reload && systemctl reset-failed docker.service docker.socket")
    yield StringCommand(
        "systemctl enable --quiet docker.service && systemctl restart docker.service"
        " || { journalctl -u docker.service -n 20 --no-pager -o cat >&2; exit 1; }"
    )
