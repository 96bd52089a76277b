"""What the history says of each revision, on values."""

from __future__ import annotations

from dataclasses import replace

from image.stack.changelog import entries, lines
from image.stack.history import Revision, State
from image.stack.rollout import Rollout

TAGS = {f"r/web@sha256:{number}": f"v{number}-abc" for number in (1, 2)}


def revision(number: int, compose: str, state: State = "good", note: str = "", **files: bytes) -> Revision:
    return Revision(number, state, "2026-01-02T03:04:05+00:00", "ann@desk", "", note, Rollout(compose, files, TAGS))


ONE = revision(1, "services: {web: {image: 'r/web@sha256:1'}, old: {image: x}}", rules=b"a")
TWO = revision(
    2, "services: {web: {image: 'r/web@sha256:2', tty: true}, old: {image: x, tty: true}, new: {image: y}}", rules=b"b"
)
THREE = revision(3, "services: {web: {image: 'r/web@sha256:1'}}", "failed", "rollback to 1", rules=b"b")


def test_the_newest_comes_first_and_is_marked():
    assert [(one.revision.number, one.last) for one in entries([ONE, TWO])] == [(2, True), (1, False)]
    assert entries([]) == ()


def test_the_first_revision_has_new_services_only():
    (first,) = entries([ONE])
    assert first.sentence == "new web, old"


def test_images_are_told_by_their_tags_and_services_by_what_happened_to_them():
    third, second, _ = entries([ONE, TWO, THREE])
    assert second.sentence == "web v1-abc -> v2-abc; new new; settings of old; files rules"
    assert third.sentence == "web v2-abc -> v1-abc; gone old, new"


def test_a_secret_of_another_value_is_told_by_its_name():
    compose = "services: {web: {image: x}}\nsecrets: {password: {external: true, name: shelf_password-%012x}}"
    assert entries([revision(1, compose % 1), revision(2, compose % 2)])[0].sentence == "secrets password"


def test_a_revision_that_differs_in_a_comment_says_so():
    again = replace(ONE, number=2, rollout=replace(ONE.rollout, compose=f"# A comment.\n{ONE.rollout.compose}"))
    assert entries([ONE, again])[0].sentence == "nothing but words"


def test_programs_get_the_same_and_the_references():
    values = entries([ONE, TWO])[0].values
    assert (values["number"], values["last"], values["by"]) == (2, True, "ann@desk")
    assert values["images"] == {"web": ("v1-abc", "v2-abc")}
    assert values["references"]["web"] == "r/web@sha256:2"


def test_a_line_says_who_and_when_and_why():
    assert lines(entries([TWO, THREE]))[0] == "*   3  2026-01-02 03:04:05 UTC  failed  ann@desk  rollback to 1"


def test_a_revision_that_cannot_be_read_is_listed_and_passed_over():
    broken = replace(TWO, state="unreadable", rollout=Rollout("services: {}", {}), by="", time="", note="no gzip")
    three, two, _ = entries([ONE, broken, replace(TWO, number=3)])
    assert (two.sentence, two.added, two.removed) == ("cannot be read", (), ())
    assert three.sentence == entries([ONE, TWO])[0].sentence
    assert lines([two])[0].split() == ["2", "unreadable", "no", "gzip"]
