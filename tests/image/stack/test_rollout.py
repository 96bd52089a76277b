"""A compose file and its files, on values."""

from __future__ import annotations

import re
from pathlib import Path

import pytest

from image.cluster import Cluster, Endpoint
from image.errors import UserError
from image.stack.rollout import Rollout, named_by_content, object_name, tell

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
        ("configs: {a: {file: /etc/shadow}}\n" + WEB % "", {}, ("/etc/shadow",)),
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
    with pytest.raises(UserError, match="has no services"):
        _ = Rollout("services:\n", {}).images


@pytest.mark.parametrize(
    ("compose", "said"),
    [
        ("services: {web: }", "services.web of the compose file has nothing in it"),
        ("services: {web: [a]}", "services.web of the compose file is ['a'], and no table"),
        ("configs: [a]\n" + WEB % "", "configs of the compose file is ['a'], and no table"),
        ("configs: {a: b}\n" + WEB % "", "configs.a of the compose file is 'b', and no table"),
        ("secrets: {a: 5}\n" + WEB % "", "secrets.a of the compose file is 5, and no table"),
        (WEB % ", env_file: 5", "names files that do not belong to it: 5"),
        (WEB % ", env_file: [{path: a}]", "names files that do not belong to it: {'path': 'a'}"),
    ],
)
def test_what_is_no_compose_file_is_told_in_words_and_not_by_a_mistake_of_ours(compose, said):
    with pytest.raises(UserError) as seen:
        Rollout(compose, {}).refuse_what_is_not_whole()
    assert said in seen.value.message


@pytest.mark.parametrize(
    ("compose", "files", "said"),
    [
        ("configs: {a: {file: b}}\n" + WEB % "", {}, "names files that do not belong to it: b"),
        (WEB % ", hostname: $HOME", {}, "line 1: .*HOME.* from your environment"),
        (WEB % ", environment: [AWS_SECRET]", {}, "environment.AWS_SECRET"),
        (WEB % ", env_file: v", {"v": b"# comment\n\nA=\nAWS_SECRET\n"}, "v: .*AWS_SECRET from your environment$"),
        ("secrets: {pw: {file: configs/pw}}\n" + WEB % "", {"configs/pw": b"x"}, "secrets.pw.file"),
    ],
)
def test_docker_is_not_told_what_is_not_whole_or_secret(compose, files, said):
    with pytest.raises(UserError) as seen:
        Rollout(compose, files).refuse_what_is_not_whole()
    assert re.search(said, seen.value.message.partition("\n  Try:")[0])


def test_docker_reads_nothing_of_the_environment_but_what_leads_to_a_manager(tmp_path, monkeypatch):
    docker = tmp_path / "docker"
    docker.write_text(f"#!/bin/sh\nenv >{tmp_path}/seen\n")
    docker.chmod(0o700)
    # the clone's own tools come first
    monkeypatch.setattr("image.run._OURS", (str(tmp_path),))
    for name, value in {"AWS_SECRET": "x", "DOCKER_CERT_PATH": "old", "HTTPS_PROXY": "p", "HOME": "/h"}.items():
        monkeypatch.setenv(name, value)
    tell(Rollout(WEB % "", {}), Cluster("attic", Endpoint("tcp://127.0.0.1:1", tmp_path), (), Path("/c")))
    seen = dict(line.split("=", 1) for line in (tmp_path / "seen").read_text().splitlines())
    assert "AWS_SECRET" not in seen
    expected = {"HTTPS_PROXY": "p", "HOME": "/h", "DOCKER_CERT_PATH": str(tmp_path), "DOCKER_CONFIG": "/c"}
    assert expected.items() <= seen.items()


DIGEST = "sha256:" + "1" * 64
OWN = f"pi1:5000/busybox@{DIGEST}"
ROLLOUT = Rollout(
    f"services:\n  web: {{image: '{OWN}'}}\n  mirrored: {{image: 'pi1:5000/mirror/x@{DIGEST}'}}\n"
    f"  other: {{image: 'docker.io/library/other@{DIGEST}'}}\n  tagged: {{image: 'docker.io/library/other:1'}}\n",
    {"configs/a": b"a"},
    {OWN: "v1"},
)


def test_a_rollout_has_its_images_from_where_the_registry_is_now_if_they_are_there():
    here = ROLLOUT.found_at("pi2:5000", lambda reference: "other" not in reference)
    moved = ROLLOUT.moved(here)
    assert moved.images == {
        "web": f"pi2:5000/busybox@{DIGEST}",
        "mirrored": f"pi2:5000/mirror/x@{DIGEST}",
        "other": f"docker.io/library/other@{DIGEST}",
        "tagged": "docker.io/library/other:1",
    }
    assert (moved.tags, moved.files) == ({f"pi2:5000/busybox@{DIGEST}": "v1"}, ROLLOUT.files)
    assert moved.same(ROLLOUT)
    assert moved != ROLLOUT


def test_what_a_registry_that_has_moved_lacks_is_known_although_it_is_named_at_the_old_address():
    assert ROLLOUT.found_at("pi2:5000", lambda _: False) == {}
    assert ROLLOUT.ours("pi2:5000") == {OWN, f"pi1:5000/mirror/x@{DIGEST}"}


def test_the_names_of_a_rollouts_secrets_are_those_that_the_swarm_must_have():
    here = "a: {external: true, name: shelf_a-0123456789ab}, b: {external: true}, d: {external: {name: e}}"
    compose = f"secrets: {{{here}, c: {{file: x}}}}\n"
    assert Rollout(compose + WEB % "", {}).secrets == {"shelf_a-0123456789ab", "b", "e"}
    assert Rollout(WEB % "", {}).secrets == frozenset()


def test_the_names_of_a_rollouts_configs_are_the_swarms():
    compose = "configs: {rules: {name: shelf_rules_0123456789ab, file: a}, plain: {file: b}}\n" + WEB % ""
    assert Rollout(compose, {}).configs == {"shelf_rules_0123456789ab", "shelf_plain"}
