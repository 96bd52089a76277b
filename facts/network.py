"""How a host is on its network: its addresses, who is in charge of them, and what that one was told."""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from ipaddress import IPv4Address, IPv4Interface
from pathlib import PurePosixPath
from typing import ClassVar, Final, Literal

from facts.part import Part

InCharge = Literal["NetworkManager", "netplan", "systemd-networkd", "nobody known"]

NM_CONF: Final = "/etc/NetworkManager/conf.d/90-pishelf.conf"
DHCPCD_CONF: Final = "/etc/dhcpcd.conf"
NETPLAN: Final = "/etc/netplan/90-pishelf.yaml"
NETWORKD_FOLDER: Final = "/etc/systemd/network"
TRIAL: Final = "/run/pishelf/address"
"""The folder of a change of address that is not decided yet; /run, so that a reboot takes it back."""

_LEASED = "dynamic"
_LINKS, _NM_DEVICES = "/run/systemd/netif/links", "/run/NetworkManager/devices"
_FROM_NETPLAN = "10-netplan-"
_RESOLVERS = ("/run/NetworkManager/resolv.conf", "/run/systemd/resolve/resolv.conf", "/etc/resolv.conf")


def nm_profile(interface: str) -> str:
    """The name of our connection profile for an interface."""
    return f"pishelf-{interface}"


def networkd_file(interface: str) -> str:
    """The name of our .network file; networkd takes the first that matches, and sorts by name."""
    return f"00-pishelf-{interface}.network"


@dataclass(frozen=True)
class Fixed:
    """A fixed address as whoever is in charge was told of it."""

    address: IPv4Interface
    """With the length of its network's prefix."""
    gateway: IPv4Address | None
    name_servers: tuple[IPv4Address, ...]


@dataclass(frozen=True)
class Interface:
    """One interface that has an IPv4 address."""

    name: str
    kind: str
    """The kernel's word, e.g. `wlan`, `bridge`; empty for plain Ethernet."""
    addresses: tuple[IPv4Interface, ...]
    leased: tuple[IPv4Interface, ...]
    """Those of its addresses that will run out, as DHCP's do."""
    in_charge: InCharge
    profile: str
    """What that one calls its configuration: a connection's UUID, netplan's ID, a .network file's path."""
    network_file: str
    """What systemd-networkd reads for it, drop-ins last; empty where it has no part in it."""
    fixed: Fixed | None
    """What we told the one in charge, in a file that outlives a reboot."""


@dataclass(frozen=True)
class NetworkState:
    """What decides how a host's address can be fixed, and what Docker's interfaces need."""

    interfaces: Mapping[str, Interface]
    gateways: tuple[tuple[str, IPv4Address | None], ...]
    """Of the default routes, the preferred one first: interface, and gateway if there is one."""
    name_servers: tuple[IPv4Address, ...]
    """What the host asks, without those on itself."""
    trial: bool
    """Whether a change of address is not decided yet."""
    programs: frozenset[str]
    """Which of `NetworkManager` and `dhcpcd` are installed."""
    active: frozenset[str]
    """Which units of those run."""
    nm_conf: str
    dhcpcd_conf: str


