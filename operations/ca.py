"""The cluster's change to a new CA, as steps on the controller between those on the hosts."""

from __future__ import annotations

from collections.abc import Callable, Generator

from pyinfra import host, inventory, state
from pyinfra.api.command import PyinfraCommand

from facts.engine import Engine
from facts.tls import Tls
from operations.context import announce
from operations.known import converges, known
from operations.refusal import OnController, Refused
from operations.tls import Issuer, objection
from pki import rotation


@converges()
def begun(speaks: bool, cluster_name: str, issuer: Issuer) -> Generator[PyinfraCommand, None, None]:
    """Make the next CA of the cluster, which clients on this computer trust from now on beside the old one.

    Args:
        speaks: whether this host's line does it; the others wait.
    """
    yield from _step(speaks, "making the next CA", lambda: rotation.begin(issuer.folder, cluster_name, issuer.keys))


@converges()
def clients_changed(speaks: bool, owner: str, issuer: Issuer) -> Generator[PyinfraCommand, None, None]:
    """Have the new CA certify the owner and everybody who has access, once every engine trusts it."""
    _all_hosts_are_here()
    yield from _step(speaks, "certifying the clients anew", lambda: _clients(owner, issuer))


def _clients(owner: str, issuer: Issuer) -> None:
    announce(rotation.clients(issuer.folder, owner, issuer.keys), issuer)


@converges()
def retired(speaks: bool, issuer: Issuer) -> Generator[PyinfraCommand, None, None]:
    """Have clients here trust the new CA only; refused while an engine still runs with a certificate of the old one."""
    _all_hosts_are_here()
    _all_run_with_what_is_there()
    authority = issuer.authority()
    for other in inventory:
        if reason := objection(known(Tls, of=other), authority):
            raise Refused(
                f"{other.name} has no certificate of the new CA yet ({reason}), so both CAs stay trusted;"
                " look at what failed above, then run this deploy again"
            )
    yield from _step(speaks, "retiring the old CA", lambda: rotation.retire(issuer.folder, issuer.keys))


@converges()
def finished(speaks: bool, issuer: Issuer) -> Generator[PyinfraCommand, None, None]:
    """Put the new CA in the old one's place, whose key is destroyed; refused while a node trusts the old one."""
    _all_hosts_are_here()
    _all_run_with_what_is_there()
    trusted = issuer.authority().pem.decode().strip()
    if late := [other.name for other in inventory if known(Tls, of=other).ca != trusted]:
        raise Refused(f"{' and '.join(late)} still trusts the old CA; run this deploy again")
    yield from _step(speaks, "finishing the change", lambda: rotation.finish(issuer.folder, issuer.keys))


def _all_hosts_are_here() -> None:
    """Both CAs have to stay trusted until every node has changed.

    Raises:
        Refused: a host of the inventory is not in this run any more.
    """
    missing = sorted(other.name for other in inventory if other not in state.active_hosts)
    if missing and state.limit_hosts is not None:
        raise Refused(f"{' and '.join(missing)} is outside of --limit, and a CA changes for all; run this without it")
    if missing:
        raise Refused(
            f"{' and '.join(missing)} did not take part, so both CAs stay trusted; bring it back, or take it out of"
            " the inventory if it is lost, and run this deploy again"
        )


def _all_run_with_what_is_there() -> None:
    """An engine reads its files when it starts, and only then.

    Raises:
        Refused: one has not started since they changed.
    """
    if late := sorted(other.name for other in inventory if known(Engine, of=other).stale):
        raise Refused(
            f"the engine of {' and '.join(late)} has not read its new certificate yet; look at what failed above,"
            " then run this deploy again"
        )


def _step(speaks: bool, what: str, step: Callable[[], object]) -> Generator[PyinfraCommand, None, None]:
    if not speaks:
        host.noop("another host's line does it")
        return
    yield OnController(what, step)
