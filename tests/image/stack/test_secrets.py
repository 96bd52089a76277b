"""Secrets' names and versions, on values; what a terminal and a pipe say."""

from __future__ import annotations

import os
import pty
import subprocess
import sys
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from image.cluster import Cluster, Endpoint
from image.errors import UserError
from image.stack import secrets, template
from image.stack.secret_input import without_newline
from image.stack.secrets import Names, Row, Stored, Version
from tests.commands import ROOT

CLUSTER = Cluster("attic", Endpoint("tcp://198.18.0.11:2376"), (), Path("/nowhere"))


def attrs(name: str, number: object, label: str = "password", index: int = 7, **labels: str) -> dict[str, object]:
    """As the Engine API gives a secret."""
    ours = {"pishelf.stack": "shelf", "pishelf.secret": label, "pishelf.version": str(number)}
    spec = {"Name": name, "Labels": {**ours, **labels}}
    times = {"CreatedAt": "2026-01-02T03:04:05.6Z", "UpdatedAt": "2026-01-02T03:04:05.6Z"}
    return {"ID": f"id of {name}", "Version": {"Index": index}, "Spec": spec, **times}


def service(name: str, *held: str) -> dict[str, object]:
    """As the Engine API gives a service."""
    container = {"Secrets": [{"SecretName": one} for one in held]} if held else {}
    return {"Spec": {"Name": name, "TaskTemplate": {"ContainerSpec": container}}}


# Names


@given(st.binary(min_size=1), st.binary(min_size=1), st.binary(min_size=32, max_size=32))
def test_another_value_has_another_name_and_the_same_one_the_same(one, two, key):
    names = [secrets.name_of("password", value, key) for value in (one, two)]
    assert (names[0] == names[1]) == (one == two)


def test_a_name_tells_nothing_to_who_lacks_the_key():
    names = {secrets.name_of("password", b"hunter2", bytes([number] * 32)) for number in range(20)}
    assert len(names) == 20


def test_the_longest_name_is_one_that_a_swarm_takes():
    assert len(secrets.name_of("a" * 45, b"x", b"k")) <= 64
    with pytest.raises(UserError, match="is no name for a secret"):
        secrets.check_name("a" * 46)


@pytest.mark.parametrize("name", ["", "Password", "smtp-password", "1st", "a b", "ä"])
def test_what_a_template_could_not_say_is_no_name(name):
    with pytest.raises(UserError, match=f"{name!r} is no name for a secret"):
        secrets.check_name(name)


def test_a_template_gets_the_newest_versions_name_and_one_of_its_own_where_there_is_none():
    names = Names({"password": "shelf_password-0123456789ab"})
    assert (names["password"], names["get"]) == ("shelf_password-0123456789ab", "shelf_get-missing")
    with pytest.raises(KeyError):
        names["not-a-name"]


# Versions


def test_the_newest_version_is_the_one_that_was_set_last_wherever_the_swarm_lists_it():
    found = Version.all([attrs("b", 10), attrs("a", 9), attrs("c", 2, "other")])
    assert [(one.secret, one.name) for one in found] == [("other", "c"), ("password", "a"), ("password", "b")]


def test_of_two_that_were_set_at_once_the_swarms_own_order_counts():
    assert [one.name for one in Version.all([attrs("b", 2, index=9), attrs("a", 2, index=8)])] == ["a", "b"]


def test_a_secret_of_a_person_or_of_another_stack_is_none_of_ours():
    others = [
        {**attrs("x", 1), "Spec": {"Name": "x"}},
        attrs("y", 1, **{"pishelf.stack": "other"}),
        attrs("z", "first"),
        attrs("w", 1, "No Name"),
    ]
    assert Version.all(others) == ()


def test_what_was_labelled_is_what_is_read():
    one = Version("password", 3, "shelf_password-0123456789ab")
    assert Version.all([attrs(one.name, 0, **one.labels)]) == (one,)


def test_versions_that_nothing_needs_go_and_the_newest_stays_whoever_needs_it():
    there = Version.all([attrs("a", 1), attrs("b", 2), attrs("c", 3), attrs("x", 1, "other")])
    assert [one.name for one in secrets.unneeded(there, {"b"})] == ["a"]
    assert [one.name for one in secrets.unneeded(there, set())] == ["a", "b"]


def test_who_has_a_secret_is_read_from_the_services():
    services = [service("shelf_web", "a", "b"), service("shelf_mail", "b"), service("shelf_plain")]
    assert secrets.users(services, {"b"}) == ("shelf_mail", "shelf_web")
    assert secrets.users(services, {"c"}) == ()


