"""Replace every key and certificate of the cluster: `pyinfra inventory.py deploys/rotate_certificates.py`.

One node after the other restarts its engine, without its work. What is younger than an hour stays, so that a run
which was stopped goes on where it was, and a second one changes nothing.
"""

from datetime import UTC, datetime, timedelta

from deploys import cluster, docker, membership, tls

this = cluster.read()
issuer = cluster.issuer(this, older_than=datetime.now(UTC) - timedelta(hours=1))

membership.checked(cluster=this)
tls.certify(cluster=this, issuer=issuer)
docker.run(cluster=this)
membership.readmit(cluster=this, issuer=issuer)
