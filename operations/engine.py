"""How a host's engine is configured and runs with its configuration."""

from __future__ import annotations

import json
from collections.abc import Generator, Mapping
from pathlib import Path
from typing import Any

from pyinfra import host
from pyinfra.api import StringCommand
from pyinfra.api.command import PyinfraCommand

from facts.engine import BEFORE, DAEMON_JSON, DROP_IN, Engine, EngineState
from facts.swarm import Swarm
from operations import turn
from operations.attempt import Attempt, notice
from operations.file import place, place_unseen
from operations.known import converges, known
from operations.refusal import Refused

Steps = Generator[PyinfraCommand, None, None]

_PATIENCE = 300  # seconds for an engine to start; its unit itself would wait for ever
_CANDIDATE = f"{DAEMON_JSON}.candidate"

# Restarts the engine, and says on its last line what runs then: `new`, `old` (the configuration) or `nothing`.
# systemd refuses a fourth start within a minute; to lift that is a repair, and nothing for every day.
_RESTART = f"""\
since=$(date +%s)
says() {{
  journalctl --sync  # what was said a moment ago may not be written yet
  journalctl --unit docker.service --since "@$since" --lines 20 --output cat --no-pager
}}
start() {{
  timeout {_PATIENCE} systemctl restart docker.service && return
  says | grep -q 'Start request repeated too quickly' || return
  systemctl reset-failed docker.service docker.socket
  timeout {_PATIENCE} systemctl restart docker.service
}}
systemctl daemon-reload
if start; then rm -f {DAEMON_JSON}{BEFORE} {DROP_IN}{BEFORE}; echo new; exit; fi
says >&2
runs=nothing
for file in {DAEMON_JSON} {DROP_IN}; do
  if test -e $file{BEFORE}; then mv $file{BEFORE} $file; runs=old; fi
done
if test $runs = old; then
  systemctl daemon-reload
  systemctl reset-failed docker.service docker.socket
  start || runs=nothing
fi
echo $runs
"""


@converges(Engine)
def configured(daemon_json: Mapping[str, Any], without: Mapping[str, Any], drop_in: str) -> Steps:
    """Merge `daemon_json` into what is there, so that keys which a person added stay, and place the drop-in.

    An engine that is there checks the new file first, and the old one stays beside it until the engine runs.

    Args:
        without: keys that go where they have just this value, for an earlier run of ours wrote it.
    """
    yield from _configured(known(Engine), daemon_json, without, drop_in)


@converges(Engine)
def closed(without: Mapping[str, Any], drop_in: str) -> Steps:
    """Take our keys out of the configuration of an engine that is there, and have this drop-in; see `configured`."""
    found = known(Engine)
    if not found.version:
        host.noop("no engine")
        return
    yield from _configured(found, {}, without, drop_in)


def _configured(found: EngineState, daemon_json: Mapping[str, Any], without: Mapping[str, Any], drop_in: str) -> Steps:
    if found.daemon_json_error:
        raise Refused(f"{found.daemon_json_error}; mend or remove the file on {host.name}, then run again")
    old = found.daemon_json or {}
    if (backend := old.get("firewall-backend", "iptables")) != "iptables":
        raise Refused(
            f"{DAEMON_JSON} says firewall-backend {backend!r}, and no engine with it can be in a swarm"
            f" (moby/moby#46636); take that line out on {host.name}, then run again"
        )
    content = merged(old, daemon_json, without)
    if content == old and found.drop_in.strip() == drop_in.strip():
        host.noop("already configured")
        return
    if content != old:
        yield from _daemon_json(found, content)
    if found.drop_in.strip() != drop_in.strip():
        if found.active:
            yield _keep(DROP_IN, "")
        yield place(DROP_IN, drop_in)


def merged(old: Mapping[str, Any], new: Mapping[str, Any], without: Mapping[str, Any]) -> dict[str, Any]:
    """`old` with the values of `new`, mappings merged themselves, and no key that has its value of `without`."""
    return _over({key: value for key, value in old.items() if key not in without or value != without[key]}, new)


def _over(old: Mapping[str, Any], new: Mapping[str, Any]) -> dict[str, Any]:
    both = {key: _over(old[key], new[key]) for key in new if _is_mapping(old.get(key)) and _is_mapping(new[key])}
    return {**old, **new, **both}


def _is_mapping(value: object) -> bool:
    return isinstance(value, Mapping)