class Network(Part[NetworkState]):
    """Reads `NetworkState`.

    networkd says of its files "private, do not parse": they are what its own library reads, and asking
    `networkctl` or `nmcli` instead would cost a Pi a tenth of a second of its processor in every run.
    """

    questions: ClassVar[Mapping[str, str]] = {
        "addresses": "ip -4 -o address show",
        "gateways": "ip -4 -o route show default",
        "units": "systemctl is-active NetworkManager systemd-networkd dhcpcd",
        "programs": "for file in /usr/sbin/NetworkManager /usr/sbin/dhcpcd /sbin/dhcpcd;"
        ' do if test -x "$file"; then echo "${file##*/}"; fi; done',
        "files": f"grep -sH '' {_LINKS}/* {_NM_DEVICES}/* {' '.join(_RESOLVERS)} /sys/class/net/*/uevent"
        f" {NETPLAN} {NETWORKD_FOLDER}/{networkd_file('*')} {NM_CONF} {DHCPCD_CONF}"
        f" $(sed -n 's/^NETWORK_FILE[_DROPINS]*=//p' {_LINKS}/* | tr '\":' '  ')",
        "trial": f"for file in {TRIAL}/armed {TRIAL}/undoing; do if test -e $file; then echo yes; fi; done",
        # Not the whole of a profile: it may hold the password of a WLAN.
        "profiles": "(set --; for file in /run/NetworkManager/system-connections/*"
        ' /etc/NetworkManager/system-connections/*; do if test -f "$file"; then set -- "$@" "$file"; fi; done;'
        " test $# -gt 0 && awk '/^\\[/ {section = $0; next}"
        ' section == "[connection]" && /^(id|uuid)=/ || section == "[.nmmeta]" && /^external=/'
        ' || section == "[ipv4]" {print FILENAME "\\t" $0}\' "$@")',
    }

    def parse(self, found: Mapping[str, str]) -> NetworkState:
        files = _files(found["files"])
        active = _active(found["units"])
        profiles = _profiles(found["profiles"])
        return NetworkState(
            interfaces={one.name: one for one in _interfaces(found["addresses"], files, active, profiles)},
            gateways=tuple(_gateways(found["gateways"])),
            name_servers=_name_servers(files, active),
            trial="yes" in found["trial"],
            programs=frozenset(found["programs"].split()),
            active=active,
            nm_conf=files.get(NM_CONF, ""),
            dhcpcd_conf=files.get(DHCPCD_CONF, ""),
        )


def _files(text: str) -> Mapping[str, str]:
    """What `grep -H ''` printed, by file."""
    lines: dict[str, list[str]] = {}
    for line in text.splitlines():
        path, colon, content = line.partition(":")
        if colon:
            lines.setdefault(path, []).append(content)
    return {path: "\n".join(content) for path, content in lines.items()}


def _active(units: str) -> frozenset[str]:
    asked = ("NetworkManager", "systemd-networkd", "dhcpcd")
    return frozenset(unit for unit, state in zip(asked, units.split(), strict=False) if state == "active")


def _settings(text: str) -> Mapping[str, str]:
    """The lines `key=value` of a small file."""
    return dict(line.split("=", 1) for line in text.splitlines() if "=" in line)


@dataclass(frozen=True)
class _Profile:
    """What NetworkManager knows by one UUID."""

    id: str
    external: bool
    """Whether it only describes what something else did."""
    saved: bool
    ipv4: Mapping[str, str]


def _profiles(text: str) -> Mapping[str, _Profile]:
    """NetworkManager's profiles by UUID; one in /etc wins over its namesake in /run."""
    files: dict[str, list[str]] = {}
    for line in text.splitlines():
        path, _, content = line.partition("\t")
        files.setdefault(path, []).append(content)
    profiles = {}
    for path, lines in sorted(files.items(), reverse=True):
        said = _settings("\n".join(lines))
        profiles[said.get("uuid", "")] = _Profile(
            said.get("id", ""), said.get("external") == "true", path.startswith("/etc/"), said
        )
    return profiles


def _interfaces(
    addresses: str, files: Mapping[str, str], active: frozenset[str], profiles: Mapping[str, _Profile]
) -> Iterator[Interface]:
    lines: dict[str, list[Sequence[str]]] = {}
    for line in addresses.splitlines():
        index, name, _, *words = line.split()
        if name != "lo":
            lines.setdefault(f"{index.rstrip(':')} {name.partition('@')[0]}", []).append(words)
    for key, found in lines.items():
        index, name = key.split(" ")
        in_charge, profile = _in_charge(index, files, active, profiles)
        yield Interface(
            name=name,
            kind=_settings(files.get(f"/sys/class/net/{name}/uevent", "")).get("DEVTYPE", ""),
            addresses=tuple(IPv4Interface(words[0]) for words in found),
            leased=tuple(IPv4Interface(words[0]) for words in found if _LEASED in words),
            in_charge=in_charge,
            profile=profile,
            network_file=_network_file(_settings(files.get(f"{_LINKS}/{index}", "")), files),
            fixed=_fixed(in_charge, name, files, profiles),
        )


def _network_file(link: Mapping[str, str], files: Mapping[str, str]) -> str:
    paths = [link.get("NETWORK_FILE", ""), *link.get("NETWORK_FILE_DROPINS", "").strip('"').split(":")]
    return "\n".join(files[path] for path in paths if path in files)


