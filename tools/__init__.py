"""What prepares a machine for this repository; standard library only, for it runs before anything is there."""

import sys

if sys.version_info < (3, 11):  # noqa: UP036 - this check is for the Pythons that we do not support
    sys.exit(f"Error: Python {sys.version.split()[0]} is too old, 3.11 is needed\n  Try: make PYTHON=python3.11 setup")
