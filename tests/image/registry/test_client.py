"""The registry's answers, from a small server over real TLS."""

from __future__ import annotations

import base64
import hashlib
import json
import ssl
import threading
import time
from collections.abc import Iterator
from dataclasses import replace
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path

import pytest
from cryptography import x509
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import ec

from image.builder import bake, published
from image.builder.pack import Sizes
from image.builder.published import ANNOTATION, Published
from image.cluster import Cluster, Endpoint, Node
from image.errors import UserError
from image.plan import Description, Image, Starts
from image.platform import Platform
from image.registry import client as registry_module
from image.registry import upload
from image.registry.client import Index, Login, NoAnswerError, Registry
from image.registry.manifest import INDEX, digest_of
from pki.authority import Authority, Identities, pem

ARM64, ARMV7, AMD64 = map(Platform.parse, ("linux/arm64", "linux/arm/v7", "linux/amd64"))
LOGIN = Login("shelf", "secret")


class Server(ThreadingHTTPServer):
    """Serves `pages`, path -> body, to those who log in; of some it promises a digest."""

    pages: dict[str, bytes]
    promised: dict[str, str]
    daemon_threads = True

    def handle_error(self, request: object, client_address: object) -> None:
        """A client that goes away because of our certificate is what a test wanted."""


class Handler(BaseHTTPRequestHandler):
    server: Server

    def do_GET(self) -> None:
        login = base64.b64encode(f"{LOGIN.user}:{LOGIN.password}".encode()).decode()
        body = self.server.pages.get(self.path)
        if self.headers["Authorization"] != f"Basic {login}":
            status, body = 401, b'{"errors": [{"message": "authentication required"}]}'
        else:
            status, body = (404, b"{}") if body is None else (200, body)
        if body == b"broken":
            status, body = 500, b'{"errors": [{"message": "the card is full"}]}'
        self.send_response(status)
        self.send_header("Content-Length", str(len(body)))
        if self.path in self.server.promised:
            self.send_header("Docker-Content-Digest", self.server.promised[self.path])
        if status == 200 and self.headers["Accept"] != "*/*":
            assert "application/vnd.oci.image.index.v1+json" in self.headers["Accept"]
        self.end_headers()
        self.wfile.write(body)

    def do_PUT(self) -> None:
        """As a slow card: all is there long before it is written."""
        self.rfile.read(int(self.headers["Content-Length"]))
        time.sleep(0.5)
        self.send_response(201)
        self.send_header("Content-Length", "0")
        self.end_headers()

    def log_message(self, *_: object) -> None:
        """Say nothing."""


def server_context(folder: Path, authority: Authority, address: str = "127.0.0.1") -> ssl.SSLContext:
    key = ec.generate_private_key(ec.SECP256R1())
    csr = x509.CertificateSigningRequestBuilder().subject_name(x509.Name([])).sign(key, hashes.SHA256())
    certificate = authority.sign_server(csr, Identities(names=("test",), addresses=(address,)))
    private = key.private_bytes(
        serialization.Encoding.PEM, serialization.PrivateFormat.PKCS8, serialization.NoEncryption()
    )
    (folder / "server.pem").write_bytes(pem(certificate) + private)
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    context.load_cert_chain(folder / "server.pem")
    return context


def serve(context: ssl.SSLContext) -> Server:
    server = Server(("127.0.0.1", 0), Handler)
    server.pages, server.promised = {"/v2/": b"{}"}, {}
    server.socket = context.wrap_socket(server.socket, server_side=True)
    threading.Thread(target=server.serve_forever, kwargs={"poll_interval": 0.02}, daemon=True).start()
    return server


@pytest.fixture
def server(tmp_path: Path) -> Iterator[Server]:
    authority = Authority.create("test")
    (tmp_path / "ca.pem").write_bytes(authority.pem)
    with serve(server_context(tmp_path, authority)) as running:
        yield running
        running.shutdown()


@pytest.fixture
def registry(server: Server, tmp_path: Path) -> Registry:
    return Registry(f"127.0.0.1:{server.server_port}", LOGIN, tmp_path / "ca.pem")


@pytest.fixture
def cluster(registry: Registry, tmp_path: Path) -> Cluster:
    login = base64.b64encode(f"{LOGIN.user}:{LOGIN.password}".encode()).decode()
    (tmp_path / "config.json").write_text(json.dumps({"auths": {registry.address: {"auth": login}}}))
    node = Node("n1", "pi1", "127.0.0.1", "manager", True, ARM64, {"registry": registry.address})
    return Cluster("shelf", Endpoint("tcp://127.0.0.1:2376", tmp_path), (node,), tmp_path)


