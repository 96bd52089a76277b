"""How a host lets only its cluster in to the swarm's ports.

The rules are a table of our own: what another table drops stays dropped, what it accepts can still be dropped
here, and nobody else's rules are touched. Services' published ports are forwarded and never come this way.
"""

from __future__ import annotations

import ipaddress
import re
from collections.abc import Generator, Iterable, Iterator, Sequence
from contextlib import suppress

from pyinfra import host, inventory, state
from pyinfra.api import StringCommand
from pyinfra.api.command import PyinfraCommand

from facts.firewall import DROP_IN, RULES, SEAL, SEALED, TABLE, UNIT, UNIT_FILE, Firewall, FirewallState
from facts.network import Network
from facts.swarm import GOSSIP_PORT, SWARM_PORT, VXLAN_PORT, Swarm
from operations.file import place
from operations.known import converges, known, reaches
from operations.refusal import Refused
from pki.context import ENGINE_PORT

_NFT = "/usr/sbin/nft"
_NO_NFT = "nft is not there; install the package nftables, then run again"
_NO_KERNEL = (
    "this kernel cannot filter with nftables (above is why); boot one that has nf_tables, or write"
    " firewall = False in group_data/all.py if the ports may stay open; then run again"
)
_POSSIBLE = (
    f"command -v nft >/dev/null || {{ echo '{_NO_NFT}' >&2; exit 1; }};"
    f" nft list tables >/dev/null || {{ echo '{_NO_KERNEL}' >&2; exit 1; }}"
)
_LOAD = f"{_NFT} -f {RULES} && {SEALED} > {SEAL}"
_UNIT_TEXT = f"""\
[Unit]
Description=Let only the cluster in to the swarm's ports
DefaultDependencies=no
Wants=network-pre.target
Before=network-pre.target docker.service shutdown.target
After=nftables.service
Conflicts=shutdown.target

[Service]
Type=oneshot
RemainAfterExit=yes
ExecStart=/bin/sh -c '{_LOAD}'
ExecReload=/bin/sh -c '{_LOAD}'
ExecStop=/bin/sh -c 'rm -f {SEAL}; {_NFT} delete table {TABLE}'

[Install]
WantedBy=sysinit.target
"""
_AGAIN = f"-/bin/sh -c 'test ! -e {SEAL} || {{ {_LOAD}; }}'"
_DROP_IN_TEXT = f"""\
# This unit flushes all tables at each turn, also the one that {UNIT} has loaded.
[Service]
ExecStartPost={_AGAIN}
ExecReload={_AGAIN}
ExecStopPost={_AGAIN}
"""


def ruleset(nodes: Iterable[str], networks: Iterable[str]) -> str:
    """The file that makes the table anew, in one transaction, so that nobody is let in or out for a moment.

    Args:
        nodes: the cluster's addresses.
        networks: where the engines' API may be asked from.
    """
    cluster = ", ".join(map(str, sorted(map(ipaddress.IPv4Address, nodes))))
    # Networks that contain each other are an error to nft.
    api = ", ".join(map(str, ipaddress.collapse_addresses(map(ipaddress.IPv4Network, networks))))
    return f"""\
# Written by provisioning; `firewall` and `api_networks` in group_data/all.py decide what is in it.
table {TABLE}
delete table {TABLE}
table {TABLE} {{
\tset nodes {{
\t\ttype ipv4_addr
\t\t{f"elements = {{ {cluster} }}"}
\t}}
\tset api_networks {{
\t\ttype ipv4_addr
\t\tflags interval
\t\t{f"elements = {{ {api} }}" if api else ""}
\t}}
\tchain input {{
\t\ttype filter hook input priority filter; policy accept;
\t\tiif lo accept
\t\tip saddr @nodes accept
\t\tip saddr @api_networks tcp dport {ENGINE_PORT} accept
\t\ttcp dport {{ {ENGINE_PORT}, {SWARM_PORT}, {GOSSIP_PORT} }} drop
\t\tudp dport {{ {VXLAN_PORT}, {GOSSIP_PORT} }} drop
\t}}
}}
"""


@converges()
def lets_us_in(
    address: str, nodes: Sequence[str], networks: Sequence[str] | None
) -> Generator[PyinfraCommand, None, None]:
    """Stop before anything is changed where the firewall would shut out this computer, or this host from the others.

    Args:
        address, nodes, networks: as for `closed`.
    """
    if closed_to_us := list(_not_let_in_by(address)):
        raise Refused(
            f"is not yet let in by the firewall of {', '.join(closed_to_us)}, which --limit keeps this run from"
            " changing; run it without --limit: it changes other hosts only where they differ"
        )
    if _has(address):  # one that is still to get its address is asked when it has it
        _look(known(Firewall), address, nodes, networks)
    host.noop("lets us in")
    yield from ()