# Words


def test_what_is_missing_is_told_with_the_command_that_sets_it():
    names = ("shelf_smtp_password-missing", "shelf_old-0123456789ab", "grafana")
    assert secrets.plain(names) == "smtp_password, old, grafana"
    assert secrets.how_to_set(CLUSTER, names) == (
        "python -m image --context attic secret set smtp_password; python -m image --context attic secret set old; "
        "docker --context attic secret create grafana -"
    )


@pytest.mark.parametrize(
    ("new", "services", "told"),
    [
        (True, (), "stored version 2 of password as n; services that name it get it with CMD deploy"),
        (True, ("shelf_web",), "stored version 2 of password as n; shelf_web has an older one until CMD deploy"),
        (False, (), "nothing to do: password has this very value, stored as n"),
        (
            False,
            ("a", "b"),
            "nothing to do: password has this very value, stored as n; a, b have an older one until CMD deploy",
        ),
    ],
)
def test_what_was_stored_is_told_with_what_comes_next(new, services, told):
    assert Stored(Version("password", 2, "n"), new, services).sentence("CMD") == told


def test_a_secret_that_the_stack_does_not_name_is_told_with_the_nearest(tmp_path):
    file = tmp_path / "stack.yml.j2"
    file.write_text('name: {{ secrets.grafana_password }}\nname: {{ secrets["word"] }}')
    assert template.unnamed("grafana_password", file) == template.unnamed("word", file) == ""
    said = "Warning: nothing in stack.yml.j2 names the secret"
    assert template.unnamed("grafana_passwort", file) == f"{said} grafana_passwort; it names grafana_password"
    assert template.unnamed("x", file) == f"{said} x"


def test_the_table_says_who_is_behind():
    row = Row("password", 2, "2026-01-02T03:04:05.6Z", "n", ("shelf_mail",), ("shelf_web",))
    assert secrets.lines([row]) == [
        "NAME      VERSION  SET                   SERVICES",
        "password  2        2026-01-02 03:04 UTC  shelf_mail, shelf_web (an older version, until deploy)",
    ]
    assert secrets.lines([]) == ["no secrets yet: python -m image secret set NAME"]


# The key


def test_the_key_is_made_once_and_its_owner_alone_reads_it(tmp_path):
    first = secrets._key(tmp_path)
    assert secrets._key(tmp_path) == first
    assert len(first) == 32
    assert (tmp_path / secrets.KEY).stat().st_mode & 0o777 == 0o600


@pytest.mark.parametrize("text", ["", "0123", "z" * 64])
def test_a_damaged_key_is_refused_and_not_taken_for_one(tmp_path, text):
    (tmp_path / secrets.KEY).write_text(text)
    with pytest.raises(UserError, match="is damaged"):
        secrets._key(tmp_path)


# What a person or a program says


@pytest.mark.parametrize(
    ("said", "value"),
    [(b"a\n", b"a"), (b"a\r\n", b"a"), (b"a\n\n", b"a\n"), (b"a", b"a"), (b"a\r", b"a\r"), (b"\xff\n", b"\xff")],
)
def test_one_newline_at_the_end_is_no_part_of_a_value(said, value):
    assert without_newline(said) == value


_ASK = "from image.stack import secret_input; print(len(secret_input.read('password')))"


def typed(*lines: str) -> tuple[str, int]:
    """What a terminal shows while somebody types there, and the exit code."""
    ours, theirs = pty.openpty()
    with subprocess.Popen(
        [sys.executable, "-c", f"import click\n@click.command()\ndef main():\n  {_ASK}\nmain()"],
        cwd=ROOT, stdin=theirs, stdout=theirs, stderr=theirs, start_new_session=True,
    ) as it:  # fmt: skip
        os.close(theirs)
        said = b""
        for line in lines:
            while not said.endswith(b": "):
                said += os.read(ours, 1000)
            os.write(ours, line.encode())
            said += b"|"
        try:
            while more := os.read(ours, 1000):
                said += more
        except OSError:  # the other end is closed
            pass
        code = it.wait(60)
    os.close(ours)
    return said.decode(), code


def test_a_terminal_is_asked_twice_and_shows_nothing_of_the_value():
    said, code = typed("hunter22\n", "hunter22\n")
    assert code == 0, said
    assert "hunter" not in said
    assert said.split() == ["password:", "|", "password", "again:", "|", "8"]


def test_two_that_differ_are_not_stored():
    said, code = typed("hunter22\n", "hunter23\n")
    assert code == 1
    assert "differ, and nothing was stored" in said
    assert "hunter" not in said
