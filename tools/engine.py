"""The engine of this machine: used where it answers, started where it does not, never reconfigured."""

from __future__ import annotations

import os
import socket
from enum import Enum
from pathlib import Path
from time import monotonic, sleep

from tools.rights import Rights
from tools.run import SetupError, ask, say

_SOCKET = "/var/run/docker.sock"
_LOG = Path("/var/log/dockerd.log")
_PATIENCE = 90.0
_ENDED = "dockerd ended with"
# dockerd outlives this program and its terminal; should it end, the log says so and we need not wait.
_START = f"""PATH="$PATH:/usr/local/sbin:/usr/sbin:/sbin"
setsid sh -c 'dockerd >>"$1" 2>&1 </dev/null; echo "{_ENDED} $?" >>"$1"' sh "$1" >/dev/null 2>&1 </dev/null &"""
_PID_FILES = {
    "dockerd": Path("/var/run/docker.pid"),
    "containerd": Path("/var/run/docker/containerd/containerd.pid"),
}


class Answer(Enum):
    """What the engine says when asked."""

    YES = "it answers"
    NO = "it does not answer"
    FORBIDDEN = "it does not let this user in"


def host() -> str:
    """Where the engine is."""
    return os.environ.get("DOCKER_HOST") or f"unix://{_SOCKET}"


def ping() -> Answer:
    """Ask the engine; a few milliseconds at a local socket."""
    if not host().startswith("unix://"):
        return Answer.YES if ask("docker", "version", "--format", "{{.Server.Version}}") else Answer.NO
    with socket.socket(socket.AF_UNIX) as connection:
        connection.settimeout(5)
        try:
            connection.connect(host().removeprefix("unix://"))
            connection.sendall(b"GET /_ping HTTP/1.0\r\n\r\n")
            return Answer.YES if b" 200 " in connection.recv(64) else Answer.NO
        except PermissionError:
            return Answer.FORBIDDEN
        except OSError:
            return Answer.NO


def refuse_what_we_must_not_mend(answer: Answer) -> None:
    """Raise SetupError where the engine is someone else's to mend."""
    if answer is Answer.FORBIDDEN:
        raise SetupError(
            f"the engine at {host()} does not let this user in",
            "sudo usermod -aG docker $USER, then log in again; or sudo make",
        )
    if answer is Answer.NO and os.environ.get("DOCKER_HOST"):
        raise SetupError(
            f"DOCKER_HOST is {host()}, and no engine answers there", "unset DOCKER_HOST, or start that engine"
        )


def start(rights: Rights, log: Path) -> None:
    """Start the engine and wait until it answers.

    Raises:
        SetupError: it does not; with its last words.
    """
    if Path("/run/systemd/system").is_dir():
        rights.program("starting the engine", log, "systemctl", "start", "docker").run()
        _await("journalctl -u docker", None)
        return
    _forget_the_dead(rights, log)
    began = _LOG.stat().st_size if _LOG.exists() else 0
    say(f"no init system runs here: starting dockerd, which keeps running; its log is {_LOG}")
    rights.program("starting the engine", log, "sh", "-c", _START, "sh", str(_LOG)).run()
    _await(str(_LOG), began)


def _forget_the_dead(rights: Rights, log: Path) -> None:
    """Remove pid files of killed daemons: their numbers may be someone else's by now."""
    for program, path in _PID_FILES.items():
        if ask(*rights.prefix, "test", "-e", path) is None:
            continue
        pid = (ask(*rights.prefix, "cat", path) or "").strip()
        if not is_running(pid, program):
            rights.program(f"removing {path} of a {program} that is gone", log, "rm", "-f", str(path)).run()


def is_running(pid: str, program: str) -> bool:
    """Whether process `pid` is that program."""
    try:
        return pid.isdigit() and Path(f"/proc/{pid}/comm").read_text(encoding="utf-8").strip() == program
    except OSError:
        return False


def _await(words: str, began: int | None) -> None:
    """Wait for the engine; `began` is where its log of this start begins."""
    end = monotonic() + _PATIENCE
    while (answer := ping()) is Answer.NO:
        said = "" if began is None else _read(began)
        if monotonic() > end or _ENDED in said:
            tail = "\n  ".join(said.strip().splitlines()[-8:])
            raise SetupError(
                f"the engine does not start:\n  {tail}" if tail else "the engine does not start", f"read {words}"
            )
        sleep(0.2)
    refuse_what_we_must_not_mend(answer)


def _read(began: int) -> str:
    try:
        with _LOG.open("rb") as file:
            file.seek(began)
            return file.read().decode(errors="replace")
    except OSError:
        return ""
