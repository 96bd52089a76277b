"""A newer engine for the whole cluster: `pyinfra inventory.py deploys/upgrade.py`.

One host after the other: drained, upgraded, Ready again, back to work. The version is `engine_version`, or the newest
that apt offers on all hosts; another major version only with `--data major=true`. A run that was stopped may leave
one node drained: deploys/swarm.py gives it its work again.
"""

from deploys import cluster, docker

docker.bring_up_to_date(cluster=cluster.read())
