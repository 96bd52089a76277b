"""Secrets in a swarm, set, rotated and taken back while a service of two replicas reads them and serves."""

from __future__ import annotations

import hashlib
import json
import shutil
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest

from tests.commands import Lab, no_proxy, until
from tests.image.clone import Clone

PORT = 8099
SERVING = ("pi2", "pi3")
# Busybox serves the folder of its secrets, so what a task reads can be asked for; of course no other service should.
SERVICE = f"""\
services:
  teller:
    <<: *service
    image: {{{{ images.busybox }}}}
    command: [httpd, -f, -p, "8080", -h, /run/secrets]
    secrets:
      - {{source: word, target: word, uid: "65534", mode: 0400}}
    ports:
      - {{target: 8080, published: {PORT}, protocol: tcp, mode: host}}
    healthcheck:
      test: [CMD, /bin/busybox, wget, -q, -O, /dev/null, "http://127.0.0.1:8080/word"]
      interval: 1s
    stop_grace_period: 1s
    deploy:
      replicas: 2
      endpoint_mode: dnsrr
      placement: {{constraints: ["node.role == worker"], max_replicas_per_node: 1}}
      update_config: *update
      resources: {{limits: {{memory: 32M}}}}

"""
DECLARED = """\
secrets:
  word: {external: true, name: "{{ secrets.word }}"}

networks:
"""


@pytest.fixture
def teller(stack: Lab, clone: Clone) -> Iterator[Clone]:
    """A clone whose stack has a service that reads the secret `word`."""
    clone.edit("stack/stack.yml.j2", "\nservices:\n", f"\n{SERVICE}")
    clone.edit("stack/stack.yml.j2", "\nnetworks:\n", f"\n{DECLARED}")
    yield clone
    stack.image("deploy").ok()  # without the service
    stack.image("secret", "rm", "word").ok()
    assert stored(stack) == set()


def stored(lab: Lab) -> set[str]:
    """The swarm's secrets, as docker says."""
    return set(lab.docker("secret", "ls", "--format", "{{.Name}}").ok().split())


def said(lab: Lab, node: str) -> str:
    """What the task on a node reads; empty where none answers."""
    try:
        with no_proxy.open(f"http://{lab.address(node)}:{PORT}/word", timeout=30) as answer:
            return str(answer.read().decode())
    except OSError:
        return ""


def all_say(lab: Lab, word: str) -> bool:
    return all(said(lab, node) == word for node in SERVING)


@contextmanager
def watched(lab: Lab) -> Iterator[list[set[str]]]:
    """While the body runs: what the nodes answered, one round after the other; what did not answer is not in it.

    The first is asked once more at the end of a round: it may have come back before the second one went.
    """
    rounds: list[set[str]] = []
    done = threading.Event()

    def ask() -> None:
        while not done.is_set():
            rounds.append({said(lab, node) for node in (*SERVING, SERVING[0])} - {""})

    thread = threading.Thread(target=ask)
    thread.start()
    try:
        yield rounds
    finally:
        done.set()
        thread.join()


def revisions(lab: Lab) -> list[int]:
    return [one["number"] for one in json.loads(lab.image("history", "--json").ok())]


