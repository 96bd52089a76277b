"""Steps that may fail, and what an operation tells a person besides yes and no."""

from __future__ import annotations

from pyinfra import host, logger, state
from pyinfra.api import Host, State, StringCommand
from pyinfra.api.arguments import ConnectorArguments
from pyinfra.api.command import PyinfraCommand


class Attempt(PyinfraCommand):
    """A command whose failure does not end the operation: what became of it decides what comes next.

    While pyinfra only prepares, nothing becomes of it: it has not failed and said nothing.
    """

    def __init__(self, command: str) -> None:
        super().__init__()
        self.command = StringCommand(command)
        self.failed = False
        self.stdout = ""
        self.stderr = ""

    def __repr__(self) -> str:
        return f"Attempt({self.command!r})"

    def execute(self, state: State, host: Host, connector_arguments: ConnectorArguments) -> bool:
        done, output = self.command.execute(state, host, connector_arguments)
        self.failed, self.stdout, self.stderr = not done, output.stdout.strip(), output.stderr.strip()
        return True


def notice(sentence: str) -> None:
    """Tell a person something that stops nothing; once, so not while pyinfra only prepares."""
    if state.is_executing:
        host.log_styled(sentence, fg="yellow", log_func=logger.warning)
