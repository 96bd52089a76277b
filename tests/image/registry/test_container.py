"""Where the registry's images are, as engines tell it; a server here plays one."""

from __future__ import annotations

import json
import threading
from collections.abc import Iterator
from http.server import BaseHTTPRequestHandler, HTTPServer
from pathlib import Path

import pytest

from image import plan
from image.cluster import REGISTRY_DATA_LABEL, REGISTRY_LABEL, Cluster, Endpoint, Node
from image.errors import UserError
from image.platform import Platform
from image.registry import container
from image.upkeep.moving import Moved

AMD64 = Platform.parse("linux/amd64")
(REGISTRY,) = plan.read(["registry"])


def node(number: int, **labels: str) -> Node:
    return Node(f"n{number}", f"pi{number}", f"127.0.0.{number}", "manager", True, AMD64, labels)


def labelled(data: str = "") -> Node:
    return node(1, **{REGISTRY_LABEL: "127.0.0.1:5000", **({REGISTRY_DATA_LABEL: data} if data else {})})


@pytest.fixture
def has() -> Iterator[tuple[str, dict[str, object]]]:
    """An engine's address, and what it has by path."""
    pages: dict[str, object] = {}

    class Handler(BaseHTTPRequestHandler):
        def do_GET(self) -> None:
            self.send_response(200 if self.path in pages else 404)
            self.end_headers()
            self.wfile.write(json.dumps(pages.get(self.path, {"message": "no such thing"})).encode())

        def log_message(self, *_: object) -> None:
            pass

    with HTTPServer(("127.0.0.1", 0), Handler) as server:
        thread = threading.Thread(target=server.serve_forever, kwargs={"poll_interval": 0.02})
        thread.start()
        yield f"tcp://127.0.0.1:{server.server_address[1]}", pages
        server.shutdown()
        thread.join()


def test_no_empty_registry_is_begun_where_the_images_are_in_a_volume_that_no_container_has(
    has: tuple[str, dict[str, object]], tmp_path: Path
) -> None:
    engine, pages = has
    pages["/volumes/pishelf-registry"] = {"Name": "pishelf-registry"}
    in_folder = Cluster("attic", Endpoint(engine), (labelled("/mnt/ssd/registry"),), tmp_path)
    with pytest.raises(UserError, match=r"/mnt/ssd/registry, but its images are in pishelf-registry\n.*move-registry"):
        container.runs(in_folder, REGISTRY)
    in_volume = Cluster("attic", Endpoint(engine), (labelled(),), tmp_path)
    assert not container.runs(in_volume, REGISTRY)
    pages.clear()
    assert not container.runs(in_folder, REGISTRY), "nothing was there before"


def test_a_node_that_does_not_answer_is_no_node_without_a_registry(tmp_path: Path) -> None:
    away = node(2)
    cluster = Cluster("attic", Endpoint("tcp://127.0.0.1:2376", tmp_path), (labelled(), away), tmp_path)
    found = container.elsewhere(cluster)
    assert (found.nodes, found.silent) == ((), (away,))
    with pytest.raises(UserError, match=r"pi2 \(127.0.0.2\) could not be asked"):
        Moved(("nothing was moved",), found.silent).check(cluster)
    Moved(("moved",), ()).check(cluster)
