"""Your Pis. Write each one's name and fixed address; then `pyinfra inventory.py deploys/swarm.py`.

The address must stay: reserve it in your router, or set it on the Pi. The name becomes the Pi's hostname.
What holds for the whole cluster is in group_data/all.py.
"""

# The node that leads the swarm. One is enough for a shelf; three survive the loss of one.
managers = [
    ("pi1", {"address": "192.168.1.11", "ssh_hostname": "192.168.1.11", "ssh_user": "pi"}),
]

# The nodes that do the work.
workers = [
    ("pi2", {"address": "192.168.1.12", "ssh_hostname": "192.168.1.12", "ssh_user": "pi"}),
    ("pi3", {"address": "192.168.1.13", "ssh_hostname": "192.168.1.13", "ssh_user": "pi"}),
]
