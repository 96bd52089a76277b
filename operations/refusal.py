"""How an operation says no, and how it works on the controller's side."""

from __future__ import annotations

from collections.abc import Callable

from pyinfra import logger
from pyinfra.api import Host, State
from pyinfra.api.command import PyinfraCommand


class Refused(Exception):  # noqa: N818 - it is an answer, not a bug
    """What, which value, why, and the fix, for a person. Raise it inside an operation that `converges`."""


class Refusal(PyinfraCommand):
    """A command that changes nothing and fails with a sentence for a person.

    What becomes of a `Refused`: this host fails, the others carry on. (An exception that leaves an
    operation while the run executes ends it for all hosts, with a traceback.)
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
        except (Refused, ValueError, OSError) as error:
            return Refusal(f"{self.what}: {error}").execute(state, host, connector_arguments)
        return True
