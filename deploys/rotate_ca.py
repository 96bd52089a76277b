"""Move the cluster to a new CA: `pyinfra inventory.py deploys/rotate_ca.py`.

Services go on running: one node after the other restarts its engine, without its work. Both CAs are trusted until
every node has changed; a run that was stopped is continued by the next. For an hour after the last step a further
run changes nothing. To bring a CA along, put it into the cluster's folder as next-ca.pem and next-ca-key.pem.
"""

from deploys import authority, cluster, docker, membership, tls

this = cluster.read(certifies=False)
issuer = cluster.issuer(this, replacing=True)

if authority.is_due(this):
    membership.checked(cluster=this)
    authority.begin(cluster=this, issuer=issuer)
    tls.trust_registry(cluster=this, issuer=issuer)
    tls.certify(cluster=this, issuer=issuer)
    docker.run(cluster=this)
    authority.change_clients(cluster=this, issuer=issuer)
    authority.retire(cluster=this, issuer=issuer)
    tls.certify(cluster=this, issuer=issuer)
    docker.run(cluster=this)
    tls.trust_registry(cluster=this, issuer=issuer)
    authority.finish(cluster=this, issuer=issuer)
else:
    authority.say_that_it_rests(this.folder)
