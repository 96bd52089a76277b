"""An engine asked without Docker's library, by a server here that plays one, and by this machine's own."""

from __future__ import annotations

import json
import socket
import sys
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from http.server import BaseHTTPRequestHandler, HTTPServer
from pathlib import Path
from types import SimpleNamespace

import pytest
from paramiko import SSHException

from image import cluster, engine
from image.engine import EngineError
from image.errors import UserError
from pki import context
from tests.commands import ROOT, command

SOCKET = Path("/var/run/docker.sock")


@contextmanager
def playing(status: int, body: bytes) -> Iterator[tuple[str, list[str]]]:
    """An engine that answers everything so; its address, and the paths that it was asked for."""
    asked: list[str] = []

    class Handler(BaseHTTPRequestHandler):
        def do_GET(self) -> None:
            asked.append(self.path)
            self.send_response(status)
            self.end_headers()
            self.wfile.write(body)

        def log_message(self, *_: object) -> None:
            pass

    with HTTPServer(("127.0.0.1", 0), Handler) as server:
        thread = threading.Thread(target=server.serve_forever)
        thread.start()
        try:
            yield f"tcp://127.0.0.1:{server.server_address[1]}", asked
        finally:
            server.shutdown()
            thread.join()


def test_an_engine_is_asked_for_what_it_is_to_tell() -> None:
    with playing(200, b'[{"ID": "1"}]') as (host, asked):
        assert engine.get(host, None, "/nodes") == [{"ID": "1"}]
    assert asked == ["/nodes"]


def test_what_an_engine_refuses_is_told_in_its_words() -> None:
    said = json.dumps({"message": "This node is not a swarm manager."}).encode()
    with playing(503, said) as (host, _), pytest.raises(EngineError, match=r"^This node is not a swarm m") as seen:
        engine.get(host, None, "/nodes")
    assert seen.value.status == 503


@pytest.mark.parametrize("body", [b"", b"<html>", b"[]", b'{"other": 1}'])
def test_an_error_without_words_is_told_by_its_status(body: bytes) -> None:
    with playing(502, body) as (host, _), pytest.raises(EngineError, match=r"^502 "):
        engine.get(host, None, "/nodes")


@pytest.mark.parametrize("body", [b"", b"<html>Sign in to the guests' network</html>"])
def test_what_answers_and_is_no_engine_is_told(body: bytes) -> None:
    with playing(200, body) as (host, _), pytest.raises(EngineError, match="what answers is no engine"):
        engine.get(host, None, "/nodes")


