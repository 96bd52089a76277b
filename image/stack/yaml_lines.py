"""YAML that knows where it stands: values with the line that they were read from."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass

import yaml

from image.errors import UserError

_MERGE = "tag:yaml.org,2002:merge"
_NULL = "tag:yaml.org,2002:null"


@dataclass(frozen=True, order=True)
class Finding:
    """One mistake and the line that it stands in, counted from 1."""

    line: int
    message: str


@dataclass(frozen=True)
class Value:
    """A value, and the line of its key, counted from 1; for an item of a list, its own line."""

    node: yaml.Node | None
    line: int

    @property
    def text(self) -> str:
        """A scalar as it is written; empty for anything else, and for null."""
        scalar = isinstance(self.node, yaml.ScalarNode) and self.node.tag != _NULL
        return str(self.node.value) if scalar and self.node else ""

    @property
    def null(self) -> bool:
        """Whether nothing is written there."""
        return self.node is None or self.node.tag == _NULL

    @property
    def table(self) -> dict[str, Value]:
        """A mapping's values by their keys, what it merges from anchors included; empty for anything else."""
        if not isinstance(self.node, yaml.MappingNode):
            return {}
        found: dict[str, Value] = {}
        own: dict[str, Value] = {}
        for key, value in self.node.value:
            if key.tag == _MERGE:
                found = {**Value(value, key.start_mark.line + 1)._merged(), **found}
            elif isinstance(key, yaml.ScalarNode):
                own[str(key.value)] = Value(value, key.start_mark.line + 1)
        return {**found, **own}

    def _merged(self) -> dict[str, Value]:
        if not isinstance(self.node, yaml.SequenceNode):
            return self.table
        merged: dict[str, Value] = {}
        for one in self.items:
            merged = {**one.table, **merged}
        return merged

    @property
    def items(self) -> tuple[Value, ...]:
        """A list's items; none for anything else."""
        if not isinstance(self.node, yaml.SequenceNode):
            return ()
        return tuple(Value(node, node.start_mark.line + 1) for node in self.node.value)

    def at(self, *path: str) -> Value:
        """What stands below, by its keys; an empty value at the deepest line that there is."""
        here = self
        for key in path:
            here = here.table.get(key) or Value(None, here.line)
        return here

    def walk(self) -> Iterator[tuple[str, Value]]:
        """Each key of a mapping with its value; for a list that of its items that are mappings."""
        yield from self.table.items()
        for item in self.items:
            yield from item.table.items()

    def scalars(self) -> Iterator[Value]:
        """All scalars in it, each once, also where an anchor stands for itself."""
        seen: set[int] = set()
        todo = [self]
        while todo:
            value = todo.pop()
            if id(value.node) in seen:
                continue
            seen.add(id(value.node))
            if value.text:
                yield value
            todo += [*value.table.values(), *value.items]


def parse(text: str) -> Value:
    """Read a document; raises UserError with the line where it is none."""
    try:
        node = yaml.compose(text, yaml.SafeLoader)
    except yaml.MarkedYAMLError as error:
        line = error.problem_mark.line + 1 if error.problem_mark else 1
        raise UserError(f"line {line} of the rendered stack: {error.problem}", "python -m image render") from error
    except yaml.YAMLError as error:
        raise UserError(f"the rendered stack is not YAML: {error}", "python -m image render") from error
    return Value(node, 1)
