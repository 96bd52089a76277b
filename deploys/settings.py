"""What an inventory may say: each setting with its type, its default and what is said of a wrong value."""

from __future__ import annotations

import difflib
import ipaddress
import re
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import MISSING, dataclass, field, fields
from typing import Any, Final, TypeVar

from pyinfra.api.exceptions import DeployError
from pyinfra.connectors.ssh import ConnectorData

from facts.swarm import Availability
from operations.swarm import SUBNET_SIZE

T = TypeVar("T")
Parse = Callable[[str, object], Any]
"""Makes a value of what the inventory says for the setting of that name, or raises DeployError."""


def _text(name: str, value: object) -> str:
    if isinstance(value, str) and value:
        return value
    raise DeployError(f"{name} = {value!r} is not a text, e.g. 'pi1'")


def _flag(name: str, value: object) -> bool:
    if isinstance(value, bool):
        return value
    raise DeployError(f"{name} = {value!r} is neither True nor False")


def _address(name: str, value: object) -> str:
    try:
        return str(ipaddress.IPv4Address(value))
    except ValueError:
        raise DeployError(f"{name} = {value!r} is not an IPv4 address, e.g. '192.168.1.11'") from None


def _network(name: str, value: object) -> str:
    try:
        return str(ipaddress.IPv4Network(value))
    except ValueError as error:
        raise DeployError(f"{name} = {value!r} is not a network such as '10.201.0.0/16': {error}") from None


def _pool(name: str, value: object) -> str:
    """A network that holds two overlay networks at least: the swarm's own, for published ports, and the stack's."""
    pool = _network(name, value)
    if ipaddress.IPv4Network(pool).prefixlen >= SUBNET_SIZE:
        raise DeployError(
            f"{name} = {value!r} is too small: the swarm, the stack and each of your own overlay networks take a"
            f" /{SUBNET_SIZE} of it, e.g. '10.201.0.0/16'"
        )
    return pool


def _version(name: str, value: object) -> str:
    if isinstance(value, str) and re.fullmatch(r"([0-9]+:)?[0-9][A-Za-z0-9.+~-]*", value):
        return value
    raise DeployError(f"{name} = {value!r} is not a version, e.g. '26.1' or '5:28.5.2-1~debian.13~trixie'")


def _repository(name: str, value: object) -> str:
    if isinstance(value, str) and re.fullmatch(r"https?://[A-Za-z0-9._~:/%+-]+", value):
        return value.rstrip("/")
    raise DeployError(f"{name} = {value!r} is not the address of an apt repository, e.g. 'https://HOST/linux/debian'")


def _fingerprint(name: str, value: object) -> str:
    digits = value.replace(" ", "").upper() if isinstance(value, str) else ""
    if re.fullmatch(r"[0-9A-F]{40}", digits):
        return digits
    raise DeployError(f"{name} = {value!r} is not a key's fingerprint, which has 40 hexadecimal digits")


def _folder(name: str, value: object) -> str:
    if isinstance(value, str) and re.fullmatch(r"(/[A-Za-z0-9._-]+)+", value) and not {".", ".."} & {*value.split("/")}:
        return value
    raise DeployError(f"{name} = {value!r} is not the path of a folder on the host, e.g. '/mnt/ssd/registry'")


def _server(name: str, value: object) -> str:
    if isinstance(value, str) and re.fullmatch(r"[A-Za-z0-9.:-]+", value):
        return value
    raise DeployError(f"{name}: {value!r} is not the name or the address of a server, e.g. 'pool.ntp.org'")


def _one_of(*choices: str) -> Parse:
    def parse(name: str, value: object) -> object:
        if value in choices:
            return value
        raise DeployError(f"{name} = {value!r} is none of {', '.join(map(repr, choices))}")

    return parse


def _optional(parse: Parse) -> Parse:
    return lambda name, value: None if value is None else parse(name, value)


def _several(parse: Parse) -> Parse:
    def each(name: str, value: object) -> tuple[Any, ...]:
        if not isinstance(value, list | tuple):
            raise DeployError(f"{name} = {value!r} is not a list; write it as [{value!r}]")
        return tuple(parse(name, one) for one in value)

    return each


