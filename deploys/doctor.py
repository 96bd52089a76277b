"""Say what is wrong with the hosts, and change nothing: `pyinfra inventory.py deploys/doctor.py`.

Ends with 0 where all is fine, 1 with warnings, 2 with failures; `--data format=json` is for machines.
"""

from pyinfra import host, inventory, state

from deploys import diagnosis

# pyinfra runs this file once for each host that answers; one of these runs looks at them all.
if host.name == min(one.name for one in inventory.get_active_hosts()):
    diagnosis.run(state)
