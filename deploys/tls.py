"""Certificates: the engine's own, and the trust in the registry's."""

from __future__ import annotations

from pyinfra import host
from pyinfra.api import deploy

from deploys.cluster import Cluster
from operations import registry, tls
from operations.tls import Issuer
from pki.authority import Identities


@deploy("TLS")
def certify(cluster: Cluster, issuer: Issuer) -> None:
    """A key made on the node, a certificate for the node's names and addresses from the cluster's CA."""
    identities = Identities(
        names=(host.name, f"{host.name}.local", "localhost"),
        addresses=(cluster.hosts[host.name].address, "127.0.0.1"),
    )
    tls.key_made(name="Make the engine's key", issuer=issuer)
    tls.certified(name="Certify the engine", issuer=issuer, identities=identities)


@deploy("Registry")
def trust_registry(cluster: Cluster, issuer: Issuer) -> None:
    """Every engine trusts the registry's certificate; the registry's node knows its login."""
    tls.registry_trusted(name="Trust the registry", registry=cluster.registry, issuer=issuer)
    registry.login_known(
        name="Let the cluster log in to its registry",
        login=cluster.login if host.name == cluster.settings.registry_node else None,
    )
