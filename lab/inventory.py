"""The running lab as a pyinfra inventory: `LAB=other pyinfra lab/inventory.py …`."""

import os

from lab.hosts import groups

_groups = groups(os.environ.get("LAB", ""))

managers = _groups.managers
workers = _groups.workers
