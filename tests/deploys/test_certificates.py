"""Who may talk to the engines, and how that changes without anybody noticing; asked with openssl from outside."""

from __future__ import annotations

import shutil
import stat
import time
from collections.abc import Iterator
from pathlib import Path

import pytest
from cryptography import x509

from tests.commands import Lab, command, nothing_proposed
from tests.conftest import NAME
from tests.deploys import service
from tests.deploys.test_membership import PIS
from tests.deploys.tls import ANSWER, SERVER, Signer, as_client, dial, served


@pytest.fixture(scope="module")
def web(five: Lab) -> Iterator[Lab]:
    """The cluster with a service of two replicas that answers."""
    five.provision().ok()
    service.start(five, PIS)
    deadline = time.monotonic() + 60
    while sum(service.answers(five.address(pi)) for pi in PIS) < 2:
        assert time.monotonic() < deadline, five.on("pi1", "docker", "service", "ps", "web").said
        time.sleep(1)
    yield five
    service.stop(five, "pi1")


def invocations(lab: Lab) -> dict[str, str]:
    """Which start of its engine each node lives in."""
    return {pi: lab.on(pi, "systemctl", "show", "docker", "-p", "InvocationID").ok() for pi in PIS}


@pytest.fixture
def addresses(five: Lab) -> list[str]:
    return [five.address(pi) for pi in PIS]


def test_every_engine_answers_the_owner_and_shows_a_certificate_for_serving_only(five: Lab) -> None:
    for pi in PIS:
        assert ANSWER in dial(five, pi, *as_client(five.folder))
        use = served(five, pi).extensions.get_extension_for_class(x509.ExtendedKeyUsage).value
        assert list(use) == [SERVER]


def test_no_engine_answers_anybody_else(five: Lab, tmp_path: Path) -> None:
    ours = Signer.of(five.folder)
    strangers = {
        "another CA of the same name": as_client(Signer.stranger(ours.name).write_client(tmp_path / "other")),
        "expired": as_client(ours.write_client(tmp_path / "expired", days=-1)),
        "made for a server": as_client(ours.write_client(tmp_path / "server", use=SERVER)),
        "no certificate": (),
    }
    assert ANSWER in dial(five, "pi1", *as_client(ours.write_client(tmp_path / "good"))), "the forger can forge"
    for pi in PIS:
        for who, argv in strangers.items():
            assert ANSWER not in dial(five, pi, *argv), f"{pi} answers a client with {who}"
        plain = command("curl", "-s", "-m", "10", f"http://{five.address(pi)}:2376/version")
        assert "ApiVersion" not in plain.said


def test_a_second_person_gets_access_with_one_command(five: Lab) -> None:
    said = five.python("pki", "client", "anna", "--cluster", five.name).ok()
    folder = five.folder / "clients" / "anna"
    assert f"tcp://{five.address('pi1')}:2376" in said
    assert stat.S_IMODE((folder / "key.pem").stat().st_mode) == 0o600
    for pi in PIS:
        assert ANSWER in dial(five, pi, *as_client(folder), ca=folder / "ca.pem")
    shutil.rmtree(folder)


def test_all_keys_and_certificates_are_replaced_and_a_service_goes_on(web: Lab, addresses: list[str]) -> None:
    make_old(web)
    before = {pi: served(web, pi) for pi in PIS}
    owner = (web.folder / "cert.pem").read_bytes()
    with service.used(addresses) as answered:
        web.deploy("rotate_certificates").ok()
    assert min(answered) >= 1, answered
    for pi in PIS:
        assert served(web, pi).public_key() != before[pi].public_key(), pi
        assert ANSWER in dial(web, pi, *as_client(web.folder))
    assert (web.folder / "cert.pem").read_bytes() != owner
    engines, owner = invocations(web), (web.folder / "cert.pem").read_bytes()
    web.deploy("rotate_certificates").ok()
    assert (invocations(web), (web.folder / "cert.pem").read_bytes()) == (engines, owner)


def make_old(lab: Lab) -> None:
    """Have each engine serve a certificate of yesterday, which the cluster's CA signed, as after a day of work."""
    ours = Signer.of(lab.folder)
    for pi in PIS:
        request = lab.on(pi, "cat", "/etc/docker/tls/server.csr").ok()
        signed = ours.sign_yesterday(x509.load_pem_x509_csr(request.encode()), served(lab, pi))
        lab.on(pi, "sh", "-c", f"printf %s '{signed}' > /etc/docker/tls/server-cert.pem").ok()
    ours.write_client(lab.folder)


