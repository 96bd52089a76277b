"""Room for the nodes' systemds to watch files: each takes a few of the kernel's inotify instances.

One that gets none comes up half, or ends at once, and the engine starts it again and again.
"""

from __future__ import annotations

from pathlib import Path

from lab.progress import say

_LIMIT = Path("/proc/sys/fs/inotify/max_user_instances")
_OF_A_NODE = 8  # one at rest has five
_OF_OTHERS = 128  # this machine's own programs


def make_room(nodes: int) -> None:
    """Raise the kernel's limit, until the next boot, where it is too low for so many nodes; say so where we may not."""
    wanted = _OF_OTHERS + nodes * _OF_A_NODE
    if int(_LIMIT.read_text(encoding="ascii")) >= wanted:
        return
    try:
        _LIMIT.write_text(f"{wanted}\n", encoding="ascii")
    except OSError:
        say(f"{nodes} nodes may want more inotify instances: sudo sysctl fs.inotify.max_user_instances={wanted}")
