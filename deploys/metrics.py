"""What each host tells of itself: its power, its card, its engine; one manager also of the swarm."""

from __future__ import annotations

from pyinfra.api import deploy

from deploys.cluster import Cluster
from operations import metrics


@deploy("Metrics")
def write(cluster: Cluster) -> None:
    """A small daemon on each host; or none, with the setting `metrics = False`."""
    if cluster.settings.metrics:
        metrics.written(name="Write the host's metrics", registry=cluster.registry)
    else:
        remove()


@deploy("Metrics")
def remove() -> None:
    """Nothing of it."""
    metrics.left(name="Write no metrics")
