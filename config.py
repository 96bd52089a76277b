"""How pyinfra runs here."""

import logging

from pyinfra import config
from pyinfra.connectors import ssh, util

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
