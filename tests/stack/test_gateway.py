"""The gateway's program with the stack's own configuration, on this machine: who gets in, and by which certificates.

Nothing is behind it here, so who gets in is told that the service is away.
"""

from __future__ import annotations

import json
import signal
import socket
import ssl
import subprocess
import urllib.error
from collections.abc import Iterator, Mapping
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from dataclasses import dataclass, replace
from pathlib import Path

import bcrypt
import pytest
from cryptography import x509

from image import plan, settings, table
from image.builder import recipe
from image.run import run
from image.settings import Services
from image.stack import template
from pki.authority import Authority, pem
from pki.people import client_files
from tests.commands import Answer, ask, free_port, no_proxy, until
from tests.image.programs import OWN, plain
from tests.pki.openssl import NODE, openssl

PHRASE = "correct horse: battery"
USERS = {name: bcrypt.hashpw(PHRASE.encode(), bcrypt.gensalt(4)).decode() for name in ("ann", "import")}
IN, OUT = 502, 401
CONFIG = template.FOLDER / "configs" / "gateway.Caddyfile.j2"
NONE = Services(whiskers=False, grafana=False, portainer=False)


@dataclass(frozen=True)
class Gateway:
    """A gateway that runs, and the folder with what it and its clients have."""

    program: Path
    folder: Path
    port: int
    metrics: int
    pid: int

    @property
    def tls(self) -> Path:
        return self.folder / "tls"

    @property
    def log(self) -> str:
        return (self.folder / "log").read_text()

    def ask(self, path: str = "/", **more: object) -> Answer:
        return ask("127.0.0.1", path, ca=self.tls / "ca.pem", port=self.port, **more)  # type: ignore[arg-type]

    def enters(self, certificate: Path) -> bool:
        """Whether a client certificate opens the gateway; if not, TLS has to refuse it."""
        try:
            return self.ask(certificate=certificate).status == IN
        except OSError:
            return False


def certify(folder: Path, authority: Authority) -> None:
    """The engine's certificate and key and the CA, each put in the former one's place by a rename."""
    folder.mkdir(exist_ok=True)
    openssl("ecparam", "-genkey", "-noout", "-name", "prime256v1", "-out", folder / "server-key.new")
    openssl("req", "-new", "-key", folder / "server-key.new", "-subj", "/CN=engine", "-out", folder / "server.csr")
    request = x509.load_pem_x509_csr((folder / "server.csr").read_bytes())
    (folder / "server-cert.new").write_bytes(pem(authority.sign_server(request, NODE)))
    (folder / "ca.new").write_bytes(authority.pem)
    for name in ("server-key", "server-cert", "ca"):
        (folder / f"{name}.new").replace(folder / f"{name}.pem")


def client_of(authority: Authority, folder: Path) -> Path:
    """A folder with a client certificate of a CA."""
    folder.mkdir()
    client_files(authority, folder, "owner")
    return folder


@pytest.fixture(scope="module")
def program() -> Path:
    (image,) = (one for one in plan.read() if one.name == "gateway")
    return plain(image, OWN)


@pytest.fixture
def authority() -> Authority:
    return Authority.create("attic")


@contextmanager
def running(
    program: Path, folder: Path, authority: Authority, users: Mapping[str, str], services: Services = NONE
) -> Iterator[Gateway]:
    """The gateway while the body runs, on ports of this machine that are free."""
    certify(folder / "tls", authority)
    chosen = replace(settings.read(), users=users, services=services)
    port, metrics = free_port(), free_port()
    text = template.render({"cluster": "attic", "settings": table.values(chosen)}, CONFIG)
    text = text.replace(":8443", f":{port}").replace(":9180", f":{metrics}")
    (folder / "Caddyfile").write_text(text)
    with (folder / "log").open("w") as log:
        one = subprocess.Popen(
            [program, "serve", folder / "Caddyfile"],
            env={"TLS_FOLDER": str(folder / "tls"), "HOME": str(folder / "home")},
            stderr=log,
        )
    try:
        gateway = Gateway(program, folder, port, metrics, one.pid)
        until(lambda: "serving" in gateway.log or one.poll() is not None)
        assert one.poll() is None, gateway.log
        yield gateway
        assert one.poll() is None, gateway.log
    finally:
        one.send_signal(signal.SIGTERM)
        one.wait(60)


