"""What this computer sees of engines and registries, on real sockets with real TLS on loopback."""

from __future__ import annotations

import base64
import contextlib
import json
import ssl
import threading
from collections.abc import Iterator, Mapping
from http.server import BaseHTTPRequestHandler, HTTPServer
from pathlib import Path

import pytest
from cryptography import x509
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import ec

from doctor.dial import Door, knock, silence
from doctor.registry import Image, Registry, Stock
from pki.authority import Authority, Identities
from pki.credentials import Login

# All of 127.0.0.0/8 is this machine, so each test has the engine's ports for itself.
ADDRESS = "127.23.76.1"
LOGIN = Login("cluster", "secret")


class Engine(BaseHTTPRequestHandler):
    """Answers as an engine does that lets one in."""

    def do_GET(self) -> None:
        self.send_response(200)
        self.end_headers()
        self.wfile.write(b"{}")

    def log_message(self, format: str, *args: object) -> None:  # noqa: A002 - the base class's name
        pass


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A CA, a client's certificate in Docker's names, and a server's for the loopback's address."""
    path = tmp_path_factory.mktemp("certificates")
    authority = Authority.create("shelf")
    client, client_key = authority.issue_client("me")
    server_key = ec.generate_private_key(ec.SECP256R1())
    csr = x509.CertificateSigningRequestBuilder().subject_name(x509.Name([])).sign(server_key, hashes.SHA256())
    server = authority.sign_server(csr, Identities(("pi1",), (ADDRESS,)))
    (path / "ca.pem").write_bytes(authority.pem)
    for name, certificate, key in (("", client, client_key), ("server-", server, server_key)):
        (path / f"{name}cert.pem").write_bytes(certificate.public_bytes(serialization.Encoding.PEM))
        (path / f"{name}key.pem").write_bytes(
            key.private_bytes(
                serialization.Encoding.PEM, serialization.PrivateFormat.PKCS8, serialization.NoEncryption()
            )
        )
    return path


@contextlib.contextmanager
def serving(
    port: int, handler: type[BaseHTTPRequestHandler], folder: Path | None, verify: bool = False
) -> Iterator[int]:
    """A server on `ADDRESS`; over TLS with the certificates of `folder`, asking for a client's if `verify`."""
    server = HTTPServer((ADDRESS, port), handler, bind_and_activate=False)
    server.allow_reuse_address = True
    server.server_bind()
    server.server_activate()
    server.handle_error = lambda *_: None  # type: ignore[method-assign] # a stranger who is refused is no error
    if folder:
        context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
        context.load_cert_chain(folder / "server-cert.pem", folder / "server-key.pem")
        context.load_verify_locations(folder / "ca.pem")
        context.verify_mode = ssl.CERT_REQUIRED if verify else ssl.CERT_NONE
        server.socket = context.wrap_socket(server.socket, server_side=True, do_handshake_on_connect=False)
    thread = threading.Thread(target=server.serve_forever, kwargs={"poll_interval": 0.05})
    thread.start()
    try:
        yield server.server_address[1]
    finally:
        server.shutdown()
        thread.join()
        server.server_close()


def test_an_engine_that_wants_certificates_refuses_a_stranger_and_takes_ours(folder: Path) -> None:
    with serving(2376, Engine, folder, verify=True):
        assert knock(ADDRESS, folder) == Door("refused", "closed", "")


def test_an_engine_with_tls_alone_is_open_to_strangers(folder: Path) -> None:
    with serving(2376, Engine, folder):
        assert knock(ADDRESS, None).stranger == "served"


def test_an_engine_without_tls_is_open_to_strangers() -> None:
    with serving(2376, Engine, None):
        assert knock(ADDRESS, None) == Door("served", "closed", None)


def test_a_plain_api_is_found_beside_a_closed_one() -> None:
    with serving(2375, Engine, None):
        assert knock(ADDRESS, None) == Door("closed", "served", None)


