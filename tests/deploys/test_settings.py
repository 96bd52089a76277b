"""What an inventory may say, on values."""

from __future__ import annotations

import pytest
from pyinfra.api.exceptions import DeployError

from deploys.settings import ClusterSettings, parse

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
