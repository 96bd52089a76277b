"""What holds for the whole cluster. Change it here, then run `pyinfra inventory.py deploys/swarm.py` again.

Settings that are commented out show their default; a name that nothing knows is refused.
"""

# Names the cluster: its folder .cluster/<name>/ and the docker context that `docker --context` takes.
cluster_name = "shelf"

# The host whose disk keeps the images of the cluster's own registry.
registry_node = "pi1"

# Where on that host: a volume of its engine (None), or a folder that is there and belongs to root, e.g. on an SSD: a
# folder on it, not the place where it is mounted, which is there without it, too.
# After a change of either, `python -m image move-registry` copies all of it: see docs/registry.md.
# registry_data = None  # or "/mnt/ssd/registry"

# The host whose disk keeps Prometheus' data: a 64-bit one where there is one (the doctor says so, too), with a good
# card or an SSD. After a change it begins anew there; what was measured before stays where it was.
prometheus_node = "pi1"

# Where the swarm's overlay networks get their addresses. It must not overlap your home network. A swarm keeps the one
# that it was started with, whatever stands here later.
overlay_pool = "10.201.0.0/16"

# The engine: the distribution's docker.io, or Docker's own packages. For these, engine_repository is the address
# after `URIs:` on the page "Install Docker Engine on Debian" of Docker's documentation.
# engine_source = "distribution"  # or "docker-ce"
# engine_repository = None
# One version in the whole cluster; None is the one that it has, or the newest for a new cluster. E.g. "26.1".
# engine_version = None
# False turns off no-new-privileges, icc = false and userland-proxy = false.
# engine_hardening = True

# Who may reach the engines' API (2376, with a certificate); None is the networks that the nodes are in.
# The swarm's own ports are open to the cluster's nodes alone. False takes the firewall away.
# api_networks = None  # or ["192.168.1.0/24"]
# firewall = True

# Each Pi writes what node_exporter does not know: its power, its card, its engine (docs/metrics.md). False takes the
# daemon away that does, and with it what the page and the alerts say of these.
# metrics = True

# Servers that the clocks follow; empty leaves what each Pi has. E.g. ["192.168.1.1"].
# time_servers = []

# For hosts with `"static": True`: None and empty take what the host uses now.
# gateway = None
# name_servers = []

# Managers ask for a key after each restart; it is kept in .cluster/<name>/unlock-key, and runs of the deploy use it.
# autolock = False

# A file of yours (mode 0600) with the passphrase of the CA's key; None asks at the terminal if the key has one.
# ca_passphrase_file = None
