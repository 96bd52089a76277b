"""How an operation says no, and how it works on the controller's side."""

from __future__ import annotations

from collections.abc import Callable

from pyinfra import logger
from pyinfra.api import Host, State
from pyinfra.api.command import PyinfraCommand


class Refusal(PyinfraCommand):
    """A command that changes nothing and fails with a sentence for a person.

    Yield it where an operation finds at execution that it must not go on: this host
    fails, the others carry on. (An exception raised there ends the run for all hosts,
    with a traceback.)
    """

    def __init__(self, message: str) -> None:
        super().__init__()
        self.message = message

    def __repr__(self) -> str:
        return f"Refusal({self.message!r})"

    def execute(self, state: State, host: Host, connector_arguments: object) -> bool:
        del state, connector_arguments  # pyinfra's signature
        host.log_styled(self.message, fg="red", log_func=logger.error)
        return False


def unread(what: str) -> Refusal:
    """Says no because a fact, which pyinfra then gives as None, could not be read."""
    return Refusal(f"{what} could not be read, for the reason above; nothing was changed")


class OnController(PyinfraCommand):
    """A step that runs here and not on the host, e.g. a call of the engine's API.

    What it needs stays out of pyinfra's output: neither its values nor its result are printed.

    Args:
        what: names the step.
        step: does it; a ValueError or OSError that it raises is for a person and fails this host alone.
    """

    def __init__(self, what: str, step: Callable[[], object]) -> None:
        super().__init__()
        self.what = what
        self.step = step

    def __repr__(self) -> str:
        return f"OnController({self.what!r})"

    def execute(self, state: State, host: Host, connector_arguments: object) -> bool:
        try:
            self.step()
        except (ValueError, OSError) as error:
            return Refusal(f"{self.what}: {error}").execute(state, host, connector_arguments)
        return True
