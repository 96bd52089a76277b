"""The host part of deploys/swarm.py, for hosts without an engine: `pyinfra inventory.py bench/light.py`."""

from deploys import cluster, host

host.prepare(cluster=cluster.read())
