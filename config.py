"""How pyinfra runs here."""

import logging

# It logs each broken connection with a traceback; pyinfra names the host and the reason in one line.
logging.getLogger("paramiko").setLevel(logging.CRITICAL)

REQUIRE_PYINFRA_VERSION = ">=3.10,<4"

# Raspberry Pi OS lets its first user become root without a password.
SUDO = True
