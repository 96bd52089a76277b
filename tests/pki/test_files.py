"""The cluster's folder, the registry's login and the docker context."""

from __future__ import annotations

import json
import os
import stat
import subprocess
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from pki.authority import Authority
from pki.context import Context, forget
from pki.credentials import Login, known_login, registry_login
from pki.folder import cluster_folder, write_private
from pki.people import client_files


def mode(path: Path) -> int:
    return stat.S_IMODE(path.stat().st_mode)


def test_the_clusters_folder_is_its_owners_alone(tmp_path: Path) -> None:
    folder = cluster_folder("shelf", tmp_path)
    assert (mode(folder), mode(folder.parent)) == (0o700, 0o700)


@pytest.mark.parametrize("name", ["", "..", "a/b", "Shelf", "-x", "a" * 64, "a b", "default"])
def test_a_name_that_cannot_be_a_folder_is_refused_by_name(tmp_path: Path, name: str) -> None:
    with pytest.raises(ValueError, match="cluster name"):
        cluster_folder(name, tmp_path)
    assert not list(tmp_path.iterdir())


def test_a_private_file_replaces_a_readable_one_with_a_closed_one(tmp_path: Path) -> None:
    path = tmp_path / "secret"
    path.write_text("old")
    path.chmod(0o644)
    write_private(path, b"new")
    assert (path.read_bytes(), mode(path)) == (b"new", 0o600)
    assert list(tmp_path.iterdir()) == [path]


def test_a_failed_write_leaves_the_old_file_and_no_other(tmp_path: Path) -> None:
    (tmp_path / "taken").mkdir()
    with pytest.raises(OSError, match="taken"):
        write_private(tmp_path / "taken", b"new")
    assert [path.name for path in tmp_path.iterdir()] == ["taken"]


def test_the_login_is_made_once_and_reads_as_dockers_own(tmp_path: Path) -> None:
    login = registry_login(tmp_path, "198.18.0.11:5000")
    assert registry_login(tmp_path, "198.18.0.11:5000") == login
    assert login.password not in repr(login)
    assert len(login.password) >= 32
    assert mode(tmp_path / "config.json") == 0o600
    assert list(json.loads((tmp_path / "config.json").read_text())["auths"]) == ["198.18.0.11:5000"]


def test_who_only_asks_for_a_login_makes_none(tmp_path: Path) -> None:
    assert known_login(tmp_path, "198.18.0.11:5000") is None
    assert list(tmp_path.iterdir()) == []
    assert registry_login(tmp_path, "198.18.0.11:5000") == known_login(tmp_path, "198.18.0.11:5000")


def test_what_a_person_added_to_the_login_file_stays(tmp_path: Path) -> None:
    (tmp_path / "config.json").write_text('{"proxies": {"default": {}}, "auths": {"other:1": {"auth": "eDp5"}}}')
    registry_login(tmp_path, "here:5000")
    config = json.loads((tmp_path / "config.json").read_text())
    assert set(config) == {"proxies", "auths"}
    assert set(config["auths"]) == {"other:1", "here:5000"}


@pytest.mark.parametrize("text", ["{", "[]", '{"auths": {"r:1": {"auth": "%%%"}}}', '{"auths": {"r:1": {}}}'])
def test_a_login_file_that_is_broken_is_named_and_left_alone(tmp_path: Path, text: str) -> None:
    (tmp_path / "config.json").write_text(text)
    with pytest.raises(ValueError, match=r"config\.json"):
        registry_login(tmp_path, "r:1")
    assert (tmp_path / "config.json").read_text() == text


def test_a_password_opens_its_own_htpasswd_and_no_other() -> None:
    login = Login("cluster", "correct horse")
    assert login.opens(login.htpasswd())
    assert not Login("cluster", "wrong").opens(login.htpasswd())
    assert not Login("other", "correct horse").opens(login.htpasswd())


@given(st.text())
def test_no_text_opens_as_an_htpasswd_by_accident(text: str) -> None:
    assert not Login("cluster", "password").opens(text)


def test_docker_itself_reads_the_context_that_we_write(tmp_path: Path) -> None:
    certificates, config = tmp_path / "shelf", tmp_path / "docker"
    certificates.mkdir()
    client_files(Authority.load_or_create(certificates, "shelf"), certificates, "owner")
    context = Context("shelf", "tcp://198.18.0.11:2376", certificates, "a test")
    assert not context.is_written(config)
    context.write(config)
    assert context.is_written(config)

    done = subprocess.run(
        ["docker", "context", "inspect", "shelf"],
        env={**os.environ, "DOCKER_CONFIG": str(config)},
        capture_output=True,
        text=True,
        check=True,
    )
    seen = json.loads(done.stdout)[0]
    assert seen["Endpoints"]["docker"]["Host"] == "tcp://198.18.0.11:2376"
    assert set(seen["TLSMaterial"]["docker"]) == {"ca.pem", "cert.pem", "key.pem"}
    assert all(mode(path) == 0o600 for path in config.rglob("*.pem"))


def test_a_context_is_forgotten_only_where_it_leads_to_the_host_that_is_named(tmp_path: Path) -> None:
    certificates, config = tmp_path / "shelf", tmp_path / "docker"
    certificates.mkdir()
    client_files(Authority.load_or_create(certificates, "shelf"), certificates, "owner")
    Context("shelf", "tcp://198.18.0.11:2376", certificates).write(config)
    assert not forget("shelf", "tcp://198.18.1.11:2376", config)
    assert not forget("other", "tcp://198.18.0.11:2376", config)
    assert forget("shelf", "tcp://198.18.0.11:2376", config)
    assert not [path for path in config.rglob("*") if path.is_file()]


def test_a_context_whose_key_changed_is_not_taken_for_written(tmp_path: Path) -> None:
    certificates, config = tmp_path / "shelf", tmp_path / "docker"
    certificates.mkdir()
    client_files(Authority.load_or_create(certificates, "shelf"), certificates, "owner")
    context = Context("shelf", "tcp://198.18.0.11:2376", certificates)
    context.write(config)
    client_files(Authority.create("another"), certificates, "owner")
    assert not context.is_written(config)
