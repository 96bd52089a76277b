"""Your Pis. Write each one's name and fixed address; then `pyinfra inventory.py deploys/swarm.py`.

The address must stay: reserve it in your router, or let the deploy fix it (`static` below). The name becomes the
Pi's hostname: letters, digits and `-`. What holds for the whole cluster is in group_data/all.py.

A host may also say
    "static": True, "ssh_hostname": "192.168.1.87"   make `address` its own; it is at ssh_hostname now, which may go
                                                     or stay once it has moved
    "availability": "drain"                          give it no work
    "labels": {"disk": "ssd"}                        for the placement of services
    "data_path_address": "10.0.0.14"                 where the overlay networks' traffic enters it
"""

# The nodes that lead the swarm. One is enough for a shelf; three survive the loss of one.
managers = [
    ("pi1", {"address": "192.168.1.11", "ssh_user": "pi"}),
]

# The nodes that do the work.
workers = [
    ("pi2", {"address": "192.168.1.12", "ssh_user": "pi"}),
    ("pi3", {"address": "192.168.1.13", "ssh_user": "pi"}),
]
