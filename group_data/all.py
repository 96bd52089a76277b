"""What holds for the whole cluster. Change it here, then run `pyinfra inventory.py deploys/swarm.py` again."""

# Names the cluster: its folder .cluster/<name>/ and the docker context that `docker --context` takes.
cluster_name = "shelf"

# The host whose disk keeps the images of the cluster's own registry.
registry_node = "pi1"

# The host whose disk keeps Prometheus' data; a 64-bit Pi with a good card or an SSD is best.
prometheus_node = "pi1"

# Where the swarm's overlay networks get their addresses. It must not overlap your home network.
overlay_pool = "10.201.0.0/16"
