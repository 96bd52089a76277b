"""A TOML table becomes a frozen dataclass; what does not fit is told with its place in the file."""

from __future__ import annotations

import tomllib
from collections.abc import Mapping
from dataclasses import MISSING, fields
from difflib import get_close_matches
from pathlib import Path
from types import UnionType
from typing import Any, TypeVar, get_args, get_origin, get_type_hints

from image.errors import UserError

T = TypeVar("T")

_KINDS = {str: "text in double quotes", bool: "true or false", int: "a whole number"}


def read(kind: type[T], file: Path) -> T:
    """Read a TOML file as the dataclass `kind`; raises UserError."""
    try:
        table = tomllib.loads(file.read_text(encoding="utf-8"))
    except OSError as error:
        raise UserError(f"cannot read {file}: {error.strerror}") from error
    except (tomllib.TOMLDecodeError, UnicodeDecodeError) as error:
        raise UserError(f"{file}: {error}", "key = value, with text in double quotes") from error
    return parse(kind, table, str(file))


def parse(kind: type[T], table: Mapping[str, Any], where: str) -> T:
    """Make a `kind` of a table.

    A field may be text, a whole number, true or false, a list of text, a table of text, or another
    dataclass; with `| None` it may be left out.

    Raises:
        UserError: a key is unknown (with the nearest known one), missing, or of another kind.
    """
    hints = get_type_hints(kind)
    known = {field.name: field for field in fields(kind)}  # type: ignore[arg-type]
    for key in table:
        if key not in known:
            near = get_close_matches(key, known, n=1, cutoff=0)
            raise UserError(f"{where}: unknown key {key!r}", f"{near[0]!r}, or one of {', '.join(known)}")
    values = {}
    for name, field in known.items():
        if name in table:
            values[name] = _value(hints[name], table[name], f"{where}: {name}")
        elif field.default is MISSING and field.default_factory is MISSING:
            raise UserError(f"{where}: {name!r} is missing", f"add a line: {name} = …")
    return kind(**values)


def _value(hint: Any, value: Any, where: str) -> Any:
    if isinstance(hint, UnionType):
        hint = next(each for each in get_args(hint) if each is not type(None))
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
