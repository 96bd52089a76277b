"""The gateway as the cluster's people meet it: every Pi's address, from outside."""

from __future__ import annotations

import shutil
import subprocess
from collections.abc import Iterator
from pathlib import Path

import pytest
from cryptography import x509

from tests.commands import Answer, Lab, ask, until
from tests.deploys.tls import Signer

PIS = ("pi1", "pi2", "pi3")
SERVES = 'name="served-by"'


def as_stranger(lab: Lab, pi: str, path: str = "/", login: str = "") -> Answer:
    return ask(lab.address(pi), path, ca=lab.folder / "ca.pem", login=login)


def enters(lab: Lab, pi: str, folder: Path) -> bool:
    """Whether a client certificate leads to the page."""
    try:
        answer = ask(lab.address(pi), "/", ca=lab.folder / "ca.pem", certificate=folder)
    except OSError:
        return False
    return answer.status == 200 and SERVES in answer.text


def s_client(lab: Lab, pi: str, ca: Path) -> str:
    """What openssl says of the gateway's certificate, looked at for the address that it dials."""
    done = subprocess.run(
        ["openssl", "s_client", "-connect", f"{lab.address(pi)}:443", "-CAfile", str(ca), "-verify_ip",
         lab.address(pi), "-verify_return_error"],
        input="", capture_output=True, text=True, timeout=30, check=False,
    )  # fmt: skip
    return done.stdout + done.stderr


def served(lab: Lab, pi: str) -> x509.Certificate:
    said = s_client(lab, pi, lab.folder / "ca.pem")
    return x509.load_pem_x509_certificate(said[said.index("-----BEGIN") :].encode())


def container(lab: Lab, pi: str) -> str:
    return lab.on(pi, "docker", "ps", "-q", "--filter", "name=shelf_gateway").ok().strip()


@pytest.fixture(scope="module")
def login(stack: Lab) -> Iterator[str]:
    """A user of the cluster and her password; afterwards there is none again."""
    password = stack.image("user", "set", "ann", "--generate").ok().strip()
    stack.image("deploy").ok()
    yield f"ann:{password}"
    stack.image("user", "rm", "ann").ok()
    stack.image("deploy").ok()


def test_without_users_no_password_opens_it_and_the_deploy_says_how_one_would(stack: Lab) -> None:
    for pi in PIS:
        assert as_stranger(stack, pi, login="admin:admin").status == 401
        assert SERVES in stack.fetched(pi)
    assert "user set NAME" in stack.image("deploy").said


@pytest.mark.parametrize("pi", PIS)
def test_every_pis_address_lets_in_who_has_a_password_and_nobody_else(stack: Lab, login: str, pi: str) -> None:
    for path in ("/", "/prometheus/api/v1/targets", "/icon.svg"):
        assert as_stranger(stack, pi, path).status == 401
        assert as_stranger(stack, pi, path, login="ann:wrong").status == 401
        assert as_stranger(stack, pi, path, login=login).status == 200
    assert SERVES in as_stranger(stack, pi, login=login).text


@pytest.mark.parametrize("pi", PIS)
def test_the_clusters_certificate_opens_it_and_a_strangers_does_not(stack: Lab, pi: str, tmp_path: Path) -> None:
    ours = Signer.of(stack.folder)
    assert enters(stack, pi, stack.folder)
    assert enters(stack, pi, ours.write_client(tmp_path / "good")), "the forger can forge"
    assert not enters(stack, pi, Signer.stranger(ours.name).write_client(tmp_path / "other"))
    assert not enters(stack, pi, ours.write_client(tmp_path / "expired", days=-1))


@pytest.mark.parametrize("pi", PIS)
def test_openssl_finds_a_chain_to_the_clusters_ca_for_the_pis_own_address(stack: Lab, pi: str, tmp_path: Path) -> None:
    assert "Verify return code: 0 (ok)" in s_client(stack, pi, stack.folder / "ca.pem")
    other = tmp_path / "ca.pem"
    other.write_text((stack.folder / "ca.pem").read_text())
    Signer.stranger(Signer.of(stack.folder).name).expire(tmp_path)
    assert "verify error" in s_client(stack, pi, other)


def test_prometheus_and_its_interface_know_their_place(stack: Lab) -> None:
    assert '"status":"success"' in stack.fetched("pi3", "/prometheus/api/v1/query?query=up")
    assert stack.enter("pi2", "/prometheus").headers["location"] == "/prometheus/"
    assert stack.enter("pi2", "/prometheus/").headers["location"].startswith("/prometheus/")


def test_a_service_that_is_away_is_named_and_the_others_go_on(stack: Lab) -> None:
    stack.docker("service", "scale", "--detach", "shelf_web=0").ok()
    try:
        until(lambda: stack.enter("pi1").status == 502)
        assert f"The service web of {stack.name} is away" in stack.enter("pi3").text
        assert stack.enter("pi3", "/prometheus/-/ready").status == 200
    finally:
        stack.image("deploy").ok()
    assert SERVES in stack.fetched("pi1")


def test_one_of_two_servers_may_go_without_anybody_noticing(stack: Lab) -> None:
    served_by = {stack.fetched("pi1").partition(SERVES)[2].split('"')[1] for _ in range(6)}
    assert served_by == {"pi2", "pi3"}


def test_certificates_are_renewed_under_a_running_gateway_and_another_ca_takes_over(stack: Lab, tmp_path: Path) -> None:
    before = {pi: container(stack, pi) for pi in PIS}
    old = shutil.copytree(stack.folder, tmp_path / "old")
    for pi in PIS:
        request = stack.on(pi, "cat", "/etc/docker/tls/server.csr").ok()
        signed = Signer.of(old).sign_yesterday(x509.load_pem_x509_csr(request.encode()), served(stack, pi))
        folder = "/etc/docker/tls"
        stack.on(
            pi, "sh", "-c", f"printf %s '{signed}' >{folder}/new.pem && mv {folder}/new.pem {folder}/server-cert.pem"
        ).ok()
        number = x509.load_pem_x509_certificate(signed.encode()).serial_number
        until(lambda pi=pi, number=number: served(stack, pi).serial_number == number)  # type: ignore[misc]
        assert enters(stack, pi, stack.folder)
    assert {pi: container(stack, pi) for pi in PIS} == before

    stack.deploy("rotate_ca", "--data", "again=true").ok()
    assert (stack.folder / "ca.pem").read_bytes() != (old / "ca.pem").read_bytes()
    for pi in PIS:
        until(lambda pi=pi: enters(stack, pi, stack.folder), seconds=120)  # type: ignore[misc]
        assert not enters(stack, pi, old), "the former CA's clients are still let in"
        assert "verify error" in s_client(stack, pi, old / "ca.pem")