def _daemon_json(found: EngineState, content: Mapping[str, Any]) -> Steps:
    text = json.dumps(content, indent=2) + "\n"
    if not found.version:
        yield _placed(DAEMON_JSON, text)
        return
    yield _placed(_CANDIDATE, text)
    yield (check := Attempt(_validate(_CANDIDATE)))
    if check.failed:
        yield StringCommand(f"rm {_CANDIDATE}")
        raise Refused(
            f"the engine does not take what {DAEMON_JSON} would become with our keys: {_last(check.stderr)};"
            f" the file is as it was: mend it on {host.name}, then run again"
        )
    if found.active:
        yield _keep(DAEMON_JSON, "{}")
    yield StringCommand(f"mv {_CANDIDATE} {DAEMON_JSON} && sync $(dirname {DAEMON_JSON})")


def _placed(path: str, text: str) -> StringCommand:
    """Place what is to be daemon.json; a person's keys in it may be secrets, such as a proxy's password."""
    return place_unseen(path, text, mode="644", like=DAEMON_JSON)


def _validate(path: str) -> str:
    """The command that has the engine check a file; those before 23 cannot, and take any."""
    return f"! dockerd --help | grep -q -- --validate || dockerd --validate --config-file={path}"


def _keep(path: str, nothing: str) -> StringCommand:
    """Keep a file that the engine runs with; one that is kept already, by a run that was killed, is that."""
    return StringCommand(
        f"test -e {path}{BEFORE} || if test -e {path}; then cp --preserve {path} {path}{BEFORE};"
        f" else mkdir -p $(dirname {path}) && echo '{nothing}' > {path}{BEFORE}; fi"
    )


@converges(Engine, Swarm)
def started() -> Steps:
    """Start an engine that is stopped, and restart one that is in no swarm and runs with something older.

    It asks the host and not what this run changed, so that a run which was killed in between is made good.
    """
    found = known(Engine)
    if not found.version:
        host.noop("no engine")
        return
    if found.mixed_iptables:
        notice(
            "has rules of iptables-legacy beside those of the engine, which are nftables', and a packet has to pass"
            " both; `iptables-legacy-save` shows them. Remove them, or have the engine use them, too"
            " (update-alternatives --set iptables /usr/sbin/iptables-legacy)"
        )
    starts = not found.active or (found.stale and not _is_member())
    if not (starts or found.unproven) and found.enabled:
        host.noop("runs")
        return
    if not found.enabled:
        yield StringCommand("systemctl enable --quiet docker.service")
    if starts:
        yield from _checked(found)
        yield (attempt := Attempt(_RESTART))
        if why := _failure(attempt):
            raise Refused(why)
    elif found.unproven and not found.stale:
        yield StringCommand(f"rm -f {DAEMON_JSON}{BEFORE} {DROP_IN}{BEFORE}")


def _is_member() -> bool:
    """Whether the engine belongs to a swarm, whose other members have to be thought of."""
    membership = known(Swarm).membership
    return membership is not None and membership.inside


@converges(Engine, Swarm, everywhere=True)
def restarted(folder: Path) -> Steps:
    """Restart a swarm's member that runs with something older; call it with `_serial`, so that it is one at a time.

    Args:
        folder: the cluster's, which keeps the key that a locked manager asks for.
    """
    found = known(Engine)
    if not (found.active and found.stale and _is_member()):
        host.noop("nothing to restart for")
        return
    yield from _checked(found)
    notice(f"restarts its engine for {', '.join(found.unread)}")
    yield from turn.taken("restarting its engine", folder, restart)


def _checked(found: EngineState) -> Steps:
    """Leave an engine that runs alone where it would not start with the file that is there by now."""
    if not found.active:
        return
    yield (check := Attempt(_validate(DAEMON_JSON)))
    if check.failed:
        raise Refused(
            f"its engine would not start again with {DAEMON_JSON} as it is now: {_last(check.stderr)}; it runs on with"
            f" what it read at its start. Mend the file on {host.name}, then run again"
        )


def restart() -> Generator[PyinfraCommand, None, turn.Outcome]:
    """Restart the engine, with its former configuration where it does not start with the present one."""
    yield (attempt := Attempt(_RESTART))
    return turn.Outcome(_failure(attempt), runs=not attempt.stdout.endswith("nothing"))


def _failure(attempt: Attempt) -> str:
    """Why a restart did not succeed, with the engine's own words; empty if it did."""
    runs = attempt.stdout.rpartition("\n")[2]
    if not attempt.failed and runs in ("new", ""):
        return ""
    what = (
        "its engine does not start with the new configuration, so the old one is back, and it runs with that"
        if runs == "old"
        else "its engine does not start"
    )
    return (
        f"{what}. The engine's own words:\n{attempt.stderr}\n"
        f"Mend {DAEMON_JSON} on {host.name} (or what else these words name), then run again"
    )


def _last(words: str) -> str:
    return words.strip().rpartition("\n")[2]
