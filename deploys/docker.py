"""The engine: configured first, then installed, so that its first start is its only one."""

from __future__ import annotations

from typing import Any, Final

from pyinfra.api import deploy

from facts.engine import STARTED, TLS_FOLDER
from operations import engine

PACKAGES: Final = ("docker.io", "docker-cli")

DAEMON_JSON: Final[dict[str, Any]] = {
    "hosts": ["fd://", "tcp://0.0.0.0:2376"],
    # Both: without tlsverify the engine serves anyone.
    "tls": True,
    "tlsverify": True,
    "tlscacert": f"{TLS_FOLDER}/ca.pem",
    "tlscert": f"{TLS_FOLDER}/server-cert.pem",
    "tlskey": f"{TLS_FOLDER}/server-key.pem",
    # The containerd image store builds and runs multi-platform indexes.
    "features": {"containerd-snapshotter": True},
    # Rotated and compressed: json-file would fill the card.
    "log-driver": "local",
    "log-opts": {"max-size": "10m", "max-file": "3"},
}

# The unit's own `-H fd://` and the `hosts` of daemon.json exclude each other (moby/moby#25471).
DROP_IN: Final = f"""\
[Service]
ExecStartPre=/usr/bin/touch {STARTED}
ExecStart=
ExecStart=dockerd
"""


@deploy("Engine")
def install() -> None:
    """One engine, from the distribution, reachable over TLS by who has a certificate of the cluster's CA."""
    engine.configured(name="Configure the engine", daemon_json=DAEMON_JSON, drop_in=DROP_IN)
    engine.installed(name="Install the engine", packages=PACKAGES)
    engine.running(name="Run the engine with this configuration")