@converges(Firewall)
def closed(address: str, nodes: Sequence[str], networks: Sequence[str] | None) -> Generator[PyinfraCommand, None, None]:
    """Let nobody but `nodes` and, to the engine's API, `networks` in to the swarm's ports.

    Args:
        address: the host's own.
        nodes: the addresses of all hosts of the inventory, whether this run reaches them or not.
        networks: None for the one that the host itself is in.
    """
    found = known(Firewall)
    rules = ruleset({*nodes, *_managers()}, _look(found, address, nodes, networks))
    wanted = {RULES: rules, UNIT_FILE: _UNIT_TEXT, DROP_IN: _DROP_IN_TEXT}
    if found.loaded and found.enabled and found.files == {path: text.strip() for path, text in wanted.items()}:
        host.noop("already closed")
        return
    yield StringCommand(_POSSIBLE)
    yield place(RULES, rules, check=f"{_NFT} -c -f")
    yield place(UNIT_FILE, _UNIT_TEXT)
    yield place(DROP_IN, _DROP_IN_TEXT)
    # A reload replaces the table in one step, where a restart would delete it first.
    yield StringCommand(
        f"systemctl daemon-reload && systemctl reenable --quiet {UNIT} && systemctl reload-or-restart {UNIT}"
        f" || {{ journalctl -u {UNIT} -n 20 --no-pager -o cat >&2; exit 1; }}"
    )


@converges(Firewall)
def opened() -> Generator[PyinfraCommand, None, None]:
    """Take our table away, and all that makes it."""
    found = known(Firewall)
    if not (any(found.files.values()) or found.enabled or found.table):
        host.noop("there is none of ours")
        return
    yield StringCommand(f"if test -e {UNIT_FILE}; then systemctl disable --quiet --now {UNIT}; fi")
    yield StringCommand(f"if nft list table {TABLE} >/dev/null 2>&1; then nft delete table {TABLE}; fi")
    yield StringCommand(
        f"rm -f {RULES} {UNIT_FILE} {DROP_IN} {SEAL} && systemctl daemon-reload; for path in {RULES} {DROP_IN}; do"
        " rmdir --ignore-fail-on-non-empty $(dirname $path) 2>/dev/null || true; done"
    )


def _not_let_in_by(address: str) -> Iterator[str]:
    """Hosts that this run must not change, and whose firewall does not know a node of that address."""
    for other in inventory:
        if not state.is_host_in_limit(other) and reaches(other):
            with suppress(Refused):  # one that cannot be read is as one that is silent: nobody knows
                rules = known(Firewall, of=other).files[RULES]
                if rules and not re.search(rf"\b{re.escape(address)}\b", rules):
                    yield other.name


def _has(address: str) -> bool:
    interfaces = known(Network).interfaces.values()
    return any(str(own.ip) == address for interface in interfaces for own in interface.addresses)


def _look(found: FirewallState, address: str, nodes: Sequence[str], networks: Sequence[str] | None) -> Sequence[str]:
    """The networks from which the engine's API may be asked.

    Raises:
        Refused: the rules would shut out this computer, or this host from the others.
    """
    api = _api_networks(found, address, networks)
    if objection := shut_out(found.controller, nodes, api) or other_source(found, nodes):
        raise Refused(objection)
    return api


def _api_networks(found: FirewallState, address: str, networks: Sequence[str] | None) -> Sequence[str]:
    if networks is not None:
        return networks
    if not (own := found.network_of(address)):
        raise Refused(
            f"has no connection to a network that its address {address} is in, so it cannot be told who may ask for"
            " the engine's API; correct the address in the inventory, or name the networks in group_data/all.py:"
            " api_networks = ['192.168.1.0/24']; then run again"
        )
    return [own]


def _managers() -> Iterator[str]:
    """Where this host's swarm has managers: to shut one out that left the inventory could cost the quorum."""
    membership = known(Swarm).membership
    for manager in membership.managers if membership else ():
        with suppress(ValueError):
            yield str(ipaddress.IPv4Address(manager.rpartition(":")[0]))


def shut_out(controller: str, nodes: Sequence[str], networks: Sequence[str]) -> str:
    """Why this computer could not ask for the engine's API any more; empty if it can, or if that is not known."""
    try:
        us = ipaddress.IPv4Address(controller)
    except ValueError:
        return ""
    if us.is_loopback or str(us) in nodes or any(us in ipaddress.IPv4Network(network) for network in networks):
        return ""
    wider = [*networks, f"{us}/32"]
    return (
        f"sees this computer come from {us}, which is not in {', '.join(networks) or 'any network'}, so the firewall"
        f" would shut it out of the engine's API (port 2376); write api_networks = {wider} in group_data/all.py, or"
        " the network that you want to reach your nodes from; then run again"
    )


def other_source(found: FirewallState, nodes: Sequence[str]) -> str:
    """Why other nodes would not let this host in; empty if they will."""
    for node in nodes:
        source = found.source_for(node)
        if source and source not in nodes:
            return (
                f"talks to {node} from {source}, which is not its address in the inventory, so the other nodes'"
                f" firewall would shut it out; a second connection to the same network, such as WiFi beside a cable?"
                f" Turn one off, or name {source} in the inventory, as its address or its data_path_address;"
                " then run again"
            )
    return ""
