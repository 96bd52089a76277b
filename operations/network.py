"""How a host gets a fixed address without getting lost, and how Docker's interfaces are left alone.

A new address is tried first. A timer on the host takes it back after a minute, and so does a reboot, unless this
computer reached the host there: the same host, by its ssh key and by what the trial left on it.
"""

from __future__ import annotations

from collections.abc import Generator, Sequence
from ipaddress import IPv4Address, IPv4Interface, IPv4Network
from typing import Final

from pyinfra import host
from pyinfra.api import StringCommand
from pyinfra.api.command import PyinfraCommand

from facts.host import Host as HostFact
from facts.network import DHCPCD_CONF, NM_CONF, TRIAL, Fixed, Interface, Network, NetworkState
from facts.swarm import Swarm
from operations.api import unseen
from operations.file import place, placing
from operations.fixed import Trial, trial
from operations.known import converges, known
from operations.reach import Identity, follow, identity, ssh, stranger
from operations.refusal import OnController, Refused
from operations.text import with_block

_UNDO_AFTER = 60  # seconds from when the host begins to change
_REACHED_WITHIN = 50.0  # so that there is time left to say so
_BACK_WITHIN = 120.0
_FAILURE = f"{TRIAL}.failure"  # what the host said as it gave up
_TRIED, _OVER = f"test -e {TRIAL}/tried", f"! test -e {TRIAL}"
_UNDO_UNIT, _ATTEMPT_UNIT = "pishelf-address-undo", "pishelf-address-attempt"

DOCKERS_INTERFACES: Final = ("veth*", "docker*", "br-*", "vxlan*", "ov-*")


@converges(Network, HostFact)
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
        yield OnController("waiting until an earlier change of address has undone itself", lambda: _settled(address))
    state = known(Network)
    interface = interface_for(state, address, _at())
    new = fixed_for(state, interface, address, gateway, name_servers)
    if is_fixed(interface, new, chosen=bool(gateway or name_servers)):
        host.noop("its address is fixed")
        return
    moves = new.address.ip not in {one.ip for one in interface.addresses}
    if moves and (objection := _member()):
        raise Refused(objection)
    try:
        steps = trial(interface, new)
    except ValueError as error:
        raise Refused(str(error)) from error
    yield OnController(f"fixing {new.address} on {interface.name}", lambda: _move(interface, new, steps))


def _at() -> str:
    """Where the host is reached now."""
    return ssh(host).at


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
    return interface.fixed == new or (interface.fixed is None and not interface.leased and not chosen)


def _settled(address: str) -> None:
    """Wait for the end of a trial; afterwards the host may be where it was before."""
    places = [_at(), str(host.data.get("ssh_hostname") or address), address]
    if not follow(host, dict.fromkeys(places, _OVER), identity(host), _BACK_WITHIN):
        raise ValueError(f"it answers at none of {', '.join(places)}; switch it off and on, then run again")


def _move(interface: Interface, new: Fixed, steps: Trial) -> None:
    who, before, now = identity(host), _at(), str(new.address.ip)
    if objection := stranger(host, now, who):
        raise ValueError(objection)
    done, said = unseen(host, StringCommand(begin_script(interface, new, steps)))
    if not done:
        raise ValueError(said or "the host does not say why not")
    proofs = {now: _TRIED, before: _OVER} if now != before else {now: f"{_TRIED} || {_OVER}"}
    if follow(host, proofs, who, _REACHED_WITHIN) == now and unseen(host, StringCommand(f"sh {TRIAL}/keep"))[0]:
        return
    raise ValueError(_back(who, before))


def _back(who: Identity, before: str) -> str:
    """Wait for a host whose trial failed, and say how that ended."""
    if not follow(host, {before: _OVER}, who, _BACK_WITHIN):
        return (
            f"it was not reached there, and is not back at {before} yet; switch it off and on, which takes back what"
            " was not confirmed"
        )
    _, said = unseen(host, StringCommand(f"cat {_FAILURE} || true"))
    why = " ".join(said.split()) or "it was not reached there within a minute"
    return (
        f"{why}; so it is back at {before}, and nothing was changed. Mend `address` in the inventory, or `gateway` in"
        " group_data/all.py, then run again"
    )