def image(name: str = "hello") -> Image:
    about = Description(name, name, "", "", "", Starts((), ""))
    return Image(Path(__file__).parent, about, "1.2.3")


def index(*platforms: Platform, annotations: dict[str, str] | None = None) -> bytes:
    entries = [{"digest": f"sha256:{number}", "platform": oci(platform)} for number, platform in enumerate(platforms)]
    return json.dumps({"schemaVersion": 2, "manifests": entries, "annotations": annotations or {}}).encode()


def oci(platform: Platform) -> dict[str, str]:
    variant = {"variant": platform.variant} if platform.variant else {}
    return {"os": platform.os, "architecture": platform.architecture, **variant}


def publish(server: Server, what: Image, body: bytes) -> None:
    server.pages[f"/v2/{what.name}/manifests/{what.tag}"] = body


def test_an_index_is_known_by_its_digest_and_platforms(server: Server, registry: Registry) -> None:
    body = index(ARM64, ARMV7)
    publish(server, image(), body)
    found = registry.index("hello", image().tag)
    assert found is not None
    assert found.digest == f"sha256:{hashlib.sha256(body).hexdigest()}"
    assert found.platforms == {ARM64, ARMV7}


@pytest.mark.parametrize("body", [index(AMD64), index(ARM64)[:-9], b""])
def test_an_index_that_is_not_what_was_pushed_is_damaged_and_a_command_says_the_way_out(
    server: Server, registry: Registry, body: bytes
) -> None:
    """Not build-all, which asks for the same index first."""
    publish(server, image(), body)
    server.promised[f"/v2/hello/manifests/{image().tag}"] = digest_of(index(ARM64))
    with pytest.raises(UserError, match=r"is damaged: it should be sha256:.*\n  Try: .*--context NAME verify"):
        registry.index("hello", image().tag)


def test_what_the_registry_has_not_is_none(registry: Registry) -> None:
    assert registry.index("hello", "v1") is None


def test_an_index_gives_each_platforms_digest_and_leaves_out_what_we_do_not_build() -> None:
    index = {
        "manifests": [
            {"digest": "sha256:6", "platform": {"os": "linux", "architecture": "arm", "variant": "v6"}},
            {"digest": "sha256:8", "platform": {"os": "linux", "architecture": "arm64", "variant": "v8"}},
            {"digest": "sha256:w", "platform": {"os": "windows", "architecture": "amd64"}},
            {"digest": "sha256:u", "platform": {"os": "unknown", "architecture": "unknown"}},
        ]
    }
    found = Index.parse(json.dumps(index).encode(), "x")
    assert found.manifests == {
        Platform.parse("linux/arm/v6"): "sha256:6",
        ARM64: "sha256:8",
    }


def test_arm64_with_its_variant_is_arm64_and_what_we_do_not_build_is_left_out() -> None:
    v8 = {"platform": {"os": "linux", "architecture": "arm64", "variant": "v8"}}
    others = [{"platform": {"os": "unknown", "architecture": "unknown"}}, {}]
    assert Index.parse(json.dumps({"manifests": [v8, *others]}).encode(), "x").platforms == {ARM64}


@pytest.mark.parametrize("body", [b"", b"[]", b"{}", b"\xff", b'{"manifests": [1]}', b'{"manifests": null}'])
def test_what_is_no_index_is_told_with_its_name(body: bytes) -> None:
    with pytest.raises(UserError, match="pi:5000/hello:v1 is not a multi-platform index"):
        Index.parse(body, "pi:5000/hello:v1")


def test_a_wrong_password_is_one_line_with_the_way_out(registry: Registry) -> None:
    with pytest.raises(UserError, match=r"refuses the password of 'shelf'\n  Try: ") as seen:
        replace(registry, login=Login("shelf", "wrong")).check()
    assert "wrong" not in seen.value.message


def test_a_registry_of_another_ca_is_not_trusted(registry: Registry, tmp_path: Path) -> None:
    (tmp_path / "other.pem").write_bytes(Authority.create("other").pem)
    with pytest.raises(UserError, match=r"certificate of the registry .* is not trusted: certificate verify failed"):
        replace(registry, ca=tmp_path / "other.pem").check()