def test_an_engine_of_another_ca_is_told_by_its_certificate(folder: Path, tmp_path: Path) -> None:
    other = Authority.create("stranger")
    (tmp_path / "ca.pem").write_bytes(other.pem)
    for name in ("cert.pem", "key.pem"):
        (tmp_path / name).write_bytes((folder / name).read_bytes())
    with serving(2376, Engine, folder, verify=True):
        assert "its certificate: " in (knock(ADDRESS, tmp_path).owner or "")


def test_a_port_without_a_listener_is_told_in_a_word() -> None:
    assert "refused" in silence(ADDRESS, 2376).lower()
    with serving(0, Engine, None) as port:
        assert silence(ADDRESS, port) == ""


def registry(answers: Mapping[str, object]) -> type[BaseHTTPRequestHandler]:
    """Answers as a registry does that has these documents, to who knows the login."""
    expected = "Basic " + base64.b64encode(f"{LOGIN.user}:{LOGIN.password}".encode()).decode()

    class Handler(Engine):
        def do_GET(self) -> None:
            known = self.headers["Authorization"] == expected
            self.send_response(401 if not known else 200 if self.path in answers else 404)
            self.send_header("Docker-Content-Digest", f"sha256:{self.path.rsplit('/', 1)[1]}")
            self.end_headers()
            if known:
                self.wfile.write(json.dumps(answers.get(self.path)).encode())

    return Handler


def image(*sizes: int) -> object:
    return {"layers": [{"size": size} for size in sizes]}


CONTENT = {
    "/v2/_catalog": {"repositories": ["busybox", "empty", "half-pushed", "prometheus"]},
    "/v2/busybox/tags/list": {"tags": [f"sha256-{'0' * 64}", "one"]},  # the first is of a document beside the image
    "/v2/busybox/manifests/one": {"manifests": [{"digest": "sha256:arm"}]},
    "/v2/busybox/manifests/sha256:arm": image(100, 20),
    "/v2/empty/tags/list": {"tags": None},
    "/v2/prometheus/tags/list": {"tags": ["two", "one"]},
    "/v2/prometheus/manifests/two": image(900),
}


def stock(folder: Path, answers: Mapping[str, object], login: Login = LOGIN) -> tuple[Stock, int]:
    with serving(0, registry(answers), folder) as port:
        return Registry(f"{ADDRESS}:{port}", login, folder / "ca.pem").stock(), port


def test_the_smallest_image_is_chosen_by_its_digest(folder: Path) -> None:
    found, port = stock(folder, CONTENT)
    assert found == Stock(Image(f"{ADDRESS}:{port}/busybox@sha256:one", 120))


def test_an_empty_registry_has_nothing_to_pull_and_no_trouble(folder: Path) -> None:
    assert stock(folder, {"/v2/_catalog": {"repositories": []}})[0] == Stock(None)


def test_a_registry_that_refuses_the_login_says_so(folder: Path) -> None:
    assert "401" in stock(folder, CONTENT, Login("cluster", "wrong"))[0].trouble


def test_a_repository_that_only_got_half_a_push_is_no_trouble(folder: Path) -> None:
    assert stock(folder, {"/v2/_catalog": {"repositories": ["half-pushed"]}})[0] == Stock(None)


@pytest.mark.parametrize("answer", [[], {}, {"repositories": 5}, "words", None])
def test_what_is_no_registry_is_told_and_does_not_crash(folder: Path, answer: object) -> None:
    assert stock(folder, {"/v2/_catalog": answer})[0].trouble


def test_a_registry_of_another_ca_is_not_trusted(folder: Path, tmp_path: Path) -> None:
    (tmp_path / "ca.pem").write_bytes(Authority.create("stranger").pem)
    with serving(0, registry(CONTENT), folder) as port:
        found = Registry(f"{ADDRESS}:{port}", LOGIN, tmp_path / "ca.pem").stock()
    assert "not trusted" in found.trouble


def test_a_registry_that_is_not_there_is_told_in_few_words(folder: Path) -> None:
    assert Registry(f"{ADDRESS}:1", LOGIN, folder / "ca.pem").stock() == Stock(None, "[Errno 111] Connection refused")