def begin_script(interface: Interface, new: Fixed, steps: Trial) -> str:
    """Shell that arms the undo, then lets the host change by itself a second later, when we have hung up."""
    address = new.address.ip
    return "\n".join(
        [
            "set -e",
            _unless_taken(interface, address) if address not in {one.ip for one in interface.addresses} else "",
            f"rm -rf {TRIAL} {_FAILURE}",
            f"mkdir -p -m 700 {TRIAL}",
            placing(f"{TRIAL}/attempt", _attempt_script(interface, new, steps)),
            placing(f"{TRIAL}/keep", _keep_script(steps)),
            placing(f"{TRIAL}/undo", _undo_script(steps)),
            f"touch {TRIAL}/armed",
            f"systemctl stop --quiet {_UNDO_UNIT}.timer 2>/dev/null || true",
            f"systemd-run --quiet --collect --unit={_UNDO_UNIT} --on-active={_UNDO_AFTER}"
            f" --timer-property=AccuracySec=1s sh {TRIAL}/undo",
            f"systemd-run --quiet --collect --unit={_ATTEMPT_UNIT} sh {TRIAL}/attempt",
        ]
    )


def _unless_taken(interface: Interface, address: IPv4Address) -> str:
    """Shell that ends with an error where another machine answers for the address."""
    return (
        f"other=$({_hardware_of(interface, address)})\n"
        f'if test -n "$other"; then echo "another machine, $other, has {address}; choose another address, or switch'
        ' that one off; then run again" >&2; exit 1; fi'
    )


def _hardware_of(interface: Interface, address: IPv4Address) -> str:
    """Shell that prints who answers for an address in the host's own network, also where that one hears no ping."""
    asked = f"to {address} dev {interface.name}"
    return (
        f"ip -4 neigh flush {asked} 2>/dev/null || true; ping -c 1 -W 1 {address} >/dev/null 2>&1 || true;"
        f" ip -4 neigh show {asked} nud reachable | sed -n 's/.*lladdr \\([^ ]*\\).*/\\1/p'"
    )


def _attempt_script(interface: Interface, new: Fixed, steps: Trial) -> str:
    outside = f" && {_gateway_answers(interface, new.gateway)}" if new.gateway else ""
    return (
        f"sleep 1\nif {{ {steps.attempt}{outside}; }} 2> {TRIAL}/said >/dev/null; then touch {TRIAL}/tried\n"
        f"else mv {TRIAL}/said {_FAILURE}; sh {TRIAL}/undo; fi\n"
    )


def _gateway_answers(interface: Interface, gateway: IPv4Address) -> str:
    """Shell that fails, and says so, where nobody answers for the gateway's address."""
    return (
        "{ answered=; command -v ping >/dev/null || answered=unasked;"
        f' for second in $(seq 10); do test "$answered" && break; answered=$({_hardware_of(interface, gateway)}); done;'
        f' test "$answered" || {{ echo "the gateway {gateway} does not answer" >&2; false; }}; }}'
    )


# Whoever renames `armed` decides; the other one finds it gone.
def _keep_script(steps: Trial) -> str:
    return (
        f"mv {TRIAL}/armed {TRIAL}/kept || {{ echo 'its minute was over' >&2; exit 1; }}\n"
        f"if {{ {steps.keep}; }}; then rm -rf {TRIAL}; systemctl stop {_UNDO_UNIT}.timer\n"
        f"else mv {TRIAL}/kept {TRIAL}/armed; exit 1; fi\n"
    )


def _undo_script(steps: Trial) -> str:
    return f"mv {TRIAL}/armed {TRIAL}/undoing || exit 0\n{steps.undo}\nrm -rf {TRIAL}\n"


@converges(Network)
def dockers_left_alone() -> Generator[PyinfraCommand, None, None]:
    """Keep NetworkManager and dhcpcd away from the interfaces that Docker makes (raspberrypi/linux#4092)."""
    state = known(Network)
    dhcpcd_conf = with_block(state.dhcpcd_conf, [f"denyinterfaces {' '.join(DOCKERS_INTERFACES)}"], first=True)
    nm, dhcpcd = "NetworkManager" in state.programs, "dhcpcd" in state.programs
    if not (nm and state.nm_conf != nm_conf()) and not (dhcpcd and state.dhcpcd_conf != dhcpcd_conf):
        host.noop("nothing touches Docker's interfaces")
        return
    if nm and state.nm_conf != nm_conf():
        yield place(NM_CONF, nm_conf() + "\n")
        if "NetworkManager" in state.active:
            yield StringCommand("systemctl reload NetworkManager")
    if dhcpcd and state.dhcpcd_conf != dhcpcd_conf:
        yield place(DHCPCD_CONF, dhcpcd_conf + "\n")
        if "dhcpcd" in state.active:
            yield StringCommand("dhcpcd --rebind")


def nm_conf() -> str:
    """Our drop-in for NetworkManager; `+=` leaves what others have taken from it."""
    names = ";".join(f"interface-name:{name}" for name in DOCKERS_INTERFACES)
    return f"# Docker's own interfaces.\n[keyfile]\nunmanaged-devices+={names}"
