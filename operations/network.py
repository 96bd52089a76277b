"""How a host gets a fixed address, and how Docker's interfaces are left alone."""

from __future__ import annotations

from collections.abc import Generator, Sequence
from ipaddress import IPv4Address, IPv4Interface, IPv4Network
from typing import Final

from pyinfra import host
from pyinfra.api import StringCommand
from pyinfra.api.command import PyinfraCommand

from facts.firewall import Firewall
from facts.host import Host as HostFact
from facts.network import DHCPCD_CONF, NM_CONF, Fixed, Interface, Network, NetworkState
from facts.swarm import Swarm
from operations.file import place
from operations.fixed import steps_for
from operations.known import converges, known
from operations.reach import ssh
from operations.refusal import OnController, Refused
from operations.text import with_block
from operations.trial import move, settle

DOCKERS_INTERFACES: Final = ("veth*", "docker*", "br-*", "vxlan*", "ov-*")


@converges(Network, HostFact, Firewall)
def fixed(
    wanted: bool, address: str, gateway: str | None, name_servers: Sequence[str]
) -> Generator[PyinfraCommand, None, None]:
    """Have the host keep `address` whatever a router says, and go on there.

    Args:
        wanted: where not, nothing is changed: its router keeps the address for it.
        gateway: None for the one that the host has.
        name_servers: empty for those that the host asks.
    """
    if not wanted:
        host.noop("its address is its router's to give")
        return
    if known(Network).trial:
        # Of a run that was cut off. It ends by itself, and where the host is then is what counts.
        yield OnController("waiting until an earlier change of address has undone itself", lambda: settle(address))
    state = known(Network)
    interface = interface_for(state, address, _reached())
    new = fixed_for(state, interface, address, gateway, name_servers)
    if is_fixed(interface, new, chosen=bool(gateway or name_servers)):
        host.noop("its address is fixed")
        return
    moves = new.address.ip not in {one.ip for one in interface.addresses}
    if moves and (objection := _member()):
        raise Refused(objection)
    try:
        steps = steps_for(interface, new)
    except ValueError as error:
        raise Refused(str(error)) from error
    yield OnController(f"fixing {new.address} on {interface.name}", lambda: move(interface, new, steps))


def _reached() -> str:
    try:
        return ssh(host).at
    except ValueError as error:
        raise Refused(str(error)) from error


def _member() -> str:
    membership = known(Swarm).membership
    if membership is None or not membership.inside:
        return ""
    return (
        f"{host.name} is in a swarm, whose other nodes would not find it at another address (moby/moby#41043); take it"
        f" out first (pyinfra INVENTORY deploys/leave.py --limit {host.name}), then run again"
    )


def interface_for(state: NetworkState, address: str, reached: str) -> Interface:
    """The interface that has the address, else the one that we came in by, else the one to the outside.

    Raises:
        Refused: there is none of these.
    """
    for sought in (address, reached):
        for interface in state.interfaces.values():
            if sought in {str(one.ip) for one in interface.addresses}:
                return interface
    for name, _ in state.gateways:
        if name in state.interfaces:
            return state.interfaces[name]
    raise Refused("none of its interfaces has an address and a default route, so there is none to fix an address on")


def fixed_for(
    state: NetworkState, interface: Interface, address: str, gateway: str | None, name_servers: Sequence[str]
) -> Fixed:
    """What the one in charge has to be told: as the inventory says, else as it was told before, else as it is now.

    Raises:
        Refused: such a host could reach nothing.
    """
    before = interface.fixed
    now = next((via for name, via in state.gateways if name == interface.name), None)
    servers = tuple(map(IPv4Address, name_servers)) or (before.name_servers if before else state.name_servers)
    via = IPv4Address(gateway) if gateway else before.gateway if before else now
    new = IPv4Interface(f"{address}/{_prefix(interface, address)}")
    if objection := _cannot_work(new, via):
        raise Refused(f"the address {address} on {interface.name}: {objection}")
    return Fixed(new, via, servers)


def _prefix(interface: Interface, address: str) -> int:
    """How long the prefix of the interface's network is; of the one that has the address, if it has several."""
    own = [one for one in interface.addresses if IPv4Address(address) in one.network]
    return (own or list(interface.addresses))[0].network.prefixlen


def _cannot_work(new: IPv4Interface, gateway: IPv4Address | None) -> str:
    network: IPv4Network = new.network
    if network.num_addresses > 2 and new.ip in (network.network_address, network.broadcast_address):
        return f"it means the network {network} itself and no host in it; choose another"
    if gateway == new.ip:
        return "the gateway has the same; choose another"
    if gateway and gateway not in network:
        return (
            f"its gateway {gateway} is not in {network}, so the host would reach nothing outside of it; mend `address`"
            " in the inventory, or `gateway` in group_data/all.py"
        )
    return ""


def is_fixed(interface: Interface, new: Fixed, chosen: bool) -> bool:
    """Whether there is nothing to do, be it because somebody else has fixed this address.

    Args:
        chosen: whether the inventory says more than the address.
    """
    if new.address not in interface.addresses:
        return False
    return interface.fixed == new or (interface.fixed is None and new.address not in interface.leased and not chosen)


@converges(Network)
def dockers_left_alone(wanted: bool = True) -> Generator[PyinfraCommand, None, None]:
    """Keep NetworkManager and dhcpcd away from the interfaces that Docker makes (raspberrypi/linux#4092).

    Args:
        wanted: False takes away what an earlier run wrote for that.
    """
    state = known(Network)
    denied = [f"denyinterfaces {' '.join(DOCKERS_INTERFACES)}"] if wanted else []
    dhcpcd_conf = with_block(state.dhcpcd_conf, denied, first=True)
    nm_conf = _nm_conf() if wanted else ""
    nm, dhcpcd = "NetworkManager" in state.programs, "dhcpcd" in state.programs
    if not (nm and state.nm_conf != nm_conf) and not (dhcpcd and state.dhcpcd_conf != dhcpcd_conf):
        host.noop("nothing touches Docker's interfaces")
        return
    if nm and state.nm_conf != nm_conf:
        yield place(NM_CONF, nm_conf + "\n") if nm_conf else StringCommand(f"rm -f {NM_CONF}")
        if "NetworkManager" in state.active:
            yield StringCommand("systemctl reload NetworkManager")
    if dhcpcd and state.dhcpcd_conf != dhcpcd_conf:
        yield place(DHCPCD_CONF, dhcpcd_conf + "\n")
        if "dhcpcd" in state.active:
            # It asks for its lease anew: this connection stalls for some seconds, and goes on.
            yield StringCommand("dhcpcd --rebind")


def _nm_conf() -> str:
    """Our drop-in for NetworkManager; `+=` leaves what others have taken from it."""
    names = ";".join(f"interface-name:{name}" for name in DOCKERS_INTERFACES)
    return f"# Docker's own interfaces.\n[keyfile]\nunmanaged-devices+={names}"
