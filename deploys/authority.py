"""The cluster changes its CA. One host's lines do what happens on the controller; the others wait for them."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta
from functools import cache
from pathlib import Path

from pyinfra import host, logger
from pyinfra.api import deploy
from pyinfra.api.exceptions import DeployError

from deploys.cluster import OWNER, Cluster
from deploys.membership import write_context
from operations import ca
from operations.tls import Issuer
from pki import rotation

# A run that follows at once has nothing to do.
_REST = timedelta(hours=1)


def is_due(cluster: Cluster) -> bool:
    """Whether a change is under way, or the last one ended long enough ago for the next, or it is asked for.

    Raises:
        DeployError: there is no CA to leave.
    """
    try:
        due = rotation.due(cluster.folder, datetime.now(UTC) - _REST)
    except ValueError as error:
        raise DeployError(str(error)) from error
    return due or host.data.get("again") is True


@cache  # each host walks the deploy, and once is enough
def say_that_it_rests(folder: Path) -> None:
    """Say why nothing is done."""
    logger.warning(
        f"the CA in {folder} was changed less than an hour ago, so nothing is to do;"
        " to change it again already, add --data again=true"
    )


@deploy("CA")
def begin(cluster: Cluster, issuer: Issuer) -> None:
    """Make the next CA; docker's clients on this computer trust both."""
    ca.begun(
        name="Make the next CA", speaks=_speaks(cluster), cluster_name=cluster.settings.cluster_name, issuer=issuer
    )
    write_context(cluster)


@deploy("CA")
def change_clients(cluster: Cluster, issuer: Issuer) -> None:
    """Every client certificate comes from the next CA, which every engine trusts by now."""
    ca.clients_changed(name="Certify the clients anew", speaks=_speaks(cluster), owner=OWNER, issuer=issuer)
    write_context(cluster)


@deploy("CA")
def retire(cluster: Cluster, issuer: Issuer) -> None:
    """Trust the old CA no more on this computer."""
    ca.retired(name="Retire the old CA", speaks=_speaks(cluster), issuer=issuer)


@deploy("CA")
def finish(cluster: Cluster, issuer: Issuer) -> None:
    """Put the new CA in the old one's place."""
    ca.finished(name="Finish the change", speaks=_speaks(cluster), issuer=issuer)
    write_context(cluster)


def _speaks(cluster: Cluster) -> bool:
    return host.name == cluster.managers[0]
