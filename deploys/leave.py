"""Take a host out of the swarm: `pyinfra inventory.py deploys/leave.py --limit pi3`.

Its tasks move to other nodes, its entry goes, its certificate is forgotten; its engine stays, closed to the network.
The next run of deploys/swarm.py would take it in again: remove it from the inventory, too.
"""

from deploys import cluster, departure

this = cluster.read()
cluster.require_limit("leave")

departure.leave(cluster=this)
