"""How pyinfra runs here."""

import logging
import sys
from pathlib import Path

# pyinfra keeps Python from keeping what it compiled; each run would compile all that follows anew.
sys.dont_write_bytecode = False

import click
from pyinfra import config
from pyinfra.connectors import ssh, util
from pyinfra.context import ctx_state

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

# The doctor names hosts that do not answer in its table, and has no question to ask about them.
_command = click.get_current_context(silent=True)
_operations = _command.params["operations"] if _command else ()
if any(Path(each).name == "doctor.py" for each in _operations):
    from deploys import diagnosis

    # What pyinfra itself finds wrong, such as a mistake in the inventory, would end with 1: warnings.
    click.ClickException.exit_code = diagnosis.FAILED
    diagnosis.prepare(ctx_state.get(), _operations)
