"""How a host comes to write its own metrics, for node_exporter to hand out."""

from __future__ import annotations

import hashlib
from collections.abc import Generator
from pathlib import Path, PurePosixPath

from pyinfra import host
from pyinfra.api import StringCommand
from pyinfra.api.command import PyinfraCommand

from facts.metrics import FOLDER, PROGRAM, STARTED, UNIT, UNIT_FILE, Metrics
from operations.file import place, place_unseen
from operations.known import converges, known

_SOURCE = Path(__file__).parent.parent / "metrics" / "daemon.py"
_HOUSE = PurePosixPath(PROGRAM).parent


def unit(registry: str) -> str:
    """The daemon's unit: root, for the engine's socket and vcgencmd's device are root's, and with nothing else of it.

    Args:
        registry: the registry's address, `host:port`.
    """
    return f"""\
[Unit]
Description=Write what node_exporter does not know of this host

[Service]
Type=notify
WatchdogSec=90
ExecStartPre=/usr/bin/touch {STARTED}
ExecStart=/usr/bin/python3 -I -S {PROGRAM} {registry}
Restart=always
RestartSec=15
RuntimeDirectory={PurePosixPath(FOLDER).name}
UMask=0022
Nice=10
MemoryMax=128M
CapabilityBoundingSet=
NoNewPrivileges=yes
ProtectSystem=strict
ProtectHome=yes
PrivateTmp=yes
# A Pi's firmware, which vcgencmd asks.
DevicePolicy=closed
DeviceAllow=/dev/vcio rw
DeviceAllow=/dev/vchiq rw
ProtectKernelTunables=yes
ProtectKernelModules=yes
ProtectKernelLogs=yes
ProtectControlGroups=yes
ProtectHostname=yes
RestrictAddressFamilies=AF_UNIX AF_INET
RestrictNamespaces=yes
RestrictRealtime=yes
RestrictSUIDSGID=yes
LockPersonality=yes
MemoryDenyWriteExecute=yes
SystemCallArchitectures=native
SystemCallFilter=@system-service

[Install]
WantedBy=multi-user.target
"""


@converges(Metrics)
def written(registry: str) -> Generator[PyinfraCommand, None, None]:
    """Have the daemon run, in the version of this clone.

    Args:
        registry: as for `unit`.
    """
    found, program, text = known(Metrics), _SOURCE.read_text(), unit(registry)
    same_program = found.digest == hashlib.sha256(program.encode()).hexdigest()
    same_unit = found.unit == text.strip()
    if same_program and same_unit and found.enabled and found.active and not found.stale:
        host.noop("already written")
        return
    if not same_program:
        yield place_unseen(PROGRAM, program, mode="644")  # as an argument it would be long
    if not same_unit:
        yield place(UNIT_FILE, text)
    yield StringCommand(
        f"systemctl daemon-reload && systemctl enable --quiet {UNIT} && systemctl restart {UNIT}"
        f" || {{ journalctl -u {UNIT} -n 20 --no-pager -o cat >&2; exit 1; }}"
    )


@converges(Metrics)
def left() -> Generator[PyinfraCommand, None, None]:
    """Take the daemon away, and with it what it wrote."""
    found = known(Metrics)
    if not (found.digest or found.unit):
        host.noop("writes none")
        return
    yield StringCommand(
        f"if test -e {UNIT_FILE}; then systemctl disable --quiet --now {UNIT}; fi; rm -f {PROGRAM} {UNIT_FILE}"
        f" && systemctl daemon-reload && {{ rmdir --ignore-fail-on-non-empty {_HOUSE} 2>/dev/null || true; }}"
    )
