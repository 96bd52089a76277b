"""The doctor's part of pyinfra's command line: whom it is for, what it prints, how it ends."""

from __future__ import annotations

import json
import sys
from collections.abc import Collection, Sequence
from typing import NoReturn

from pyinfra import inventory, logger
from pyinfra.api import Host, State
from pyinfra.api.exceptions import DeployError

from deploys.cluster import described
from deploys.examination import evidence
from doctor.report import Report, examine

_FORMATS = ("table", "json")
FAILED = 2


def run(state: State) -> NoReturn:
    """Examine the hosts that this run is for, print the report, and end pyinfra with its code."""
    as_json = False
    try:
        hosts = [host for host in inventory if state.is_host_in_limit(host)]
        as_json = _format(hosts) == "json"
        report = examine(evidence(hosts, described()))
    except DeployError as error:
        _refuse(error, as_json)
    _print(report, as_json)
    # pyinfra closes its connections on the way out.
    sys.exit(report.exit_code)


def check() -> None:
    """End the run where the inventory, or what is asked for, is wrong; called before a host is asked."""
    as_json = False
    try:
        as_json = _format(list(inventory)) == "json"
        described()
    except DeployError as error:
        _refuse(error, as_json)


def _refuse(error: DeployError, as_json: bool) -> NoReturn:
    # Left to pyinfra, the run would end with 1, which means warnings here.
    logger.error(f"the doctor cannot begin: {error}")
    if as_json:
        _say(json.dumps({"verdict": "failure", "why": str(error), "hosts": {}}))
    sys.exit(FAILED)


def prepare(state: State, operations: Sequence[str]) -> None:
    """Have hosts that do not answer counted, and nothing else: the doctor names them in its table.

    pyinfra would ask whether to go on without them, and give up where none answers. Called from config.py,
    the only code of ours that pyinfra runs before it connects.

    Args:
        operations: what pyinfra was asked to do, the doctor among it.
    """
    if len(operations) > 1:
        logger.error(f"the doctor ends the run, so run it alone, not with {' '.join(operations)}")
        sys.exit(FAILED)

    def fail_hosts(hosts_to_fail: Collection[Host], activated_count: int | None = None) -> None:
        del activated_count  # pyinfra's signature
        state.failed_hosts.update(hosts_to_fail)
        state.active_hosts.difference_update(hosts_to_fail)
        if not state.active_hosts:
            run(state)  # pyinfra runs a deploy on the hosts that answer: with none it would never come to it

    state.fail_hosts = fail_hosts  # type: ignore[method-assign]


def _format(hosts: Sequence[Host]) -> str:
    if not hosts:
        raise DeployError("no host of the inventory is meant; correct --limit")
    wanted = str(hosts[0].data.get("format", "table"))
    if wanted not in _FORMATS:
        raise DeployError(f"format = {wanted!r} is neither `table` nor `json`; e.g. --data format=json")
    return wanted


def _print(report: Report, as_json: bool) -> None:
    sys.stderr.flush()  # pyinfra's progress leaves there what clears its line
    if as_json:
        _say(json.dumps(report.as_json(), indent=2, ensure_ascii=False))
        return
    # Here and not above: rich takes a moment to import.
    from doctor.table import show

    show(report)


def _say(text: str) -> None:
    sys.stdout.write(f"{text}\n")
