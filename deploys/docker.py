"""The engine: configured first, then installed, so that its first start is its only one."""

from __future__ import annotations

from typing import Any, Final

from pyinfra import host
from pyinfra.api import deploy
from pyinfra.api.exceptions import DeployError

from deploys.cluster import Cluster
from deploys.settings import ClusterSettings
from facts.engine import METRICS_ADDRESS, STARTED, TLS_FOLDER
from operations import engine, packages, repository, upgrade
from operations.packages import Wanted
from operations.repository import Repository

# How the engine answers the network.
_LISTENS: Final[dict[str, Any]] = {
    "hosts": ["fd://", "tcp://0.0.0.0:2376"],
    # Both: without tlsverify the engine serves anyone.
    "tls": True,
    "tlsverify": True,
    "tlscacert": f"{TLS_FOLDER}/ca.pem",
    "tlscert": f"{TLS_FOLDER}/server-cert.pem",
    "tlskey": f"{TLS_FOLDER}/server-key.pem",
}

_RUNS: Final[dict[str, Any]] = {
    # The containerd image store builds and runs multi-platform indexes.
    "features": {"containerd-snapshotter": True},
    # Rotated and compressed: json-file would fill the card.
    "log-driver": "local",
    "log-opts": {"max-size": "10m", "max-file": "3"},
    # No engine with it can be in a swarm (moby/moby#29640), so it must not be on, whoever wrote it.
    "live-restore": False,
}

# What CIS' benchmark for Docker asks of an engine and no service of a swarm needs.
_HARDENING: Final[dict[str, Any]] = {
    # No process in a container gets more rights than it started with.
    "no-new-privileges": True,
    # Containers that nobody put into a network of their own do not reach each other.
    "icc": False,
    # One program less for each published port.
    "userland-proxy": False,
}

# Each engine since 20.10 takes it, without `experimental` (moby/moby#40427).
_METRICS: Final[dict[str, Any]] = {"metrics-addr": METRICS_ADDRESS}

_NOTES_ITS_START: Final = f"""\
[Service]
ExecStartPre=/usr/bin/touch {STARTED}
"""

# The unit's own `-H fd://` and the `hosts` of daemon.json exclude each other (moby/moby#25471).
_DROP_IN: Final = f"""\
{_NOTES_ITS_START}\
ExecStart=
ExecStart=dockerd
"""

_TEN_MINUTES: Final = 600.0


@deploy("Engine")
def install(cluster: Cluster) -> None:
    """One engine, in one version, reachable over TLS by who has a certificate of the cluster's CA."""
    settings = cluster.settings
    wanted = (_HARDENING if settings.engine_hardening else {}) | (_METRICS if settings.metrics else {})
    repository.known_to_apt(name="Let apt find Docker's packages", repository=_repository(settings))
    packages.offered(name="Look for the engine's packages", wanted=_wanted(settings))
    engine.configured(
        name="Configure the engine",
        daemon_json=_LISTENS | _RUNS | wanted,
        without={key: value for key, value in (_HARDENING | _METRICS).items() if key not in wanted},
        drop_in=_DROP_IN,
    )
    packages.installed(name="Install the engine", wanted=_wanted(settings))
    _run(cluster)


@deploy("Engine")
def run(cluster: Cluster) -> None:
    """What the engine reads at its start takes effect."""
    _run(cluster)


def _run(cluster: Cluster) -> None:
    engine.started(name="Run the engine with this configuration")
    engine.restarted(name="Restart the swarm's engines, one after the other", folder=cluster.folder, _serial=True)


@deploy("Engine")
def close() -> None:
    """The engine answers on its own host alone, as one that its package brought."""
    engine.closed(name="Close the engine", without=_LISTENS | _METRICS, drop_in=_NOTES_ITS_START)
    engine.started(name="Run the engine with this configuration")


@deploy("Engine")
def purge() -> None:
    """No engine, and nothing of what it kept."""
    packages.purged(name="Remove the engine and all that it keeps")


@deploy("Engine")
def bring_up_to_date(cluster: Cluster) -> None:
    """The newest version that all hosts can have, or that of `engine_version`, on one host after the other."""
    wanted, crosses = _wanted(cluster.settings), host.data.get("major") is True
    packages.offered(name="Look for newer packages", wanted=wanted, newer_than=_TEN_MINUTES, always=True)
    upgrade.downloaded(name="Download them", wanted=wanted, crosses=crosses)
    upgrade.upgraded(
        name="Upgrade the engines, one after the other",
        wanted=wanted,
        crosses=crosses,
        folder=cluster.folder,
        _serial=True,
    )


def _wanted(settings: ClusterSettings) -> Wanted:
    return Wanted(settings.engine_source, settings.engine_version or "")


def _repository(settings: ClusterSettings) -> Repository | None:
    if settings.engine_source == "distribution":
        return None
    if settings.engine_repository is None:
        raise DeployError(
            "engine_source = 'docker-ce' needs engine_repository, the address of Docker's apt repository: the page"
            " 'Install Docker Engine on Debian' of Docker's documentation has it, after `URIs:`"
        )
    return Repository(settings.engine_repository, settings.engine_key_fingerprint)
