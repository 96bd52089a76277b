"""How a host becomes blank again."""

from __future__ import annotations

from collections.abc import Generator

from pyinfra import host
from pyinfra.api import StringCommand
from pyinfra.api.command import PyinfraCommand

from facts.remains import DATA, Remains
from operations.known import PARTS, converges, known

_APT = "DEBIAN_FRONTEND=noninteractive apt-get -qq -y -o DPkg::Lock::Timeout=300"


@converges(*PARTS, Remains)
def purged() -> Generator[PyinfraCommand, None, None]:
    """Remove the engine with all its data, and every file that the cluster made."""
    found = known(Remains)
    if not (found.paths or found.packages or found.data):
        host.noop("nothing is left")
        return
    # What does not run need not be stopped; what does, and would not stop, must not lose its files.
    yield StringCommand(
        "for unit in docker.socket docker.service containerd.service; do"
        " ! systemctl cat $unit >/dev/null 2>&1 || systemctl stop $unit; done"
    )
    if found.packages:
        names = " ".join(found.packages)
        yield StringCommand(f"apt-mark -qq unhold {names}")
        yield StringCommand(f"{_APT} --auto-remove purge {names}")
    # An engine leaves its mounts where it was killed.
    yield StringCommand(
        f"for folder in {' '.join(DATA)}; do test -d $folder || continue;"
        ' grep -o " $folder/[^ ]*" /proc/mounts | sort -r | xargs --no-run-if-empty umount --lazy;'
        " find $folder -mindepth 1 -delete; done"
    )
    yield StringCommand(f"rm -rf {' '.join(found.paths)} && systemctl daemon-reload")
    for link in ("docker0", "docker_gwbridge"):
        yield StringCommand(f"! test -e /sys/class/net/{link} || ip link delete {link}")
