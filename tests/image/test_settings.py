"""The owner's settings, on files."""

from __future__ import annotations

import re
from pathlib import Path

import certifi
import pytest

from image import plan, settings, table
from image.cluster import Cluster, Endpoint
from image.errors import UserError

GOOD = settings.FILE.read_text()
HASH = "$2b$12$" + "abcdefghijklmnopqrstuvwxyz./ABCDEFGHIJKLMNOPQRSTUVWXYZ0"[:53]
MAIL = 'to = "ann@example.org"\nfrom = "shelf@example.org"\nsmarthost = "smtp.example.org:587"\n'


def layered(folder: Path, own: str) -> settings.Settings:
    """The clone's settings, and over them one cluster's."""
    (folder / "settings.toml").write_text(own)
    return settings.of(Cluster("attic", Endpoint("tcp://198.18.0.11:2376"), (), folder))


def test_every_key_stands_in_the_clones_file_with_words_about_it():
    lines = GOOD.splitlines()
    for number, line in enumerate(lines):
        if "=" in line and not line.startswith("#"):
            paragraph = lines[:number][::-1]
            above = next(text for text in paragraph if "=" not in text or text.startswith("#"))
            assert "  #" in line or above.startswith("#"), f"{line}: nothing says what it is"


@pytest.mark.parametrize(
    ("old", "new", "message"),
    [
        ("keep_revisions", "keep_revision", "unknown key 'keep_revision'\n  Try: 'keep_revisions'"),
        ("[services]", '[services]\nwhisker = "1"', "services: unknown key 'whisker'"),
        ("gateway_port = 443", "", "'gateway_port' is missing"),
        ("gateway_port = 443", "gateway_port = '443'", "gateway_port = '443' is not a whole number"),
        ("gateway_port = 443", "gateway_port = true", "gateway_port = True is not a whole number"),
        ("gateway_port = 443", "gateway_port = 65536", "gateway_port = 65536 is not a port"),
        ("gateway_port = 443", "gateway_port = 0", "gateway_port = 0 is not a port"),
        ("gateway_port = 443", "gateway_port = ", r"settings\.toml: Invalid value"),
        ("web_replicas = 2", "web_replicas = 0", "web_replicas = 0 is not 1 or more"),
        ("grafana = false", "grafana = 1", "services: grafana = 1 is not true or false"),
        ('from = ""', "", r"'from' in \[mail\] is missing"),
    ],
)
def test_a_wrong_setting_is_told_by_its_file_and_key(tmp_path, old, new, message):
    file = tmp_path / "settings.toml"
    assert old in GOOD
    file.write_text(GOOD.replace(old, new))
    with pytest.raises(UserError, match=message) as seen:
        settings.read(file)
    assert seen.value.message.startswith(str(file))


@pytest.mark.parametrize(
    ("own", "message"),
    [
        ('[prometheus]\nretention_time = "15 days"', r"prometheus\.retention_time = '15 days' is not a duration"),
        ('[prometheus]\nretention_time = "1h1d"', "is not a duration"),
        ('[prometheus]\nretention_time = "0d"', "is not a duration"),
        ('[prometheus]\nretention_size = "2kB"', r"prometheus\.retention_size = '2kB' is not a size"),
        ('[prometheus]\nretention_size = "2"', "is not a size"),
        ('[mail]\nto = "ann"', r"mail\.to = 'ann' is not a mail address"),
        ('[mail]\nto = "ann@example.org, bob"', "is not a mail address"),
        ('[mail]\nto = "{{ann}}@example.org"', "is not a mail address"),
        ('[mail]\nfrom = "a@b, c@d"', r"mail\.from = 'a@b, c@d' is not a mail address"),
        ('[mail]\nsmarthost = "smtp.example.org"', r"mail\.smarthost = .* is not HOST:PORT"),
        ('[mail]\nsmarthost = "smtp.example.org:70000"', "is not HOST:PORT"),
        ('[mail]\nto = "ann@example.org"', "mail.to = 'ann@example.org' needs from and smarthost in .mail., too"),
        ('[mail]\nto = "ann@example.org"\nsmarthost = "a:25"', r"needs from in \[mail\], too"),
        ("[services]\nwhiskers = true", r"services\.whiskers = true, and nobody gets a mail"),
        (
            '[services]\nwhiskers = true\n[whiskers]\nto = "ann@example.org"',
            "whiskers = true needs from and smarthost in",
        ),
        ('[whiskers]\nto = "ann"', r"whiskers\.to = 'ann' is not a mail address"),
        ('[whiskers]\nat = "8:00"', r"whiskers\.at = '8:00' is not a time of the day"),
        ('[whiskers]\nat = "24:00"', "is not a time of the day"),
        ('[whiskers]\ntime_zone = "Europe/Berln"', r"whiskers\.time_zone = 'Europe/Berln' is not one such as"),
        (
            '[whiskers]\nfeed = "cats.example.org"',
            r"whiskers\.feed = 'cats\.example\.org' is not an address that begins",
        ),
        ('[mail]\nca = "nowhere.pem"', "mail.ca = 'nowhere.pem': .* cannot be read"),
        ('[mail]\nca = "settings.toml"', "mail.ca = 'settings.toml': .* has no certificate"),
        ('mail = "ann@example.org"', "mail = 'ann@example.org' is not a table"),
        ('[users]\n"a:b" = "x"', "'a:b' is no name"),
        ("users = 1", "users = 1 is not a table"),
        ("gateway_port = -1", "gateway_port = -1 is not a port"),
    ],
)
def test_a_mistake_of_one_clusters_own_is_told_with_its_own_file(tmp_path, own, message):
    with pytest.raises(UserError, match=message) as seen:
        layered(tmp_path, own)
    assert seen.value.message.startswith(str(tmp_path / "settings.toml"))