def _in_charge(
    index: str, files: Mapping[str, str], active: frozenset[str], profiles: Mapping[str, _Profile]
) -> tuple[InCharge, str]:
    """Who configures the interface with this number, and by which of its configurations."""
    if "NetworkManager" in active:
        uuid = _settings(files.get(f"{_NM_DEVICES}/{index}", "")).get("connection-uuid", "")
        if uuid in profiles and not profiles[uuid].external:
            return "NetworkManager", uuid
    if "systemd-networkd" in active:
        path = _settings(files.get(f"{_LINKS}/{index}", "")).get("NETWORK_FILE", "")
        name = PurePosixPath(path).name
        if name.startswith(_FROM_NETPLAN):
            return "netplan", name.removeprefix(_FROM_NETPLAN).removesuffix(".network")
        if path:
            return "systemd-networkd", path
    return "nobody known", ""


def _fixed(
    in_charge: InCharge, interface: str, files: Mapping[str, str], profiles: Mapping[str, _Profile]
) -> Fixed | None:
    if in_charge == "NetworkManager":
        ours = [one for one in profiles.values() if one.saved and one.id == nm_profile(interface)]
        return fixed_by_nm(ours[0].ipv4) if ours else None
    if in_charge == "netplan":
        return fixed_by_netplan(files.get(NETPLAN, ""))
    if in_charge == "systemd-networkd":
        return fixed_by_networkd(files.get(f"{NETWORKD_FOLDER}/{networkd_file(interface)}", ""))
    return None


def fixed_by_nm(ipv4: Mapping[str, str]) -> Fixed | None:
    """What the section [ipv4] of a profile says; older versions write the gateway behind the address."""
    address, _, gateway = ipv4.get("address1", "").partition(",")
    if ipv4.get("method") != "manual" or not address:
        return None
    return _fixed_of(address, ipv4.get("gateway", gateway), re.findall(r"[^;,\s]+", ipv4.get("dns", "")))


def fixed_by_networkd(text: str) -> Fixed | None:
    """What a .network file of ours says."""
    values: dict[str, list[str]] = {}
    for line in text.splitlines():
        key, _, value = line.partition("=")
        values.setdefault(key.strip(), []).append(value.strip())
    if "Address" not in values:
        return None
    return _fixed_of(values["Address"][0], "".join(values.get("Gateway", [])[:1]), values.get("DNS", []))


def fixed_by_netplan(text: str) -> Fixed | None:
    """What a netplan file of ours says; it keeps each list on one line."""
    address = re.search(r"^ *addresses: \[(.+)\]$", text, re.MULTILINE)
    if not address:
        return None
    gateway = re.search(r"\bvia: ([\d.]+)", text)
    name_servers = re.search(r"^ *nameservers: \{addresses: \[(.*)\]\}$", text, re.MULTILINE)
    return _fixed_of(
        address[1], gateway[1] if gateway else "", re.findall(r"[\d.]+", name_servers[1]) if name_servers else []
    )


def _fixed_of(address: str, gateway: str, name_servers: Sequence[str]) -> Fixed:
    return Fixed(
        IPv4Interface(address),
        IPv4Address(gateway) if gateway else None,
        tuple(IPv4Address(server) for server in name_servers),
    )


def _gateways(text: str) -> Iterator[tuple[str, IPv4Address | None]]:
    for line in text.splitlines():
        words = line.split()
        said = dict(zip(words[1::2], words[2::2], strict=False))
        if "dev" in said:
            yield said["dev"], IPv4Address(said["via"]) if "via" in said else None


def _name_servers(files: Mapping[str, str], active: frozenset[str]) -> tuple[IPv4Address, ...]:
    """Of the first that names any: NetworkManager, networkd, systemd-resolved, the host's own file."""
    links = [text for path, text in sorted(files.items()) if path.startswith(f"{_LINKS}/")]
    said = [
        files.get(_RESOLVERS[0], "") if "NetworkManager" in active else "",
        "\n".join(_settings(text).get("DNS", "") for text in links) if "systemd-networkd" in active else "",
        *(files.get(path, "") for path in _RESOLVERS[1:]),
    ]
    for text in said:
        named = [IPv4Address(word) for word in text.split() if re.fullmatch(r"\d+(\.\d+){3}", word)]
        if elsewhere := tuple(dict.fromkeys(server for server in named if not server.is_loopback)):
            return elsewhere
    return ()
