"""`make setup`: a fresh Debian or Ubuntu becomes a machine that can build and try everything here.

Plans first, says what it will do, does what is missing and nothing else. Run it again at any time:
with nothing to do it takes a fraction of a second, and it finishes what a killed run began.
"""

from __future__ import annotations

import argparse
import fcntl
import sys
from dataclasses import dataclass
from pathlib import Path

from tools import buildx, debian, engine, venv
from tools.rights import become_root
from tools.run import SetupError, say

CLONE = Path(__file__).resolve().parent.parent


@dataclass(frozen=True)
class Plan:
    """What is missing."""

    packages: list[debian.Need]
    engine: bool
    venv: bool
    buildx: bool

    @property
    def lines(self) -> list[str]:
        """The plan as a person reads it."""
        lines = [f"install the Debian package {need.package} ({need.why})" for need in self.packages]
        lines += ["start the engine"] * self.engine
        lines += ["make .venv from requirements.txt (Python packages, Go, Node)"] * self.venv
        lines += [f"provide buildx {buildx.version(CLONE)}"] * self.buildx
        return lines


def plan(system_only: bool) -> Plan:
    """Look at the machine; changes nothing."""
    answer = engine.ping()
    engine.refuse_what_we_must_not_mend(answer)
    return Plan(
        packages=debian.needs(engine_answers=answer is engine.Answer.YES),
        engine=answer is engine.Answer.NO,
        venv=not system_only and not venv.is_current(CLONE),
        buildx=not system_only and not buildx.is_current(CLONE),
    )


def carry_out(planned: Plan, logs: Path) -> None:
    """Do what the plan says."""
    if planned.packages or planned.engine:
        rights = become_root("installing packages or starting the engine", CLONE)
        if planned.packages:
            debian.install(planned.packages, rights, logs / "apt.log")
        if engine.ping() is not engine.Answer.YES:
            engine.start(rights, logs / "engine.log")
    if planned.venv:
        venv.make(CLONE, logs / "venv.log")
    if planned.buildx:
        buildx.make(CLONE, logs / "buildx.log")


def main() -> int:
    """Exit code 0 when the machine is ready."""
    parser = argparse.ArgumentParser(prog="python3 -m tools.setup", description="Prepare this machine.")
    parser.add_argument("--system-only", action="store_true", help="only what needs root: packages and the engine")
    system_only = parser.parse_args().system_only
    logs = CLONE / ".build" / "log"
    logs.mkdir(parents=True, exist_ok=True)
    try:
        with (logs / "setup.lock").open("w") as lock:
            fcntl.flock(lock, fcntl.LOCK_EX)
            planned = plan(system_only)
            if planned.lines:
                say("make setup will:\n  " + "\n  ".join(planned.lines))
            carry_out(planned, logs)
    except SetupError as error:
        print(f"Error: {error}", file=sys.stderr)
        return 1
    except KeyboardInterrupt:
        print("\nstopped; make setup goes on from here", file=sys.stderr)
        return 130
    say("this machine is ready" if planned.lines else "this machine is ready: nothing to do")
    return 0


if __name__ == "__main__":
    sys.exit(main())