def test_a_new_ca_takes_over_while_a_service_goes_on_and_waits_for_a_host_that_is_away(
    web: Lab, addresses: list[str], tmp_path: Path
) -> None:
    web.python("pki", "client", "bert", "--cluster", web.name).ok()
    old = shutil.copytree(web.folder, tmp_path / "old")
    ghost = web.address("pi1").rsplit(".", 1)[0] + ".250"
    away = web.inventory(
        tmp_path, f"managers = _managers\nworkers = [_workers[0], *_with(_workers[1:], ssh_hostname='{ghost}')]"
    )
    with service.used(addresses) as answered:
        web.deploy("rotate_ca", inventory=away).refused("pi5 did not take part", "both CAs stay trusted")
        assert_answer(web, old, web.folder)
        (finished := web.deploy("rotate_ca")).ok()
    assert min(answered) >= 1, answered
    assert (web.folder / "ca.pem").read_bytes() != (old / "ca.pem").read_bytes()
    assert_answer(web, web.folder, web.folder / "clients" / "bert")
    for pi in PIS:
        assert ANSWER not in dial(web, pi, *as_client(old)), "the old CA's clients are still let in"
        assert "verify error" in dial(web, pi, *as_client(web.folder), ca=old / "ca.pem")
        trusted = web.on(pi, "cat", f"/etc/docker/certs.d/{web.address('pi1')}:5000/ca.crt").ok()
        assert trusted.strip() == (web.folder / "ca.pem").read_text().strip()
    assert (old / "ca-key.pem").read_bytes() not in [path.read_bytes() for path in web.folder.glob("*.pem")]
    assert web.docker("node", "ls").code == 0
    assert "bert" in finished.said, "the owner has to be told who needs new files"
    engines = invocations(web)
    web.deploy("rotate_ca").ok()
    web.provision().ok()
    assert invocations(web) == engines
    shutil.rmtree(web.folder / "clients")


def assert_answer(lab: Lab, *folders: Path) -> None:
    """Every engine lets the clients of these folders in."""
    for pi in PIS:
        for folder in folders:
            assert ANSWER in dial(lab, pi, *as_client(folder)), f"{pi} does not take the client of {folder}"


@pytest.fixture
def single(engine: None) -> Iterator[Lab]:
    """One blank virtual Pi of its own."""
    with Lab(f"{NAME}-single").fresh(1) as lab:
        yield lab


def test_a_ca_that_a_person_brings_with_a_passphrase_certifies_the_cluster(single: Lab, tmp_path: Path) -> None:
    passphrase, key = tmp_path / "passphrase", single.folder / "ca-key.pem"
    passphrase.write_text("correct horse battery staple\n")
    passphrase.chmod(0o600)
    # As Docker's documentation has it.
    command("openssl", "genrsa", "-aes256", "-passout", f"file:{passphrase}", "-out", key, "4096").ok()
    command(
        "openssl", "req", "-new", "-x509", "-days", "3650", "-key", key, "-sha256", "-subj", "/CN=home",
        "-passin", f"file:{passphrase}", "-out", single.folder / "ca.pem",
    ).ok()  # fmt: skip
    ours = single.inventory(
        tmp_path, f"managers = _with(_managers, ca_passphrase_file='{passphrase}', prometheus_node='pi1')\nworkers = []"
    )
    before = key.read_bytes()
    single.deploy("swarm", inventory=ours).ok()
    assert key.read_bytes() == before
    assert ANSWER in dial(single, "pi1", *as_client(single.folder))
    assert served(single, "pi1").issuer.rfc4514_string() == "CN=home"
    # There is nothing to sign any more, so nobody is asked.
    passphrase.unlink()
    assert nothing_proposed(single.dry("swarm", inventory=ours))
    # A key that has to be signed asks, and without an answer says how to give one.
    single.on("pi1", "rm", "/etc/docker/tls/server-cert.pem").ok()
    single.deploy("swarm", inventory=ours).refused("[pi1]", "ca_passphrase_file", str(passphrase))


def test_a_ca_that_has_expired_can_be_left(single: Lab, tmp_path: Path) -> None:
    ours = single.inventory(tmp_path, "managers = _with(_managers, prometheus_node='pi1')\nworkers = []")
    single.deploy("swarm", inventory=ours).ok()
    Signer.of(single.folder).expire(single.folder)
    single.deploy("swarm", inventory=ours).refused("expired", "rotate_ca.py")
    single.deploy("rotate_ca", inventory=ours).ok()
    assert ANSWER in dial(single, "pi1", *as_client(single.folder))
    assert "less than an hour ago" in single.deploy("rotate_ca", inventory=ours).said
