"""The running lab as a pyinfra inventory: `LAB=other MANAGERS=3 pyinfra lab/inventory.py …`."""

import os

from lab.hosts import groups

managers, workers = groups(os.environ.get("LAB", ""), os.environ.get("MANAGERS", ""))
