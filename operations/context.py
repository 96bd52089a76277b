"""The docker context that provisioning leaves on the controller."""

from __future__ import annotations

from collections.abc import Generator, Mapping, Sequence
from pathlib import Path

from pyinfra import host, logger
from pyinfra.api.command import PyinfraCommand

from operations import leader
from operations.known import converges
from operations.refusal import OnController, Refused
from operations.tls import Issuer
from pki.authority import Authority
from pki.context import Context, docker_config_folder, is_a_persons, leads_to
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
def free(contexts: Mapping[str, Context]) -> Generator[PyinfraCommand, None, None]:
    """Stop before anything is changed where a person has a docker context of that name for something else.

    Args:
        contexts: as for `written`.
    """
    if objection := in_the_way(contexts, docker_config_folder()):
        raise Refused(objection)
    host.noop("nothing is in the way")
    yield from ()


def in_the_way(contexts: Mapping[str, Context], config: Path) -> str:
    """Which context of a person's these would replace in the store under `config`, with the fix; empty if none."""
    for name in {context.name for context in contexts.values()}:
        there = leads_to(name, config)
        if is_a_persons(name, config) and there not in {context.host for context in contexts.values()}:
            return (
                f"your docker context {name!r} leads to {there or 'something else'}, and the cluster's would replace"
                f" it: `docker context rm {name}`, or another name for the cluster; then run again"
            )
    return ""


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
