"""The first NODES nodes of the lab LAB, as pyinfra wants its hosts; the lab may have more, still blank."""

import os

from lab.hosts import groups

managers, _others = groups(os.environ.get("LAB", ""))
workers = _others[: int(os.environ["NODES"]) - 1]
