"""What an inventory may say, on values."""

from __future__ import annotations

import pytest
from pyinfra.api.exceptions import DeployError

from deploys.settings import ClusterSettings, misnamed, parse

OTHERS = {"cluster_name": "x", "registry_node": "x", "prometheus_node": "x", "overlay_pool": "10.0.0.0/16"}


@pytest.mark.parametrize("path", ["/srv/registry", "/mnt/ssd-1/a.b/registry_2"])
def test_the_registrys_data_may_lie_in_a_folder(path: str) -> None:
    assert parse(ClusterSettings, {**OTHERS, "registry_data": path}, "x").registry_data == path
    assert parse(ClusterSettings, OTHERS, "x").registry_data is None


@pytest.mark.parametrize(
    "wrong", ["", "/", "mnt/ssd", "/mnt/../etc", "/mnt//ssd", "/mnt/ssd/", "/a b", "/a:b", 5, True]
)
def test_what_is_no_folders_path_is_refused(wrong: object) -> None:
    with pytest.raises(DeployError, match=r"registry_data = .* is not the path of a folder"):
        parse(ClusterSettings, {**OTHERS, "registry_data": wrong}, "x")


@pytest.mark.parametrize("pool", ["10.201.0.0/16", "10.0.0.0/8", "10.201.4.0/23"])
def test_a_pool_that_holds_the_stacks_networks_is_taken(pool: str) -> None:
    assert parse(ClusterSettings, {**OTHERS, "overlay_pool": pool}, "x").overlay_pool == pool


@pytest.mark.parametrize("pool", ["10.201.0.0/24", "10.201.0.0/28", "10.201.0.7"])
def test_a_pool_in_which_the_stack_would_find_no_network_is_refused(pool: str) -> None:
    with pytest.raises(DeployError, match=r"overlay_pool = .* is too small: .* take a /24 of it"):
        parse(ClusterSettings, {**OTHERS, "overlay_pool": pool}, "x")


@pytest.mark.parametrize("name", ["pi1", "Pi-1", "4", "pi1.example.org", "a" * 63])
def test_a_hosts_name_may_be_any_hostname(name: str) -> None:
    assert misnamed(name) == ""


@pytest.mark.parametrize(
    "name", ["", "pi_1", "pi 1", "küche", "-pi", "pi-", "pi1.", ".pi", "a..b", "pi1\n", "@local", "a/b", "a" * 64]
)
def test_a_host_whose_name_would_not_become_its_hostname_is_refused_by_name(name: str) -> None:
    assert repr(name) in misnamed(name)
