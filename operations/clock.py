"""How a host comes to ask the time servers that the inventory names."""

from __future__ import annotations

from collections.abc import Generator, Sequence

from pyinfra import host
from pyinfra.api import StringCommand
from pyinfra.api.command import PyinfraCommand

from facts.clock import TIMESYNCD_CONF, TimeServers
from facts.host import Host
from operations.file import place
from operations.known import converges, known
from operations.refusal import Refused

_ASK_ANEW = StringCommand("systemctl try-restart systemd-timesyncd.service")


@converges(TimeServers, Host)
def asks(servers: Sequence[str]) -> Generator[PyinfraCommand, None, None]:
    """Have the host ask these time servers; without any, those that it asks by itself."""
    state = known(TimeServers)
    conf = f"[Time]\nNTP={' '.join(servers)}" if servers else ""
    if state.conf == conf:
        host.noop("asks them already")
        return
    if not servers:
        yield StringCommand(f"rm {TIMESYNCD_CONF}")
        yield _ASK_ANEW
        return
    if not state.timesyncd:
        raise Refused(
            "time_servers is set, but this host has no systemd-timesyncd, which they would be for; write them into the"
            " configuration of what keeps its time (chrony?) and take time_servers out of group_data/all.py, or"
            " `sudo apt-get install systemd-timesyncd`; then run again"
        )
    yield place(TIMESYNCD_CONF, conf + "\n")
    yield _ASK_ANEW