@pytest.mark.parametrize("password", ["hunter2", HASH[:-1], HASH + "x", HASH.replace("$12$", "$03$"), "$1$" + HASH[3:]])
def test_what_is_no_hash_is_not_shown_for_it_may_be_the_password(tmp_path, password):
    with pytest.raises(UserError, match=r"users\.ann is no bcrypt hash") as seen:
        layered(tmp_path, f'[users]\nann = "{password}"')
    assert password not in seen.value.message


@pytest.mark.parametrize(("cost", "right"), [("04", True), ("12", True), ("13", False), ("31", False)])
def test_a_hash_that_would_keep_a_pi_busy_is_refused(tmp_path, cost, right):
    own = f'[users]\nann = "{HASH.replace("$12$", f"${cost}$")}"'
    if right:
        assert "ann" in layered(tmp_path, own).users
        return
    with pytest.raises(UserError, match=rf"users\.ann is a hash of cost {cost}, .*12 at most") as seen:
        layered(tmp_path, own)
    assert "user set ann" in seen.value.message
    assert HASH[10:] not in seen.value.message


def test_what_differs_in_one_cluster_lies_over_the_clones(tmp_path):
    chosen = layered(tmp_path, f'gateway_port = 8443\n[mail]\n{MAIL}[users]\nann = "{HASH}"')
    base = table.values(settings.read())
    assert table.values(chosen) == {
        **base,
        "gateway_port": 8443,
        "mail": {
            **base["mail"],
            "to": "ann@example.org",
            "from": "shelf@example.org",
            "smarthost": "smtp.example.org:587",
        },
        "users": {"ann": HASH},
    }


def test_mail_that_cannot_be_sent_is_told_with_the_file_that_says_something_of_mail(tmp_path):
    clones, own = tmp_path / "clones.toml", tmp_path / "settings.toml"
    clones.write_text(GOOD.replace('to = ""', 'to = "ann@example.org"', 1))
    for text, file in ((f'[users]\nann = "{HASH}"', clones), ('[mail]\nfrom = "shelf@example.org"', own)):
        own.write_text(text)
        with pytest.raises(UserError, match=r"mail\.to = .* needs .*smarthost in") as seen:
            settings.read(clones, own)
        assert seen.value.message.startswith(f"{file}: ")


CA = re.findall(r"-----BEGIN CERTIFICATE-----.+?-----END CERTIFICATE-----\n", certifi.contents(), re.DOTALL)[0]


def test_a_certificate_lies_beside_the_file_that_names_it(tmp_path):
    for pem in (CA, f"# é: two of them\n{CA}{CA}"):
        (tmp_path / "mail-ca.pem").write_text(pem, encoding="utf-8")
        assert layered(tmp_path, '[mail]\nca = "mail-ca.pem"').mail.ca == pem


@pytest.mark.parametrize(
    ("pem", "message"),
    [
        (f"{CA}-----BEGIN PRIVATE KEY-----\nMII\n-----END PRIVATE KEY-----\n", "has a private key"),
        (CA[:500], "has a certificate that cannot be read: one has no end"),
        (CA + CA[:500], "has a certificate that cannot be read: one has no end"),
        (CA[:500] + "\n" + CA[-200:], "has a certificate that cannot be read"),
        (f"{CA[:500]}é{CA[500:]}", "has a certificate that cannot be read"),
    ],
    ids=["a key", "no end", "a second one without an end", "a gap", "not ASCII"],
)
def test_a_file_that_is_not_certificates_alone_is_refused_and_not_handed_out(tmp_path, pem, message):
    (tmp_path / "mail-ca.pem").write_text(pem, encoding="utf-8")
    with pytest.raises(UserError, match=rf"mail\.ca = 'mail-ca\.pem': .*mail-ca\.pem {message}"):
        layered(tmp_path, '[mail]\nca = "mail-ca.pem"')


@pytest.mark.parametrize("time", ["", "15d", "36h", "1y2w3d", "90m"])
@pytest.mark.parametrize("size", ["", "2GB", "512MB", "1.5GiB", "100B"])
def test_what_prometheus_understands_is_taken(tmp_path, time, size):
    kept = layered(tmp_path, f'[prometheus]\nretention_time = "{time}"\nretention_size = "{size}"').prometheus
    assert (kept.retention_time, kept.retention_size) == (time, size)


@pytest.mark.parametrize("smarthost", ["localhost:25", "[2001:db8::1]:465", "198.18.0.1:587"])
def test_a_mail_server_is_a_name_or_an_address_with_a_port(tmp_path, smarthost):
    assert layered(tmp_path, f'[mail]\nsmarthost = "{smarthost}"').mail.smarthost == smarthost


def test_the_image_of_a_service_that_is_off_is_not_used(tmp_path):
    def used(own: str) -> set[str]:
        (tmp_path / "settings.toml").write_text(own)
        attic = Cluster("attic", Endpoint("tcp://198.18.0.11:2376"), (), tmp_path)
        return {image.name for image in settings.used(attic, plan.read())}

    every = {image.name for image in plan.read()}
    assert used("") == every - {"whiskers"}
    assert used(f"[services]\nwhiskers = true\n[mail]\n{MAIL}") == every
