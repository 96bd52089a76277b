"""What goes with a host that leaves, on values."""

from __future__ import annotations

from facts.tls import TlsState
from operations.leave import ours
from pki.authority import Authority

CA, NEXT, ANOTHER = (Authority.create(name).pem.decode() for name in ("shelf", "next", "another"))


def holding(ca: str) -> TlsState:
    """A host that trusts `ca` and several registries."""
    trusted = {"10.0.0.1:5000": CA, "10.0.0.2:5000": f"{CA}{NEXT}", "registry.example.org": ANOTHER, "damaged": "x"}
    return TlsState(ca, "", "", "", "", trusted, "")


def test_a_host_that_leaves_forgets_the_clusters_registries_and_not_a_persons() -> None:
    assert ours(holding(CA)) == ["10.0.0.1:5000", "10.0.0.2:5000"]


def test_it_does_so_also_while_the_ca_changes() -> None:
    assert ours(holding(f"{CA}{NEXT}")) == ["10.0.0.1:5000", "10.0.0.2:5000"]


def test_without_a_ca_nothing_is_taken_for_the_clusters() -> None:
    assert ours(holding("")) == []
