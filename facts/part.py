"""A part of what is true of a host: questions that one script asks, and one frozen value that they answer."""

from __future__ import annotations

from abc import abstractmethod
from collections.abc import Iterable, Mapping, Sequence
from typing import ClassVar, TypeVar

from pyinfra.api import FactBase
from pyinfra.api.exceptions import FactProcessError

from facts.sections import script, sections

T = TypeVar("T")


class Part(FactBase[T]):
    """A fact that can be read alone, or together with others in one round trip (see `command_for`)."""

    questions: ClassVar[Mapping[str, str]]
    """Shell commands by the name of their answer; what fails answers nothing."""

    @abstractmethod
    def parse(self, found: Mapping[str, str]) -> T:
        """The value that the answers make.

        Raises:
            KeyError, ValueError, IndexError: they are not what the questions asked for.
        """

    def command(self) -> str:
        return command_for([type(self)])

    def process(self, output: Iterable[str]) -> T:
        return self.of(sections(output))

    def of(self, found: Mapping[str, str]) -> T:
        """Take this part out of what a script for several parts printed.

        Raises:
            FactProcessError: the host said something else than it was asked for.
        """
        prefix = f"{type(self).__name__}."
        mine = {name.removeprefix(prefix): text for name, text in found.items() if name.startswith(prefix)}
        try:
            return self.parse(mine)
        except (KeyError, ValueError, IndexError, TypeError, AttributeError) as error:
            raise FactProcessError(f"reading {type(self).__name__}: {error!r} in {mine!r:.300}") from error


def command_for(parts: Sequence[type[Part[T]]]) -> str:
    """One script that asks the questions of all `parts`."""
    return script({f"{part.__name__}.{name}": ask for part in parts for name, ask in part.questions.items()})