@pytest.fixture
def gateway(program: Path, tmp_path: Path, authority: Authority) -> Iterator[Gateway]:
    with running(program, tmp_path, authority, USERS) as found:
        yield found


def test_its_own_tests_in_go_pass_and_go_finds_nothing_to_say_of_it() -> None:
    """With the compiler's words of the image, so that Caddy is compiled once."""
    (image,) = (one for one in plan.read() if one.name == "gateway")
    words = ("-mod=readonly", "-trimpath", "-tags=netgo", "./...")
    assert "ok" in run("go", "test", *words, cwd=image.folder, env=recipe.GO_ENVIRONMENT, both=True)
    assert run("go", "vet", *words, cwd=image.folder, env=recipe.GO_ENVIRONMENT, both=True) == ""
    assert run("gofmt", "-l", image.folder) == ""


def test_a_user_gets_in_by_the_right_password_alone(gateway: Gateway) -> None:
    assert gateway.ask().status == OUT
    assert gateway.ask(login="ann:wrong").status == OUT
    assert gateway.ask(login=f"ann:{PHRASE} ").status == OUT
    assert gateway.ask(login=f"ann:{PHRASE}").status == IN
    # The second time it is remembered, and the wrong one is not.
    assert gateway.ask(login=f"ann:{PHRASE}").status == IN
    assert gateway.ask(login="ann:wrong").status == OUT
    assert gateway.ask(login=f"import:{PHRASE}").status == IN


@pytest.mark.parametrize("path", ["/", "/prometheus/", "/alertmanager/api/v2/status", "/anything", "/prometheus"])
def test_no_path_is_open_to_all(gateway: Gateway, path: str) -> None:
    assert gateway.ask(path).status == OUT


def test_a_wrong_password_and_an_unknown_user_are_answered_alike(gateway: Gateway) -> None:
    known, unknown = (
        replace(answer, headers={**answer.headers, "date": ""})
        for answer in (gateway.ask(login="ann:wrong"), gateway.ask(login=f"bob:{PHRASE}"))
    )
    assert known == unknown
    assert known.headers["www-authenticate"] == 'Basic realm="attic", charset="UTF-8"'


def test_a_refused_login_is_logged_with_its_address_and_without_what_was_typed(gateway: Gateway) -> None:
    gateway.ask(login="ann:hunter2")
    gateway.ask(login="hunter3:")
    refused = [json.loads(line) for line in gateway.log.splitlines() if "login refused" in line]
    assert [(one["user"], one["from"]) for one in refused] == [("ann", "127.0.0.1"), ("(unknown)", "127.0.0.1")]
    assert "hunter" not in gateway.log


def test_guesses_are_compared_one_after_the_other_and_a_flood_of_them_is_sent_away(gateway: Gateway) -> None:
    with ThreadPoolExecutor(40) as pool:
        answers = list(pool.map(lambda number: gateway.ask(login=f"ann:guess{number}").status, range(40)))
    assert set(answers) == {OUT, 429}
    assert gateway.ask(login=f"ann:{PHRASE}").status == IN


def test_who_is_in_stays_in_while_others_guess(gateway: Gateway) -> None:
    assert gateway.ask(login=f"ann:{PHRASE}").status == IN
    with ThreadPoolExecutor(41) as pool:
        guesses = [pool.submit(gateway.ask, login=f"ann:guess{number}") for number in range(40)]
        assert [gateway.ask(login=f"ann:{PHRASE}").status for _ in range(3)] == [IN] * 3
        assert {guess.result().status for guess in guesses} <= {OUT, 429}


