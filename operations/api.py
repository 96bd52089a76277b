"""The API of a host's engine, asked on the host itself, through the ssh connection that pyinfra has.

Not over 2376: so it also works while certificates or the network are not what they should be. What goes in (a
join token) travels in standard input, what comes out is not printed, and neither is in any argv.
Source: docs.docker.com/reference/api/engine.
"""

from __future__ import annotations

import json
from dataclasses import dataclass
from typing import Any, Literal

from paramiko import SSHException
from pyinfra.api import Host, QuoteString, StringCommand
from pyinfra.api.arguments import CONNECTOR_ARGUMENT_KEYS, pop_global_arguments

Method = Literal["GET", "POST", "DELETE"]

_CURL = (
    "curl --silent --show-error --noproxy '*' --unix-socket /run/docker.sock"
    " --header 'Content-Type: application/json' --write-out '\\n%{http_code}'"
)
_TIMEOUT = 60  # seconds


class EngineError(ValueError):
    """What an engine refuses, in its own words."""


def unseen(host: Host, command: StringCommand, text: str = "", seconds: float = _TIMEOUT + 10) -> tuple[bool, str]:
    """Run a command on a host as pyinfra would, but print nothing of it: whether it succeeded, and what it said.

    Args:
        text: its standard input.
        seconds: how long it may take.

    Raises:
        ValueError: the host does not answer.
    """
    arguments, _ = pop_global_arguments(host.state, host, {})
    connector = {key: value for key, value in arguments.items() if key in CONNECTOR_ARGUMENT_KEYS}
    connector |= {"_timeout": seconds, "_stdin": text or None}
    try:
        done, output = host.run_shell_command(command, print_output=False, print_input=False, **connector)
    except (OSError, TimeoutError, SSHException) as error:
        raise EngineError(f"{host.name} does not answer: {error}") from error
    return done, output.stdout if done else output.stderr.strip()


@dataclass(frozen=True)
class EngineApi:
    """The engine on `host`."""

    host: Host

    def get(self, path: str) -> Any:
        """Read something, e.g. `/info`; see `post`."""
        if (answer := self._call("GET", path)) is None:
            raise EngineError(f"GET {path} on {self.host.name}: the answer is empty")
        return answer

    def post(self, path: str, body: object = None) -> Any:
        """Change something; gives the answer's JSON, None where there is none.

        Raises:
            EngineError: the engine refuses, does not answer in a minute, or the host does not.
        """
        return self._call("POST", path, body)

    def delete(self, path: str) -> None:
        """Remove something; see `post`."""
        self._call("DELETE", path)

    def _call(self, method: Method, path: str, body: object = None) -> Any:
        text = "" if body is None else json.dumps(body)
        # An empty body has to be given as such, or curl would wait for one.
        data = "--data-binary @-" if text else ""
        command = StringCommand(
            f"{_CURL} --max-time {_TIMEOUT} --request {method} {data}", QuoteString(f"http://engine{path}")
        )
        done, said = unseen(self.host, command, text)
        if not done:
            raise EngineError(f"the engine on {self.host.name} does not answer: {said or 'it says nothing'}")
        return self._answer(method, path, said)

    def _answer(self, method: Method, path: str, output: str) -> Any:
        text, _, code = output.rstrip().rpartition("\n")
        try:
            answer = json.loads(text) if text.strip() else None
        except ValueError as error:
            raise EngineError(f"{method} {path} on {self.host.name}: {code} {text.strip()[:200]}") from error
        if not code.startswith("2"):
            why = answer.get("message", code) if isinstance(answer, dict) else code
            raise EngineError(f"{method} {path} on {self.host.name}: {why}")
        return answer