def test_a_line_of_ssh_that_breaks_off_later_is_told_too(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def nodes() -> None:
        raise SSHException("SSH session not active")

    client = SimpleNamespace(nodes=nodes, close=lambda: None)
    monkeypatch.setattr(cluster.Endpoint, "client", lambda _: client)
    attic = cluster.Cluster("attic", cluster.Endpoint("ssh://pi@pi1"), (), tmp_path)
    words = "of attic at ssh://pi@pi1 stopped answering: SSH session not active"
    with pytest.raises(UserError, match=words), attic.manager() as manager:
        manager.nodes()


def test_an_engine_whose_ssh_closes_the_line_is_told() -> None:
    with socket.create_server(("127.0.0.1", 0)) as server:
        thread = threading.Thread(target=lambda: server.accept()[0].close())
        thread.start()
        there = {"DOCKER_HOST": f"ssh://pi@127.0.0.1:{server.getsockname()[1]}", "DOCKER_CONTEXT": ""}
        command(sys.executable, "-m", "image", "render", **there).refused("'default'", "does not answer", "Try:")
        thread.join()


@pytest.mark.parametrize("named", [False, True])
def test_with_tls_asked_for_nothing_goes_in_plain_text(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, named: bool
) -> None:
    """Without DOCKER_CERT_PATH the certificates are those in docker's own folder, as for docker's command line."""
    monkeypatch.setenv("DOCKER_TLS_VERIFY", "1")
    monkeypatch.setenv("DOCKER_CONFIG", str(tmp_path / "docker"))
    monkeypatch.delenv("DOCKER_CERT_PATH", raising=False)
    if named:
        monkeypatch.setenv("DOCKER_CERT_PATH", str(tmp_path / "named"))
    with playing(200, b"[]") as (host, asked):
        monkeypatch.setenv("DOCKER_HOST", host)
        with pytest.raises(UserError, match=f"{tmp_path / ('named' if named else 'docker')}/ca.pem"):
            cluster.read("default")
    assert asked == []


def test_no_proxy_stands_between_us_and_an_engine(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("http_proxy", "http://127.0.0.1:1")
    with playing(200, b"{}") as (host, _):
        assert engine.get(host, None, "/info") == {}


def test_an_engine_that_does_not_answer_has_no_status() -> None:
    with pytest.raises(EngineError) as seen:
        engine.get("tcp://127.0.0.1:1", None, "/nodes")
    assert seen.value.status is None


@pytest.mark.parametrize(
    ("said", "fix"),
    [
        ("timed out", 'the power and the network of 198.18.0.11; .* README.md, "The only manager died'),
        ("[Errno 113] No route to host", "the power and the network of 198.18.0.11"),
        ("[Errno 111] Connection refused", "docker --context default info"),
        ("certificate verify failed: self-signed certificate", "docker --context default info"),
    ],
)
def test_where_the_only_manager_is_away_a_person_is_told_to_look_at_it(
    monkeypatch: pytest.MonkeyPatch, said: str, fix: str
) -> None:
    def away(*_: object) -> None:
        raise EngineError(said)

    monkeypatch.setenv("DOCKER_HOST", "tcp://198.18.0.11:2376")
    monkeypatch.setattr(engine, "get", away)
    with pytest.raises(UserError, match=f"does not answer: .*\n  Try: {fix}"):
        cluster.read("default")


def test_a_socket_that_is_not_there_is_named() -> None:
    nowhere = {"DOCKER_HOST": "unix:///nowhere/docker.sock", "DOCKER_CONTEXT": ""}
    command(sys.executable, "-m", "image", "render", **nowhere).refused("'default'", "/nowhere/docker.sock", "Try:")


@pytest.mark.skipif(not SOCKET.exists(), reason="no engine listens at its usual socket")
def test_an_engine_behind_a_socket_is_asked_too() -> None:
    version = command("docker", "version", "--format", "{{.Server.Version}}", DOCKER_HOST=f"unix://{SOCKET}").ok()
    assert engine.get(f"unix://{SOCKET}", None, "/version")["Version"] == version.strip()


# Contexts, as docker's command line writes them


def test_contexts_are_read_as_docker_writes_them(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("DOCKER_CONFIG", str(tmp_path / "config"))
    command("sh", ROOT / "bench" / "payload" / "authority.sh", tmp_path).ok()
    files = ",".join(f"{name}={tmp_path / name}.pem" for name in ("ca", "cert", "key"))
    create = ("docker", "context", "create")
    command(*create, "attic", "--docker", f"host=tcp://198.18.0.11:2376,{files}").ok()
    command(*create, "plain", "--docker", "host=unix:///tmp/docker.sock").ok()
    config = context.docker_config_folder()
    assert context.names(config) == ["attic", "plain"]
    assert context.leads_to("attic", config) == "tcp://198.18.0.11:2376"
    certificates = context.certificates("attic", config)
    assert certificates
    for file in ("ca.pem", "cert.pem", "key.pem"):
        assert (certificates / file).read_bytes() == (tmp_path / file).read_bytes()
    assert context.certificates("plain", config) is None
    assert context.current(config) == "default"
    command("docker", "context", "use", "plain").ok()
    assert context.current(config) == "plain"


@pytest.mark.parametrize("text", ["", "{", "[]", "{}", '{"currentContext": ""}'])
def test_without_a_choice_the_default_context_is_the_current_one(tmp_path: Path, text: str) -> None:
    (tmp_path / "config.json").write_text(text)
    assert context.current(tmp_path) == "default"


def test_what_is_no_context_is_passed_over(tmp_path: Path) -> None:
    assert context.names(tmp_path) == []
    for name, text in (("1", "{"), ("2", "[]"), ("3", '{"Name": "attic"}')):
        (tmp_path / "contexts" / "meta" / name).mkdir(parents=True)
        (tmp_path / "contexts" / "meta" / name / "meta.json").write_text(text)
    assert context.names(tmp_path) == ["attic"]
