"""Move a host's work to the others: `pyinfra inventory.py deploys/drain.py --limit pi3`.

The next run of deploys/swarm.py gives it work again; `"availability": "drain"` in the inventory keeps it without.
"""

from deploys import cluster
from operations import leave

cluster.read()
cluster.require_limit("drain")

leave.drained(name="Move its tasks to other nodes", required=True, _serial=True)
