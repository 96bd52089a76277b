"""A compose file and its files, on values."""

from __future__ import annotations

import pytest

from image.errors import UserError
from image.rollout import Rollout, named_by_content, object_name

WEB = "services: {web: {image: x%s}}\n"


def test_the_files_lie_where_the_compose_file_names_them():
    rollout = Rollout("configs: {a: {file: configs/a.yml}}\n" + WEB % "", {"configs/a.yml": b"\xff"})
    with rollout.laid_out() as folder:
        assert (folder / "configs" / "a.yml").read_bytes() == b"\xff"
    assert not folder.exists()
    assert rollout.lacking == ()


@pytest.mark.parametrize(
    ("compose", "files", "lacking"),
    [
        ("configs: {a: {file: b}}\n" + WEB % "", {"a": b""}, ("b",)),
        ("secrets: {a: {file: /etc/shadow}}\n" + WEB % "", {}, ("/etc/shadow",)),
        (WEB % ", env_file: [a, b]", {"a": b""}, ("b",)),
        (WEB % ", env_file: a", {}, ("a",)),
        (WEB % ", credential_spec: {file: a}", {}, ("a",)),
        ("configs: {a: {file: ../a}}\n" + WEB % "", {"../a": b""}, ("../a",)),
        (WEB % "", {"/a": b""}, ("/a",)),
        ("configs: {a: {external: true, name: b}, c: }\n" + WEB % "", {}, ()),
    ],
)
def test_a_file_that_the_rollout_does_not_bring_along_is_found(compose, files, lacking):
    assert Rollout(compose, files).lacking == lacking


def test_a_name_by_content_is_known_from_a_persons_own():
    assert named_by_content(object_name("rules", b"one"))
    assert object_name("rules", b"one") != object_name("rules", b"two")
    assert not named_by_content("shelf_rules")
    assert not named_by_content("shelf-revision-1")


def test_what_is_no_yaml_is_told_in_words():
    with pytest.raises(UserError, match="is not YAML"):
        _ = Rollout("a: [", {}).images
