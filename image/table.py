"""A TOML table becomes a frozen dataclass; what does not fit is told with its place in the file."""

from __future__ import annotations

import tomllib
from collections.abc import Iterator, Mapping
from dataclasses import MISSING, fields, is_dataclass
from difflib import get_close_matches
from pathlib import Path
from types import UnionType
from typing import Any, TypeVar, get_args, get_origin, get_type_hints

from image.errors import UserError

T = TypeVar("T")

_KINDS = {str: "text in double quotes", bool: "true or false", int: "a whole number"}


def read(kind: type[T], file: Path) -> T:
    """Read a TOML file as the dataclass `kind`; raises UserError."""
    return parse(kind, load(file), str(file))


def load(file: Path) -> dict[str, Any]:
    """Read a TOML file as it is; raises UserError."""
    try:
        return tomllib.loads(file.read_text(encoding="utf-8"))
    except OSError as error:
        raise UserError(f"cannot read {file}: {error.strerror}") from error
    except (tomllib.TOMLDecodeError, UnicodeDecodeError) as error:
        raise UserError(f"{file}: {error}", "key = value, with text in double quotes") from error


def parse(kind: type[T], table: Mapping[str, Any], where: str) -> T:
    """Make a `kind` of a table.

    A field may be text, a whole number, true or false, a list of text, a table of text, or another
    dataclass; with `| None` it may be left out. A key that is a word of Python's is a field with `_` after it.

    Raises:
        UserError: a key is unknown (with the nearest known one), keys are missing (with all of them, those of
            tables within too), or one is of another kind.
    """
    hints = _hints(kind)
    _refuse_unknown(kind, table, where)
    if lacking := dict(_missing(kind, table)):
        told = f"{', '.join(lacking)} {'is' if len(lacking) == 1 else 'are'} missing"
        raise UserError(f"{where}: {told}", f"add {'; '.join(lacking.values())}")
    names = {_key(name): name for name in get_type_hints(kind)}
    return kind(**{names[key]: _value(hints[key], value, f"{where}: {key}") for key, value in table.items()})


def values(of: Any) -> Any:
    """The table that `parse` makes such a dataclass of."""
    if is_dataclass(of):
        return {_key(field.name): values(getattr(of, field.name)) for field in fields(of)}
    return of


def _hints(kind: type) -> dict[str, Any]:
    """What each key of the table is."""
    return {_key(name): hint for name, hint in get_type_hints(kind).items()}


def _key(name: str) -> str:
    return name.removesuffix("_")


def _refuse_unknown(kind: type, table: Mapping[str, Any], where: str) -> None:
    """Before anything is called missing: it may be there, misspelt."""
    known = {name: _present(hint) for name, hint in _hints(kind).items()}
    for name, value in table.items():
        if name not in known:
            near = get_close_matches(name, known, n=1, cutoff=0)
            raise UserError(f"{where}: unknown key {name!r}", f"{near[0]!r}, or one of {', '.join(known)}")
        if is_dataclass(known[name]) and isinstance(value, dict):
            _refuse_unknown(known[name], value, f"{where}: {name}")


def _missing(kind: type, table: Mapping[str, Any], within: str = "") -> Iterator[tuple[str, str]]:
    """The keys that a table lacks, and what to add for each; then those that tables in it lack."""
    hints = {name: _present(hint) for name, hint in _hints(kind).items()}
    place = f" in [{within}]" if within else ""
    for field in fields(kind):
        key = _key(field.name)
        if key in table or field.default is not MISSING or field.default_factory is not MISSING:
            continue
        if is_dataclass(hints[key]):
            keys = ", ".join(fix for _, fix in _missing(hints[key], {}))
            yield f"the table [{key}]{place}", f"[{key}] with {keys}"
        else:
            yield f"{key!r}{place}", f"{key} = …{place}"
    for name, value in table.items():
        if is_dataclass(hints.get(name)) and isinstance(value, dict):
            yield from _missing(hints[name], value, name)


def _present(hint: Any) -> Any:
    """What a value is that may be left out, if it is there."""
    if isinstance(hint, UnionType):
        return next(each for each in get_args(hint) if each is not type(None))
    return hint


def _value(hint: Any, value: Any, where: str) -> Any:
    hint = _present(hint)
    if hint in _KINDS:
        if type(value) is not hint:
            raise UserError(f"{where} = {value!r} is not {_KINDS[hint]}")
        return value
    if get_origin(hint) is tuple:
        if not isinstance(value, list) or not all(isinstance(each, str) for each in value):
            raise UserError(f"{where} = {value!r} is not a list of text")
        return tuple(value)
    if not isinstance(value, dict):
        raise UserError(f"{where} = {value!r} is not a table")
    if get_origin(hint) is None:
        return parse(hint, value, where)
    if not all(isinstance(each, str) for each in value.values()):
        raise UserError(f"{where}: every value of the table is text in double quotes")
    return dict(value)