def test_a_secret_is_asked_for_set_rotated_and_taken_back(stack: Lab, teller: Clone, tmp_path: Path) -> None:
    # Asked for, before anything is changed; the rest of what would be is told all the same.
    before = revisions(stack)
    teller.image("deploy").refused("the secret word", f"python -m image --context {stack.name} secret set word")
    assert revisions(stack) == before
    looked = teller.image("diff")
    assert "+ teller: " in looked.ok()
    assert "secret set word" in looked.stderr
    rendered = teller.image("render")
    assert "teller:" in rendered.ok()
    assert "secret set word" in rendered.stderr

    # Set, and read; the value is nowhere but there.
    first = teller.image("-v", "secret", "set", "word", given="correct horse\n")
    first.ok()
    assert "correct horse" not in first.said
    (one,) = stored(stack)
    assert one.startswith("shelf_word-")
    assert hashlib.sha256(b"correct horse").hexdigest()[:12] not in one
    rolled_out = teller.image("-v", "deploy")
    assert "deployed teller" in rolled_out.ok()
    assert "correct horse" not in rolled_out.said
    until(lambda: all_say(stack, "correct horse"))
    again = teller.image("secret", "set", "word", given="correct horse")
    assert "nothing to do" in again.stderr
    assert stored(stack) == {one}

    # Rotated: what runs keeps the old value until the deploy, and one replica or the other serves throughout.
    told = teller.image("secret", "set", "word", given="battery staple")
    assert f"shelf_teller has an older one until python -m image --context {stack.name} deploy" in told.stderr
    assert len(stored(stack)) == 2
    assert all_say(stack, "correct horse")
    (row,) = json.loads(teller.image("secret", "list", "--json").ok())
    assert (row["name"], row["version"], row["services"], row["behind"]) == ("word", 2, [], ["shelf_teller"])
    with watched(stack) as rounds:
        assert "deployed teller" in teller.image("deploy").ok()
    assert all_say(stack, "battery staple")
    assert all(rounds), "for a moment none of the two answered"
    assert set().union(*rounds) == {"correct horse", "battery staple"}
    (row,) = json.loads(teller.image("secret", "list", "--json").ok())
    assert (row["services"], row["behind"]) == (["shelf_teller"], [])
    stack.image("secret", "rm", "word").refused("shelf_teller has the secret word")

    # Taken back: the revision before has the value of its time, and the next deploy today's.
    first_revision = revisions(stack)[1]
    teller.image("rollback").ok()
    assert all_say(stack, "correct horse")
    assert "word" in json.loads(teller.image("history", "--json").ok())[0]["secrets"]
    teller.image("deploy").ok()
    assert all_say(stack, "battery staple")

    # A value of another controller, which has a key of its own, is the newest for all.
    shutil.copytree(stack.folder, tmp_path / "login", ignore=shutil.ignore_patterns("secrets.key"))
    teller.image("secret", "set", "word", given="correct horse", folder=tmp_path / "login").ok()
    assert len(stored(stack)) == 3
    teller.image("deploy").ok()
    assert all_say(stack, "correct horse")

    # What a revision needs and somebody threw away is told before anything changes.
    stack.docker("secret", "rm", one).ok()
    teller.image("rollback", str(first_revision)).refused("no longer has: the secret", one)
    assert all_say(stack, "correct horse")

    # What neither a service nor a kept revision needs is forgotten.
    assert len(stored(stack)) == 2
    teller.edit("stack/settings.toml", "keep_revisions = 10", "keep_revisions = 1")
    teller.edit("stack/stack.yml.j2", "x-service:", "# Words.\nx-service:")
    teller.image("deploy").ok()
    (left,) = stored(stack)
    assert left != one
    assert all_say(stack, "correct horse")


def test_a_password_is_made_and_shown_once(stack: Lab) -> None:
    made = stack.image("secret", "set", "made", "--generate")
    try:
        (password,) = made.ok().split()
        assert len(password) >= 20
        assert password not in made.stderr
        assert "stored version 1 of made" in made.stderr
        listed = stack.image("secret", "list").ok()
        assert "made" in listed
        assert password not in listed
    finally:
        stack.image("secret", "rm", "made").ok()


@pytest.mark.parametrize(
    ("given", "told"),
    [("", "is empty"), ("\n", "is empty"), ("x" * 600_000, "has 600000 bytes")],
    ids=["nothing", "a-newline", "too-much"],
)
def test_what_no_swarm_takes_is_told_and_nothing_is_stored(stack: Lab, clone: Clone, given: str, told: str) -> None:
    before = stored(stack)
    clone.image("secret", "set", "word", given=given).refused(told)
    assert stored(stack) == before


def test_a_secret_that_is_not_there_is_answered_with_the_nearest(stack: Lab, clone: Clone) -> None:
    clone.image("secret", "set", "smtp_password", given="x").ok()
    try:
        stack.image("secret", "rm", "smtp_pasword").refused("no secret 'smtp_pasword'", "'smtp_password'")
    finally:
        stack.image("secret", "rm", "smtp_password").ok()
