"""Blank hosts become a swarm: `pyinfra inventory.py deploys/swarm.py`.

Every host walks every line, and each line waits for all hosts; what does not apply does nothing.
"""

from deploys import cluster, docker, firewall, host, membership, tls

this = cluster.read()

membership.checked(cluster=this)
firewall.check(cluster=this)
host.prepare()
tls.certify(cluster=this)
docker.install()
tls.trust_registry(cluster=this)
firewall.close(cluster=this)
membership.form(cluster=this)
