"""Make hosts blank again: `pyinfra inventory.py deploys/reset.py`, all or those of `--limit`.

Asks for each host; `-y --data yes=true` answers. Images, volumes and the swarm's memory on them are lost; names,
addresses and what is not of this project stay.
"""

from deploys import cluster, departure

this = cluster.read()

departure.reset(cluster=this)