def test_without_users_no_password_opens_it_and_a_certificate_does(
    program: Path, tmp_path: Path, authority: Authority
) -> None:
    with running(program, tmp_path, authority, {}) as gateway:
        assert [gateway.ask(login=login).status for login in ("", ":", "ann:", f"ann:{PHRASE}")] == [OUT] * 4
        assert gateway.enters(client_of(authority, tmp_path / "owner"))


def test_a_client_certificate_of_the_clusters_ca_opens_it_and_no_other_does(
    gateway: Gateway, authority: Authority, tmp_path: Path
) -> None:
    assert gateway.enters(client_of(authority, tmp_path / "owner"))
    stranger = client_of(Authority.create("attic"), tmp_path / "stranger")
    with pytest.raises(OSError, match=r"alert|reset|EOF"):
        gateway.ask(certificate=stranger)
    with pytest.raises(OSError, match=r"alert|reset|EOF"):
        gateway.ask(certificate=stranger, login=f"ann:{PHRASE}")
    server = tmp_path / "server"
    server.mkdir()
    (server / "cert.pem").write_bytes((gateway.tls / "server-cert.pem").read_bytes())
    (server / "key.pem").write_bytes((gateway.tls / "server-key.pem").read_bytes())
    assert not gateway.enters(server), "a node's certificate is for serving only"


def test_renewed_certificates_and_another_ca_are_taken_without_a_restart(
    gateway: Gateway, authority: Authority, tmp_path: Path
) -> None:
    old, following = client_of(authority, tmp_path / "old"), Authority.create("attic")
    new = client_of(following, tmp_path / "new")
    certify(gateway.tls, authority)
    renewed = (gateway.tls / "server-cert.pem").read_text().strip()
    until(lambda: ssl.get_server_certificate(("127.0.0.1", gateway.port)).strip() == renewed)
    assert gateway.enters(old)
    both = replace(following, former=(authority.certificate,))
    certify(gateway.tls, both)
    until(lambda: gateway.enters(new))
    assert gateway.enters(old)
    certify(gateway.tls, following)
    until(lambda: not gateway.enters(old))
    assert gateway.enters(new)


def test_a_certificate_that_is_half_there_leaves_the_former_one(gateway: Gateway, authority: Authority) -> None:
    good, before = (gateway.tls / "server-cert.pem").read_bytes(), gateway.ask().status
    (gateway.tls / "server-cert.pem").write_bytes(good[:200])
    until(lambda: "do not go together" in gateway.log)
    assert gateway.ask().status == before
    certify(gateway.tls, authority)
    until(lambda: "with new certificates" in gateway.log)
    assert gateway.ask().status == before


@pytest.mark.filterwarnings("ignore:ssl.TLSVersion.TLSv1_1 is deprecated")
def test_old_tls_is_refused(gateway: Gateway) -> None:
    def speaks(version: ssl.TLSVersion) -> bool:
        context = ssl.create_default_context(cafile=gateway.tls / "ca.pem")
        context.set_ciphers("ALL:@SECLEVEL=0")
        context.minimum_version = context.maximum_version = version
        try:
            with socket.create_connection(("127.0.0.1", gateway.port), 10) as stream:
                context.wrap_socket(stream, server_hostname="127.0.0.1").close()
        except ssl.SSLError:
            return False
        return True

    assert not speaks(ssl.TLSVersion.TLSv1_1)
    assert speaks(ssl.TLSVersion.TLSv1_2)
    assert speaks(ssl.TLSVersion.TLSv1_3)


def test_a_service_that_is_away_is_named(gateway: Gateway) -> None:
    login = f"ann:{PHRASE}"
    for path, service in (("/", "web"), ("/prometheus/graph", "prometheus"), ("/alertmanager/", "alertmanager")):
        assert f"The service {service} of attic is away" in gateway.ask(path, login=login).text


