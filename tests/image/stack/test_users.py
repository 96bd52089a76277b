"""Who may enter: names and hashes in a cluster's own settings."""

from __future__ import annotations

import stat
from pathlib import Path

import bcrypt
import pytest

from image import settings, table
from image.cluster import Cluster, Endpoint
from image.errors import UserError
from image.stack import template, users
from image.stack.rollout import Rollout

TYPED = b"correct horse: \xc3\xa9"


@pytest.fixture
def cluster(tmp_path: Path) -> Cluster:
    return Cluster("attic", Endpoint("tcp://198.18.0.11:2376"), (), tmp_path)


def test_a_password_becomes_a_hash_that_it_matches_and_the_file_is_its_owners(cluster: Cluster) -> None:
    file = users.store(cluster, "ann", TYPED)
    assert bcrypt.checkpw(TYPED, settings.of(cluster).users["ann"].encode())
    assert b"horse" not in file.read_bytes()
    assert stat.S_IMODE(file.stat().st_mode) == 0o600


def test_other_lines_of_the_file_stay_as_they_are(cluster: Cluster) -> None:
    file = cluster.credentials / "settings.toml"
    before = '# mine\ngateway_port  =  8443 # a port\n\n[prometheus]\nretention_time = "3d"\n'
    file.write_text(before)
    users.store(cluster, "ann", TYPED)
    users.store(cluster, "bob@example.org", TYPED)
    assert file.read_text().startswith(before)
    assert users.known(cluster) == ("ann", "bob@example.org")
    users.remove(cluster, "bob@example.org")
    assert users.known(cluster) == ("ann",)
    assert settings.of(cluster).gateway_port == 8443
    assert file.read_text().startswith(before)


def test_settings_that_a_link_leads_to_are_written_where_they_are(cluster: Cluster, tmp_path: Path) -> None:
    (tmp_path / "mine").mkdir()
    kept, link = tmp_path / "mine" / "shelf.toml", cluster.credentials / "settings.toml"
    kept.write_text("gateway_port = 8443\n")
    link.symlink_to(kept)
    users.store(cluster, "ann", TYPED)
    assert link.is_symlink()
    assert "ann" in kept.read_text()
    assert settings.of(cluster).gateway_port == 8443


def test_a_new_password_takes_the_old_ones_place(cluster: Cluster) -> None:
    users.store(cluster, "ann", TYPED)
    users.store(cluster, "ann", b"another one")
    assert bcrypt.checkpw(b"another one", settings.of(cluster).users["ann"].encode())
    assert users.known(cluster) == ("ann",)


def test_what_is_generated_will_do_and_is_another_each_time(cluster: Cluster) -> None:
    first, second = users.generated(), users.generated()
    assert first != second
    users.store(cluster, "ann", first.encode())


@pytest.mark.parametrize(
    ("typed", "told"),
    [
        (b"hunter2", "fewer than 8"),
        (b"", "fewer than 8"),
        (b"x" * 73, "has 73 bytes"),
        (b"hunter22\xff", "not UTF-8"),
        (b"hunter22\nhunter22", "a line's end"),
    ],
)
def test_a_password_that_will_not_do_is_refused_without_being_told(cluster: Cluster, typed: bytes, told: str) -> None:
    with pytest.raises(UserError, match=told) as seen:
        users.store(cluster, "ann", typed)
    assert "hunter2" not in seen.value.message
    assert not (cluster.credentials / "settings.toml").exists()


@pytest.mark.parametrize("name", ["", "a b", "a:b", "{", "ann\n"])
def test_a_name_that_a_browser_or_the_settings_cannot_say_is_refused(cluster: Cluster, name: str) -> None:
    with pytest.raises(UserError, match="is no name for a user"):
        users.store(cluster, name, TYPED)


def test_a_user_that_is_not_there_cannot_be_removed_and_the_others_are_named(cluster: Cluster) -> None:
    users.store(cluster, "ann", TYPED)
    with pytest.raises(UserError, match=r"there is no user 'bob'\n.*one of ann"):
        users.remove(cluster, "bob")


def test_a_user_of_all_clusters_is_not_gone_with_the_password_of_this_one(
    cluster: Cluster, monkeypatch: pytest.MonkeyPatch
) -> None:
    file = cluster.credentials / "clones.toml"
    file.write_text(
        f'{settings.FILE.read_text()}\nann = "{bcrypt.hashpw(b"another one", bcrypt.gensalt(4)).decode()}"\n'
    )
    monkeypatch.setattr(settings, "FILE", file)
    with pytest.raises(UserError, match=rf"ann stands in {file}.*\n  Try: take the line out there$"):
        users.remove(cluster, "ann")
    users.store(cluster, "ann", TYPED)
    with pytest.raises(UserError, match=rf"ann stands in {file}.*\n  Try: .* then the same command again"):
        users.remove(cluster, "ann")
    assert bcrypt.checkpw(TYPED, settings.of(cluster).users["ann"].encode()), "the other one holds no more than before"


def test_a_file_that_is_no_toml_is_told_and_left_alone(cluster: Cluster) -> None:
    file = cluster.credentials / "settings.toml"
    file.write_text("users = [")
    with pytest.raises(UserError, match=r"settings\.toml: "):
        users.store(cluster, "ann", TYPED)
    assert file.read_text() == "users = ["


def test_without_users_there_is_a_hint_and_with_one_there_is_none(cluster: Cluster) -> None:
    assert "python -m image --context attic user set NAME" in users.hint(cluster)
    users.store(cluster, "ann", TYPED)
    assert users.hint(cluster) == ""


def test_a_stack_that_is_taken_back_says_whom_it_lets_in_otherwise_than_today(cluster: Cluster) -> None:
    def stack() -> Rollout:
        """As a deploy would roll it out now."""
        values = {"cluster": "attic", "settings": table.values(settings.of(cluster))}
        text = template.render(values, template.FOLDER / users._CONFIG)
        return Rollout("services: {}\n", {users._CONFIG: text.encode()})

    users.store(cluster, "ann", TYPED)
    users.store(cluster, "bob@example.org", TYPED)
    users.store(cluster, "eve", TYPED)
    before = stack()
    assert users.taken_back(cluster, before) == ""
    users.store(cluster, "ann", b"another one")
    users.remove(cluster, "eve")
    users.store(cluster, "new", TYPED)
    told = users.taken_back(cluster, before)
    assert "for ann, eve, new until python -m image --context attic deploy" in told
    assert users.taken_back(cluster, stack()) == ""
    assert users.taken_back(cluster, Rollout("services: {}\n", {})) == "", "a revision that has no gateway"
