"""`python -m lab`."""

import sys

try:
    from lab.cli import main
except ModuleNotFoundError as error:
    sys.exit(f"Error: this Python has not what the lab needs: {error}\n  Try: source .venv/bin/activate")

main(prog_name="python -m lab")
