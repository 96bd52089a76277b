"""Blank hosts become a swarm: `pyinfra inventory.py deploys/swarm.py`.

Every host walks every line, and each line waits for all hosts; what does not apply does nothing.
"""

from deploys import cluster, docker, firewall, host, membership, metrics, tls

this = cluster.read()
issuer = cluster.issuer(this)

membership.checked(cluster=this)
firewall.check(cluster=this)
host.prepare(cluster=this)
tls.certify(cluster=this, issuer=issuer)
docker.install(cluster=this)
tls.trust_registry(cluster=this, issuer=issuer)
firewall.close(cluster=this)
membership.form(cluster=this)
metrics.write(cluster=this)
