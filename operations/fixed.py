"""What each network program must be told so that an address is fixed, and how it is told for a trial first.

A trial lies in /run only, beside the configuration that is there and before it in order; so a reboot, be it by
a power cut, takes it back. It is written to /etc once the host was reached at the new address.
"""

from __future__ import annotations

import re
import shlex
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from pathlib import PurePosixPath

from facts.network import NETPLAN, NETWORKD_FOLDER, Fixed, Interface, networkd_file, nm_profile
from operations.file import placing

_MADE = "# Written by pishelf's provisioning; `static` in the inventory."
_NETPLAN_TRIAL = f"/run/netplan/{PurePosixPath(NETPLAN).name}"
# Above the profiles that are there, whose priority is 0 where nobody set one.
_PRIORITY = 100
# Netplan's name for a kind of interface, by the kernel's.
_SECTIONS = {"": "ethernets", "wlan": "wifis", "bridge": "bridges", "bond": "bonds", "vlan": "vlans"}
_FIXES_ADDRESSES = re.compile(r"^Address=", re.MULTILINE)


@dataclass(frozen=True)
class Steps:
    """Shell commands: `attempt` puts a configuration in force until the next boot, `keep` for good, `undo` ends it."""

    attempt: str
    keep: str
    undo: str


def steps_for(interface: Interface, fixed: Fixed) -> Steps:
    """How the one in charge of an interface is told.

    Raises:
        ValueError: it cannot be told, and why.
    """
    if interface.in_charge == "NetworkManager":
        return _by_nm(interface, fixed)
    if interface.in_charge == "netplan":
        return _by_netplan(interface, fixed)
    if interface.in_charge == "systemd-networkd":
        return _by_networkd(interface, fixed)
    raise ValueError(
        f"{interface.name} is configured neither by NetworkManager nor netplan nor systemd-networkd, and nothing else"
        " can be told here to fix an address; reserve it in your router, or write it into that configuration yourself"
    )


def _by_nm(interface: Interface, fixed: Fixed) -> Steps:
    """A copy of the profile in use, with WLAN passwords and all, that has a higher priority than that."""
    ours = nm_profile(interface.name)
    draft = f"{ours}-trial"
    options: Mapping[str, str] = {
        "connection.interface-name": interface.name,
        "connection.autoconnect": "yes",
        "connection.autoconnect-priority": str(_PRIORITY),
        "ipv4.method": "manual",
        "ipv4.addresses": str(fixed.address),
        "ipv4.gateway": str(fixed.gateway or ""),
        "ipv4.dns": _list(fixed.name_servers),
    }
    modify = " ".join(f"{key} {shlex.quote(value)}" for key, value in options.items())
    # An earlier one of ours goes, be it in use or not: the profile in use may be one that a person made since.
    former = f"former=$(nmcli -g UUID,NAME connection show | sed -n 's/:{ours}$//p')"
    return Steps(
        attempt=f"nmcli connection clone --temporary uuid {interface.profile} {draft}"
        f" && nmcli connection modify --temporary id {draft} {modify}"
        f" && nmcli --wait 30 connection up id {draft}",
        keep=f"{former} && nmcli connection modify id {draft} connection.id {ours}"
        " && echo $former | xargs --no-run-if-empty --max-args=1 nmcli connection delete uuid",
        undo=f"nmcli connection delete id {draft}; nmcli --wait 30 connection up uuid {interface.profile}",
    )


def _by_netplan(interface: Interface, fixed: Fixed) -> Steps:
    """A file of our own; netplan merges it over the others, and one in /run comes before its namesake in /etc."""
    if interface.fixed is None and _FIXES_ADDRESSES.search(interface.network_file):
        raise ValueError(
            f"a file in /etc/netplan gives {interface.name} a fixed address already, and netplan would keep both;"
            " change it there, or take its `addresses` out, then run again"
        )
    if not _matches_one(interface):
        raise ValueError(
            f"netplan's {interface.profile!r} matches more interfaces than {interface.name}, and all of them would get"
            " the address; give this one an entry of its own in /etc/netplan, then run again"
        )
    # What netplan generates changes at once for networkd; `netplan apply` would restart more than that.
    apply = "netplan generate && networkctl reload"
    return Steps(
        attempt=f"{placing(_NETPLAN_TRIAL, netplan_file(interface, fixed), '600')} && {apply}",
        keep=f"{placing(NETPLAN, netplan_file(interface, fixed), '600')} && rm -f {_NETPLAN_TRIAL} && {apply}",
        undo=f"rm -f {_NETPLAN_TRIAL}; {apply}",
    )