def _labels(name: str, value: object) -> dict[str, str]:
    if isinstance(value, Mapping) and all(isinstance(word, str) for pair in value.items() for word in pair):
        return dict(value)
    raise DeployError(f"{name} = {value!r} is not a mapping of texts, e.g. {{'disk': 'ssd'}}")


def _setting(parse: Parse, default: Any = MISSING) -> Any:
    given = {"default_factory": default} if callable(default) else {} if default is MISSING else {"default": default}
    return field(metadata={"parse": parse}, **given)


@dataclass(frozen=True)
class ClusterSettings:
    """What holds for the cluster as a whole; it belongs into group_data/all.py."""

    cluster_name: str = _setting(_text)
    registry_node: str = _setting(_text)
    prometheus_node: str = _setting(_text)
    overlay_pool: str = _setting(_pool)
    registry_data: str | None = _setting(_optional(_folder), None)
    autolock: bool = _setting(_flag, False)
    ca_passphrase_file: str | None = _setting(_optional(_text), None)
    engine_source: str = _setting(_one_of("distribution", "docker-ce"), "distribution")
    engine_version: str | None = _setting(_optional(_version), None)
    engine_repository: str | None = _setting(_optional(_repository), None)
    # Docker's own key, as Docker publishes its fingerprint.
    engine_key_fingerprint: str = _setting(_fingerprint, "9DC858229FC7DD38854AE2D88D81803C0EBFCD88")
    engine_hardening: bool = _setting(_flag, True)
    gateway: str | None = _setting(_optional(_address), None)
    name_servers: Sequence[str] = _setting(_several(_address), ())
    firewall: bool = _setting(_flag, True)
    metrics: bool = _setting(_flag, True)
    api_networks: tuple[str, ...] | None = _setting(_optional(_several(_network)), None)
    time_servers: tuple[str, ...] = _setting(_several(_server), ())


@dataclass(frozen=True)
class HostSettings:
    """What differs from host to host; it belongs into inventory.py."""

    address: str = _setting(_address)
    static: bool = _setting(_flag, False)
    data_path_address: str | None = _setting(_optional(_address), None)
    availability: Availability = _setting(_one_of("active", "pause", "drain"), "active")
    labels: Mapping[str, str] = _setting(_labels, dict)


# What hostnamectl(1) takes as it is: of any other name it leaves out what does not fit, and says nothing.
_LABEL = "[A-Za-z0-9]([A-Za-z0-9-]*[A-Za-z0-9])?"
_HOSTNAME: Final = re.compile(rf"(?=.{{1,63}}\Z){_LABEL}(\.{_LABEL})*")
_KNOWN: Final = frozenset(one.name for kind in (ClusterSettings, HostSettings) for one in fields(kind))


def parse(kind: type[T], said: Mapping[str, object], whose: str) -> T:
    """Take the settings of `kind` out of what an inventory says.

    Args:
        whose: begins the sentence where one is missing, e.g. a host's name.

    Raises:
        DeployError: one is missing, or is not what it should be.
    """
    values = {}
    for one in fields(kind):  # type: ignore[arg-type] # a dataclass, of which mypy has no type
        if one.name in said:
            values[one.name] = one.metadata["parse"](one.name, said[one.name])
        elif one.default is MISSING and one.default_factory is MISSING:
            raise DeployError(f"{whose}: the setting `{one.name}` is missing")
    return kind(**values)


def unknown(names: Iterable[str]) -> str:
    """What is said of the first name that is no setting, with the nearest that is; empty if all are known."""
    pyinfras = ConnectorData.__annotations__
    for name in names:
        if name in _KNOWN or name in pyinfras or name.startswith("_"):
            continue
        near = difflib.get_close_matches(name, [*_KNOWN, *pyinfras], n=1)
        return f"unknown setting `{name}`" + (f"; did you mean `{near[0]}`?" if near else "")
    return ""


def misnamed(name: str) -> str:
    """What is said of a host's name that no hostname can be; empty if it can."""
    if _HOSTNAME.fullmatch(name):
        return ""
    return f"{name!r} cannot be a hostname; use letters, digits and '-', e.g. 'pi1'"