def test_a_certificate_for_another_address_is_not_trusted(tmp_path: Path) -> None:
    authority = Authority.create("test")
    (tmp_path / "ca.pem").write_bytes(authority.pem)
    with serve(server_context(tmp_path, authority, address="198.18.0.99")) as server:
        with pytest.raises(UserError, match="is not trusted"):
            Registry(f"127.0.0.1:{server.server_port}", LOGIN, tmp_path / "ca.pem").check()
        server.shutdown()


def test_the_environment_does_not_choose_the_ca(
    registry: Registry, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (tmp_path / "other.pem").write_bytes(Authority.create("other").pem)
    monkeypatch.setenv("REQUESTS_CA_BUNDLE", str(tmp_path / "other.pem"))
    monkeypatch.setenv("HTTPS_PROXY", "http://127.0.0.1:9")
    registry.check()


def test_a_registry_that_does_not_run_is_told_as_such(registry: Registry) -> None:
    with pytest.raises(NoAnswerError, match=r"does not answer: .*Connection refused"):
        replace(registry, address="127.0.0.1:9").check()


def test_a_registry_gets_the_time_that_its_card_takes_to_write(
    registry: Registry, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(registry_module, "_TIMEOUT", 0.1)
    upload.manifest(registry, "hello", "v1", b"{}", INDEX)


def test_another_answer_is_told_with_its_words(server: Server, registry: Registry) -> None:
    server.pages["/v2/hello/manifests/v1"] = b"broken"
    with pytest.raises(UserError, match="hello:v1: answers 500 the card is full"):
        registry.index("hello", "v1")


def test_a_login_is_read_from_dockers_own_file(cluster: Cluster) -> None:
    assert Login.read(cluster.credentials, cluster.registry) == LOGIN
    assert LOGIN.password not in repr(LOGIN)


@pytest.mark.parametrize(
    ("content", "words"),
    [
        (None, "cannot read"),
        ("{}", "has no login for pi:5000"),
        ('{"auths": {}}', "has no login for pi:5000"),
        ('{"auths": {"pi:5000": {}}}', "has no login for pi:5000"),
        ("{", "cannot be read"),
        ('{"auths": {"pi:5000": {"auth": "="}}}', "cannot be read"),
        ('{"auths": {"pi:5000": {"auth": "eA=="}}}', "is not user:password"),
    ],
)
def test_a_login_that_cannot_be_read_is_told_with_the_way_to_one(
    tmp_path: Path, content: str | None, words: str
) -> None:
    if content is not None:
        (tmp_path / "config.json").write_text(content)
    with pytest.raises(UserError) as seen:
        Login.read(tmp_path, "pi:5000")
    assert words in seen.value.message
    assert "Try: docker --config" in seen.value.message


def test_images_are_resolved_to_digests(server: Server, cluster: Cluster) -> None:
    body = index(ARM64, AMD64)
    publish(server, image(), body)
    (found,) = published.resolve(cluster, [image()])
    assert found.reference == f"{cluster.registry}/hello@sha256:{hashlib.sha256(body).hexdigest()}"


def test_an_image_that_was_not_built_is_told_with_the_command_that_builds_it(cluster: Cluster) -> None:
    with pytest.raises(
        UserError, match=r"image hello \(v1.2.3-.*\) is not in the registry[\s\S]*--context shelf build-all"
    ):
        published.resolve(cluster, [image()])


def test_an_image_without_a_nodes_platform_is_told_with_it(server: Server, cluster: Cluster) -> None:
    publish(server, image(), index(AMD64))
    with pytest.raises(UserError, match="has no linux/arm64, which a node runs"):
        published.resolve(cluster, [image()])


def test_sizes_travel_with_the_index(registry: Registry) -> None:
    sizes = {ARM64: Sizes(100, 30), ARMV7: Sizes(90, None, "stays unpacked: it crashed")}
    manifests = dict.fromkeys(sizes, "sha256:1")
    found = Index("sha256:0", manifests, {ANNOTATION: bake.annotation(True, sizes)})
    reference = f"{registry.address}/hello@sha256:0"
    expected = Published("hello", reference, image().tag, frozenset(sizes), True, sizes, manifests)
    assert published.describe(registry, image(), found) == expected


@pytest.mark.parametrize("text", ["", "[]", '{"sizes": {"linux": {}}}', '{"sizes": {"linux/arm64": {"x": 1}}}'])
def test_an_index_with_a_strange_annotation_is_still_one(registry: Registry, text: str) -> None:
    found = published.describe(registry, image(), Index("sha256:0", {ARM64: "sha256:1"}, {ANNOTATION: text}))
    assert found.sizes == {}