def _matches_one(interface: Interface) -> bool:
    """Whether what networkd reads for an interface can be for that one only, by its name or its hardware's address."""
    match = dict(_sections(interface.network_file)).get("[Match]", [])
    return f"Name={interface.name}" in match or any(
        line.startswith(("MACAddress=", "PermanentMACAddress=")) and " " not in line for line in match
    )


def netplan_file(interface: Interface, fixed: Fixed) -> str:
    """Our netplan file; source: netplan.readthedocs.io, YAML configuration."""
    lines = [
        _MADE,
        "network:",
        "  version: 2",
        f"  {_SECTIONS.get(interface.kind, 'ethernets')}:",
        f"    {interface.profile}:",
        "      dhcp4: false",
        f"      addresses: [{fixed.address}]",
        *([f"      routes: [{{to: 0.0.0.0/0, via: {fixed.gateway}}}]"] if fixed.gateway else []),
        *([f"      nameservers: {{addresses: [{_list(fixed.name_servers, ', ')}]}}"] if fixed.name_servers else []),
    ]
    return "\n".join(lines) + "\n"


def _by_networkd(interface: Interface, fixed: Fixed) -> Steps:
    """A copy of the file in use that sorts before it; the first that matches an interface is taken."""
    name = networkd_file(interface.name)
    kept = f"{NETWORKD_FOLDER}/{name}"
    # Before its namesake: `-` sorts before `.`.
    draft = f"/run/systemd/network/{name.removesuffix('.network')}-trial.network"
    text = network_file(interface, fixed)
    return Steps(
        attempt=f"{placing(draft, text)} && networkctl reload",
        keep=f"{placing(kept, text)} && rm -f {draft} && networkctl reload",
        undo=f"rm -f {draft}; networkctl reload",
    )


def network_file(interface: Interface, fixed: Fixed) -> str:
    """The .network file in use, for this interface alone and with the fixed address; source: systemd.network(5)."""
    ours = [
        f"Address={fixed.address}",
        *([f"Gateway={fixed.gateway}"] if fixed.gateway else []),
        *(f"DNS={server}" for server in fixed.name_servers),
    ]
    sections = [_MADE, f"[Match]\nName={interface.name}", "\n".join(["[Network]", *ours])]
    for heading, lines in _sections(interface.network_file):
        if heading in ("", "[Match]") or (heading in ("[Address]", "[Route]") and _is_ipv4(lines)):
            continue
        kept = [line for line in lines if heading != "[Network]" or not _is_replaced(line)]
        if kept:
            sections.append("\n".join([heading, *kept]))
    return "\n\n".join(sections) + "\n"


def _sections(text: str) -> Iterable[tuple[str, list[str]]]:
    """Headings with their lines, without comments."""
    heading, lines = "", list[str]()
    for line in map(str.strip, text.splitlines()):
        if line.startswith("["):
            yield heading, lines
            heading, lines = line, []
        elif line and line[0] not in "#;":
            lines.append(line)
    yield heading, lines


def _is_replaced(line: str) -> bool:
    """Whether a line of [Network] says what ours say, or is what they make needless."""
    key, _, value = line.partition("=")
    ipv4 = ":" not in value
    return key.strip() == "DHCP" or (key.strip() in ("Address", "Gateway", "DNS") and ipv4)


def _is_ipv4(lines: Iterable[str]) -> bool:
    """Whether a section [Address], or a default route's [Route], is about IPv4."""
    said = {key.strip(): value.strip() for key, _, value in (line.partition("=") for line in lines)}
    if said.get("Destination", "0.0.0.0/0") != "0.0.0.0/0":
        return False
    return not any(":" in said.get(key, "") for key in ("Address", "Gateway"))


def _list(values: Iterable[object], separator: str = ",") -> str:
    return separator.join(map(str, values))
