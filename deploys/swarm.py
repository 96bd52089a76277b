"""Blank hosts become a swarm: `pyinfra inventory.py deploys/swarm.py`.

Every host walks every line, and each line waits for all hosts; what does not apply does nothing.
"""

from deploys import cluster, docker, host, membership, tls

this = cluster.read()
issuer = cluster.issuer(this)

membership.checked(cluster=this)
host.prepare()
tls.certify(cluster=this, issuer=issuer)
docker.install(cluster=this)
tls.trust_registry(cluster=this, issuer=issuer)
membership.form(cluster=this)
