"""How pyinfra runs here."""

import logging

from pyinfra import state

from operations.reach import Reach

# It logs each broken connection with a traceback; pyinfra names the host and the reason in one line.
logging.getLogger("paramiko").setLevel(logging.CRITICAL)

REQUIRE_PYINFRA_VERSION = ">=3.10,<4"

# Raspberry Pi OS lets its first user become root without a password.
SUDO = True

# A host is where its `address` says.
state.add_callback_handler(Reach())
