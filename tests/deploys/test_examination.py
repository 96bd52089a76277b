"""What the doctor reads on this computer, of real files."""

from __future__ import annotations

from pathlib import Path

import pytest
from pyinfra.api.exceptions import DeployError

from deploys import examination
from deploys.cluster import Description
from deploys.examination import Own
from deploys.settings import ClusterSettings, HostSettings, parse
from pki.authority import Authority
from pki.people import client_files

SETTINGS = {"cluster_name": "shelf", "registry_node": "pi1", "prometheus_node": "pi1", "overlay_pool": "10.0.0.0/16"}
SHELF = Description(
    parse(ClusterSettings, SETTINGS, "x"), {"pi1": parse(HostSettings, {"address": "192.168.1.11"}, "x")}, ["pi1"]
)


@pytest.fixture
def folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """The cluster's, with a CA and the owner's certificate."""
    monkeypatch.setattr(examination, "ROOT", tmp_path)
    path = tmp_path / ".cluster" / "shelf"
    path.mkdir(parents=True)
    client_files(Authority.load_or_create(path, "shelf"), path, "me")
    return path


def test_the_clusters_own_ca_is_what_the_hosts_are_compared_with(folder: Path) -> None:
    assert Own.read(SHELF).ca == (folder / "ca.pem").read_text()
    (folder / "cert.pem").unlink()
    assert Own.read(SHELF).ca == ""


def test_a_damaged_ca_is_this_computers_trouble_and_no_hosts(folder: Path) -> None:
    (folder / "ca.pem").write_text("junk")
    with pytest.raises(DeployError, match=r"shelf/ca\.pem cannot be read .*from a backup"):
        Own.read(SHELF)
