"""The docker context that provisioning leaves on the controller."""

from __future__ import annotations

from collections.abc import Generator, Mapping, Sequence

from pyinfra import host, logger
from pyinfra.api.command import PyinfraCommand

from operations import leader
from operations.known import converges
from operations.refusal import OnController
from operations.tls import Issuer
from pki.authority import Authority
from pki.context import Context, docker_config_folder
from pki.people import client_files, has_stale_clients, readmit


@converges()
def readmitted(speaks: bool, owner: str, issuer: Issuer) -> Generator[PyinfraCommand, None, None]:
    """Give the owner and everybody who has access new certificates for those that are too old.

    Args:
        speaks: whether this host's line does it; the others wait.
        issuer: whose `older_than` says what is too old.
    """
    authority = issuer.authority()
    if not speaks or not has_stale_clients(authority, issuer.folder, older_than=issuer.older_than):
        host.noop("nobody needs one, or another host's line does it")
        return
    yield OnController("certifying the clients anew", lambda: _readmit(authority, owner, issuer))


def _readmit(authority: Authority, owner: str, issuer: Issuer) -> None:
    client_files(authority, issuer.folder, owner, older_than=issuer.older_than)
    announce(readmit(authority, issuer.folder, older_than=issuer.older_than), issuer)


def announce(people: Sequence[str], issuer: Issuer) -> None:
    """Say who needs new files from the cluster's owner."""
    if people:
        logger.warning(f"these people need their new files from {issuer.folder}/clients: {', '.join(people)}")


@converges()
def written(contexts: Mapping[str, Context]) -> Generator[PyinfraCommand, None, None]:
    """Write the docker context for this user, unless it is there as it should be.

    Args:
        contexts: one for each manager of the inventory; the first manager that speaks for the swarm is
            the one that it leads to.
    """
    speaks = leader.required("writing the docker context").host.name
    context = contexts.get(host.name)
    if speaks != host.name or context is None:
        host.noop("another host speaks for the swarm")
        return
    if context.is_written(docker_config_folder()):
        host.noop("already there")
        return
    yield OnController(f"writing the docker context {context.name!r}", lambda: context.write(docker_config_folder()))
