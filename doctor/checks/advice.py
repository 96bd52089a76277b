"""Advice that several checks give."""

from typing import Final

PROVISION: Final = "run `pyinfra inventory.py deploys/swarm.py`"
NO_ENGINE: Final = "no engine is installed yet"
SILENT_ENGINE: Final = "the engine does not run"
NO_SWARM: Final = "in no swarm yet"
