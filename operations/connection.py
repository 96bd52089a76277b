"""A connection to a host that does not wait for ever, and says what a person can do where it fails."""

from __future__ import annotations

import socket
import sys
from getpass import getpass
from pathlib import Path
from typing import Any

from paramiko import AuthenticationException, BadHostKeyException, SSHException
from paramiko.transport import Transport
from pyinfra import logger
from pyinfra.api import StringCommand
from pyinfra.api.arguments import ConnectorArguments
from pyinfra.api.exceptions import ConnectError
from pyinfra.connectors.ssh import SSHConnector
from pyinfra.connectors.util import CommandOutput, OutputLine
from typing_extensions import Unpack

# Seconds. The slowest command that is no fault: packages for a Pi Zero, over a slow line, onto a slow card.
_LONGEST = 1800
# The kernel of a host that has power and network acknowledges what it gets, whatever its programs do.
_UNACKNOWLEDGED = 60
_KEEPALIVE = 15
_UNANSWERED = 60  # until a new command is taken

_RUN_AGAIN = "see whether it has power and network, then run the same command again"
_NOT_ROOT = (
    "sudo wants a password and got none: run this from a terminal, where you are asked for it, or let the user become"
    ' root without one: `echo "$USER ALL=(ALL) NOPASSWD: ALL" | sudo tee /etc/sudoers.d/010_$USER-nopasswd` there'
)


class Connection(SSHConnector):
    """pyinfra's ssh, with patience that ends.

    It learns the key of a host on first contact; pyinfra fails where there is no file yet to write it to.
    """

    def connect(self) -> None:
        try:
            _have(self.known_hosts)
            super().connect()
        except OSError as error:
            raise ConnectError(f"its ssh key could not be kept: {error}") from error
        except ConnectError as error:
            raise ConnectError(f"{error}: {self._advice(error.__context__)}") from error
        self._limit()

    @property
    def known_hosts(self) -> Path:
        """Where the keys of hosts are kept, by default the user's own file."""
        return Path(self.data["ssh_known_hosts_file"] or "~/.ssh/known_hosts").expanduser()

    def _advice(self, cause: BaseException | None) -> str:
        user = f"{self.data['ssh_user']}@" if self.data["ssh_user"] else ""
        where = self.data["ssh_hostname"] or self.host.name
        if isinstance(cause, BadHostKeyException):
            file = f" -f {self.known_hosts}" if self.data["ssh_known_hosts_file"] else ""
            return (
                "it is another machine than the one that was met there before, or its card was written anew. If you"
                f" know why: `ssh-keygen{file} -R {where}`, then run again. If not, somebody else may answer there"
            )
        if isinstance(cause, AuthenticationException):
            return f"none of your ssh keys lets you in; `ssh-copy-id {user}{where}`, or run with --ssh-password-prompt"
        if isinstance(cause, SSHException):
            return "it takes connections and then says nothing; if it hangs, cut its power, then run again"
        return _RUN_AGAIN

    def make_paramiko_kwargs(self) -> dict[str, Any]:
        kwargs: dict[str, Any] = super().make_paramiko_kwargs()
        more = kwargs["_pyinfra_ssh_paramiko_connect_kwargs"] or {}
        # paramiko's own limit for a new command to be taken is an hour.
        return kwargs | {"_pyinfra_ssh_paramiko_connect_kwargs": {"channel_timeout": _UNANSWERED, **more}}

    def _limit(self) -> None:
        """A host that loses its power or its network must not hold up the others for ever."""
        transport = self._transport
        if transport is None:
            return
        transport.set_keepalive(_KEEPALIVE)
        if isinstance(transport.sock, socket.socket) and hasattr(socket, "TCP_USER_TIMEOUT"):  # not on macOS
            transport.sock.setsockopt(socket.IPPROTO_TCP, socket.TCP_USER_TIMEOUT, _UNACKNOWLEDGED * 1000)

    @property
    def _transport(self) -> Transport | None:
        return self.client.get_transport() if self.client else None

    @property
    def _lost(self) -> bool:
        transport = self._transport
        return transport is None or not transport.is_active()

    def run_shell_command(
        self,
        command: StringCommand,
        print_output: bool = False,
        print_input: bool = False,
        **arguments: Unpack[ConnectorArguments],
    ) -> tuple[bool, CommandOutput]:
        """Run a command as pyinfra does; where the connection fails, so does the command, and its stderr says why."""
        limit = arguments.get("_timeout") or _LONGEST
        arguments["_timeout"] = limit
        try:
            done, output = super().run_shell_command(command, print_output, print_input, **arguments)
        except TimeoutError:
            why = f"did not finish within {limit} s; if it hangs, cut its power and run again"
        except (OSError, SSHException, EOFError) as error:
            why = f"lost its connection ({error or 'closed'}); {_RUN_AGAIN}" if self._lost else self._failed(error)
        else:
            if done or not self._lost:
                return done, output
            why = f"lost its connection; {_RUN_AGAIN}"
        if print_output:  # then pyinfra prints nothing of a failure afterwards
            self.host.log_styled(why, fg="red", log_func=logger.error)
        return False, CommandOutput([OutputLine("stderr", why)])

    def _failed(self, error: Exception) -> str:
        return _NOT_ROOT if isinstance(error, EOFError) else f"does not answer ({error}); {_RUN_AGAIN}"


def ask(prompt: str) -> str:
    """Ask at the terminal for sudo's password, in place of pyinfra's own getpass.

    Raises:
        EOFError: there is no terminal, or nothing was typed. (getpass itself would show what it reads then.)
    """
    if sys.stdin is None or not sys.stdin.isatty():
        raise EOFError
    return getpass(prompt)


def _have(file: Path) -> None:
    """Make a file that nobody else can read, and its folder, unless they are there."""
    if not file.exists():
        file.parent.mkdir(mode=0o700, parents=True, exist_ok=True)
        file.touch(mode=0o600)
