"""How pyinfra runs here."""

import logging
import sys
from pathlib import Path
from typing import Any

# pyinfra keeps Python from keeping what it compiled; each run would compile all that follows anew.
sys.dont_write_bytecode = False

import click
from pyinfra import config
from pyinfra.api import Inventory
from pyinfra.api.exceptions import DeployError
from pyinfra.connectors import ssh, util
from pyinfra.context import ctx_inventory, ctx_state
from pyinfra_cli import cli
from pyinfra_cli.exceptions import CliError
from pyinfra_cli.inventory import make_inventory

from operations.connection import ask
from operations.reach import Ssh

# It logs each broken connection with a traceback; pyinfra names the host and the reason in one line.
logging.getLogger("paramiko").setLevel(logging.CRITICAL)

config.REQUIRE_PYINFRA_VERSION = ">=3.10,<4"

# Raspberry Pi OS lets its first user become root without a password.
config.SUDO = True

# pyinfra looks its connectors up by name when it reads the inventory. (What it offers before a connection, the
# callback host_before_connect, can only be asked for by code that runs after all connections are made.)
ssh.SSHConnector = Ssh
util.getpass = ask

_command = click.get_current_context(silent=True)
_operations = _command.params["operations"] if _command else ()
_files = [Path(each) for each in _operations]
_names = [file.name for file in _files]


def _inventory(*what: Any, **how: Any) -> Inventory:
    found: Inventory = make_inventory(*what, **how)
    if not len(found):
        raise CliError(f"the inventory {what[0]} has no host; is it the right file?")
    if any(file.parent.name == "deploys" for file in _files):
        with ctx_inventory.use(found):
            _check()
    return found


def _check() -> None:
    from deploys.cluster import described

    try:
        described()
    except DeployError as error:
        raise CliError(str(error)) from None


# Before a host is asked. pyinfra goes on where there is no such file, does nothing, and ends well; what is wrong in
# one it would come to after all hosts that do not answer.
cli.make_inventory = _inventory


def _input() -> str:
    try:
        return input()
    except EOFError:
        data = " --data yes=true" if "reset.py" in _names else ""
        raise CliError(f"nobody is there to answer; add -y{data} if you mean it") from None


# pyinfra waits for Enter, and takes it for a fault of its own that there is no terminal.
cli.input = _input

# The doctor names hosts that do not answer in its table, and has no question to ask about them.
if "doctor.py" in _names:
    from deploys import diagnosis

    # What pyinfra itself finds wrong, such as a mistake in the inventory, would end with 1: warnings.
    click.ClickException.exit_code = diagnosis.FAILED
    diagnosis.prepare(ctx_state.get(), _operations)
    _check = diagnosis.check  # in the doctor's own words