def test_what_is_off_has_no_path_of_its_own_and_what_is_on_has(
    program: Path, tmp_path: Path, authority: Authority, gateway: Gateway
) -> None:
    login, folder = f"ann:{PHRASE}", tmp_path / "on"
    folder.mkdir()
    for path in ("/grafana/", "/portainer/"):
        assert "The service web of" in gateway.ask(path, login=login).text
    with running(program, folder, authority, USERS, Services(whiskers=True, grafana=True, portainer=True)) as other:
        assert "The service grafana of" in other.ask("/grafana/login", login=login).text
        assert "The service portainer of" in other.ask("/portainer/", login=login).text
        assert other.ask("/portainer/").status == OUT


def test_a_path_without_its_slash_leads_to_the_one_with_it(gateway: Gateway) -> None:
    answer = gateway.ask("/prometheus", login=f"ann:{PHRASE}")
    assert (answer.status, answer.headers["location"]) == (308, "/prometheus/")


def test_the_page_may_load_from_its_own_address_alone(gateway: Gateway) -> None:
    headers = gateway.ask(login=f"ann:{PHRASE}").headers
    assert "default-src 'self'" in headers["content-security-policy"]
    assert (headers["x-content-type-options"], headers["referrer-policy"]) == ("nosniff", "same-origin")
    assert "strict-transport-security" not in headers


def test_another_site_cannot_have_a_members_browser_change_something(gateway: Gateway) -> None:
    login = f"ann:{PHRASE}"
    for site in ("cross-site", "same-site"):
        assert gateway.ask(login=login, method="POST", sec_fetch_site=site).status == 403
        assert gateway.ask(login=login, method="GET", sec_fetch_site=site).status == IN
    for site in ("same-origin", "none"):
        assert gateway.ask(login=login, method="POST", sec_fetch_site=site).status == IN
    assert gateway.ask(login=login, method="POST").status == IN, "curl says nothing of it"


def test_another_site_cannot_open_a_websocket_by_a_members_browser(gateway: Gateway) -> None:
    def opened(**origin: str) -> int:
        return gateway.ask(login=f"ann:{PHRASE}", connection="Upgrade", upgrade="websocket", **origin).status

    for other in ("https://evil.example", "null", "http://127.0.0.1", f"http://127.0.0.1:{gateway.port}"):
        assert opened(origin=other) == 403
    assert opened(origin=f"https://127.0.0.1:{gateway.port}") == IN
    assert opened() == IN, "a program says nothing of it"
    assert gateway.ask(login=f"ann:{PHRASE}", origin="https://evil.example").status == IN


def test_what_it_measures_carries_the_nodes_name_and_is_not_behind_the_door(gateway: Gateway) -> None:
    gateway.ask()
    with no_proxy.open(f"http://127.0.0.1:{gateway.metrics}/metrics", timeout=10) as answer:
        lines = answer.read().decode().splitlines()
    series = [line for line in lines if line and not line.startswith("#")]
    assert [line for line in series if f'node="{socket.gethostname()}"' not in line] == []
    assert any(line.startswith("caddy_http_requests_total{") for line in series)
    assert any(
        line.startswith("process_start_time_seconds{") for line in series
    )  # rules and page know by it who is there
    with pytest.raises(urllib.error.HTTPError, match="404"):
        no_proxy.open(f"http://127.0.0.1:{gateway.metrics}/debug/pprof/", timeout=10)


def test_its_health_is_told_by_the_program_itself(gateway: Gateway) -> None:
    def health(port: int) -> int:
        return subprocess.run([gateway.program, "health", f"127.0.0.1:{port}"], check=False).returncode

    assert health(gateway.port) == 0
    assert health(free_port()) == 1


def test_it_writes_nothing_to_the_disk(gateway: Gateway) -> None:
    gateway.ask(login=f"ann:{PHRASE}")
    assert sorted(path.name for path in gateway.folder.iterdir()) == ["Caddyfile", "log", "tls"]
