"""What is recorded of others' images, and which index each makes; on values."""

from __future__ import annotations

import json
from contextlib import nullcontext
from dataclasses import replace
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from image.cluster import Cluster, Endpoint, Node
from image.errors import UserError
from image.platform import Platform
from image.registry import mirror, mirrors, skopeo
from image.registry.client import Login, Registry
from image.registry.mirror import Upstream
from image.registry.mirrors import Mirror
from image.registry.reference import Reference
from image.registry.skopeo import Access, Skopeo
from image.stack import template

DIGESTS = [f"sha256:{number:064x}" for number in range(9)]
GRAFANA = Mirror("grafana", Reference.parse("grafana/grafana:12"), digest=DIGESTS[1], index=DIGESTS[2])
OTHER = Mirror("other", Reference.parse("ghcr.io/someone/other:1"), enabled=False)
RECORDED = {"grafana": GRAFANA, "other": OTHER}


def entry(number: int, platform: str, **more: object) -> dict[str, object]:
    words = ("os", "architecture", "variant")
    return {
        "mediaType": "application/vnd.oci.image.manifest.v1+json",
        "digest": DIGESTS[number],
        "size": 7,
        "platform": dict(zip(words, platform.split("/"), strict=False)),
        **more,
    }


def about(number: int) -> dict[str, object]:
    return {"annotations": {"vnd.docker.reference.digest": DIGESTS[number]}}


INDEX = {
    "schemaVersion": 2,
    "mediaType": "application/vnd.docker.distribution.manifest.list.v2+json",
    "manifests": [
        entry(1, "linux/amd64"),
        entry(2, "linux/arm64/v8"),
        entry(3, "linux/arm/v6"),
        entry(4, "windows/amd64"),
        entry(5, "unknown/unknown", **about(1)),
        entry(6, "unknown/unknown", **about(2)),
    ],
}
# Spaces: a person's or a program's own way to write JSON is a part of the digest.
UPSTREAM = Upstream(DIGESTS[0], json.dumps(INDEX, indent=3).encode())


def test_all_platforms_are_upstreams_own_bytes() -> None:
    assert UPSTREAM.only(["all"]) == UPSTREAM.index


def test_some_platforms_come_with_what_tells_of_them_and_nothing_else() -> None:
    found = json.loads(UPSTREAM.only(["linux/arm64"]))
    assert [one["digest"] for one in found["manifests"]] == [DIGESTS[2], DIGESTS[6]]
    assert found["mediaType"] == INDEX["mediaType"], "a manifest list stays one"
    assert found["manifests"][0] == INDEX["manifests"][1], "an entry is taken over as it is"


def test_the_same_platforms_make_the_same_index_in_any_clone() -> None:
    assert UPSTREAM.only(["linux/arm64", "linux/amd64"]) == UPSTREAM.only(["linux/amd64", "linux/arm64"])


def test_what_tells_of_an_image_is_for_no_platform() -> None:
    assert [child.platform for child in UPSTREAM.children][-2:] == ["", ""]


def test_without_words_all_that_is_enabled_is_meant() -> None:
    assert mirror.chosen(RECORDED) == (GRAFANA,)


def test_a_name_enables_what_is_recorded_under_it() -> None:
    assert mirror.chosen(RECORDED, ["other"]) == (replace(OTHER, enabled=True),)


def test_a_reference_is_recorded_after_its_repository() -> None:
    (found,) = mirror.chosen(RECORDED, ["portainer/portainer-ce:2.45.0"])
    assert (found.name, str(found.source)) == ("portainer_ce", "docker.io/portainer/portainer-ce:2.45.0")


def test_a_reference_is_recorded_under_the_name_that_was_asked_for() -> None:
    (found,) = mirror.chosen(RECORDED, ["portainer/portainer-ce:2.45.0"], "portainer")
    assert found.name == "portainer"


def test_another_tag_of_a_recorded_repository_takes_its_place_and_forgets_its_digest() -> None:
    (found,) = mirror.chosen(RECORDED, ["grafana/grafana:13"])
    assert (found.name, found.source.tag, found.digest, found.index) == ("grafana", "13", "", "")


def test_the_same_tag_keeps_its_digest() -> None:
    assert mirror.chosen(RECORDED, ["docker.io/grafana/grafana:12"]) == (GRAFANA,)


def test_an_image_of_the_same_name_from_elsewhere_needs_a_name_of_its_own() -> None:
    with pytest.raises(UserError, match=r"grafana is recorded already, as a mirror of docker\.io/grafana/grafana:12"):
        mirror.chosen(RECORDED, ["ghcr.io/else/grafana:1"])
    (found,) = mirror.chosen(RECORDED, ["ghcr.io/else/grafana:1"], "theirs")
    assert found.name == "theirs"


class Sources(Skopeo):
    """Registries of which some do not answer."""

    def manifest(self, source: Reference, digest: str = "") -> str:  # noqa: ARG002 - as in the base class
        if source.domain == "gone.example.org":
            raise UserError("gone.example.org does not answer")
        return json.dumps(INDEX)


def test_a_source_that_does_not_answer_keeps_no_other_from_being_mirrored(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(mirror, "_has", lambda *_: False)
    node = Node("n1", "pi1", "198.18.0.11", "manager", True, Platform.parse("linux/arm64"))
    cluster = Cluster("attic", Endpoint("tcp://198.18.0.11:2376"), (node,), tmp_path)
    tool = Sources(Access(), Registry("198.18.0.11:5000", Login("shelf", "x")), tmp_path)
    wanted = mirror.chosen({}, ["gone.example.org/gone:1", "redis:8"])
    jobs, failed = mirror.plan(tool, cluster, wanted, None, update=False)
    assert [job.mirror.name for job in jobs] == ["redis"]
    assert [str(error) for error in failed] == ["gone.example.org does not answer"]


def test_what_is_there_is_recorded_also_where_another_source_does_not_answer(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A mirror that was off, and whose image the registry has, is on then; the other stays unknown."""
    registry, file = Registry("198.18.0.11:5000", Login("shelf", "x")), tmp_path / "mirrors.toml"
    monkeypatch.setattr(Registry, "of", lambda _: registry)
    monkeypatch.setattr(mirror, "_has", lambda _, one: one.name == "off")
    monkeypatch.setattr(skopeo, "ready", lambda *_: nullcontext(Sources(Access(), registry, tmp_path)))
    off = replace(GRAFANA, name="off", source=Reference.parse("grafana/off:1"), enabled=False)
    mirrors.record(off, file)
    wanted = mirror.chosen(mirrors.read(file), ["gone.example.org/gone:1", "off"])
    cluster = Cluster("attic", Endpoint("tcp://198.18.0.11:2376"), (), tmp_path)
    with pytest.raises(UserError, match=r"gone\.example\.org does not answer"):
        mirror.mirror(cluster, wanted, Access(), lambda _: pytest.fail("something was copied"), file)
    assert mirrors.read(file) == {"off": replace(off, enabled=True)}


@pytest.mark.parametrize("words", [[], ["redis", "caddy"]])
def test_a_name_is_for_one_reference(words: list[str]) -> None:
    with pytest.raises(UserError, match="--name x belongs to one reference"):
        mirror.chosen(RECORDED, words, "x")


@pytest.mark.parametrize(
    "words", [["redis:7", "redis:8"], ["ghcr.io/a/x:1", "quay.io/b/x:1"], ["grafana", "grafana/grafana:13"]]
)
def test_of_two_references_of_one_name_none_is_left_out_without_a_word(words: list[str]) -> None:
    with pytest.raises(UserError, match=r"would both be recorded as .*\n  Try: .*--name ANOTHER"):
        mirror.chosen(RECORDED, words)
    assert len(mirror.chosen(RECORDED, [words[0], words[0]])) == 1


def test_other_platforms_are_another_index() -> None:
    (found,) = mirror.chosen(RECORDED, ["grafana"], every=False)
    assert (found.digest, found.index) == (GRAFANA.digest, "")


def test_a_tag_in_our_registry_changes_with_what_it_means() -> None:
    assert GRAFANA.tag == "12-000000000000"
    assert replace(GRAFANA, index=f"sha256:{'a' * 64}").tag == "12-aaaaaaaaaaaa"
    assert replace(GRAFANA, source=Reference.parse(f"grafana/grafana@{DIGESTS[1]}")).tag == "000000000000"


def test_nothing_is_asked_of_anyone_where_no_mirror_is_enabled(tmp_path: Path) -> None:
    node = Node("n1", "pi1", "198.18.0.11", "manager", True, Platform.parse("linux/arm64"))
    mirrors.record(OTHER, tmp_path / "mirrors.toml")
    nowhere = Cluster("attic", Endpoint("tcp://198.18.0.11:2376"), (node,), Path("/nowhere"))
    assert mirror.references(nowhere, file=tmp_path / "mirrors.toml") == {}


def test_the_clones_own_examples_are_read_and_off() -> None:
    found = mirrors.read()
    assert {"portainer", "grafana"} <= set(found)
    assert not any(found[name].enabled for name in ("portainer", "grafana"))
    assert mirrors.FILE.read_text() == mirrors.dump(found.values()), "as the program itself would write it"


def test_a_template_says_a_mirror_by_its_name(tmp_path: Path) -> None:
    file = tmp_path / "stack.yml.j2"
    file.write_text("{% if mirrors.grafana is defined %}image: {{ mirrors.grafana }}{% endif %}")
    assert template.render({"mirrors": {"grafana": GRAFANA.reference("pi:5000")}}, file) == (
        f"image: pi:5000/mirror/grafana@{DIGESTS[2]}"
    )
    assert template.render({"mirrors": {}}, file) == ""


@given(
    st.from_regex(r"[a-z][a-z0-9_]{0,9}", fullmatch=True),
    st.booleans(),
    st.text(st.characters(exclude_categories=["Cs"]), max_size=30),
    st.lists(st.sampled_from(["all", "linux/arm64", "linux/arm/v7"]), min_size=1, max_size=2).map(tuple),
    st.sampled_from([("", ""), (DIGESTS[1], DIGESTS[2])]),
)
def test_what_is_recorded_is_read_again(
    name: str, enabled: bool, note: str, platforms: tuple[str, ...], digests: tuple[str, str]
) -> None:
    entry = Mirror(name, Reference.parse("grafana/grafana:12"), enabled, note, platforms, *digests)
    text = mirrors.dump([entry])
    assert mirrors.parse(text, "x") == {name: entry}


def test_a_record_is_sorted_whole_and_leaves_nothing_else_behind(tmp_path: Path) -> None:
    file = tmp_path / "mirrors.toml"
    for one in (OTHER, GRAFANA):
        mirrors.record(one, file)
    first = file.read_text()
    assert first.index("[grafana]") < first.index("[other]")
    mirrors.record(replace(GRAFANA, note="mine"), file)
    assert mirrors.read(file) == {"grafana": replace(GRAFANA, note="mine"), "other": OTHER}
    assert list(tmp_path.iterdir()) == [file]


def test_what_is_recorded_already_is_not_written_again(tmp_path: Path) -> None:
    file = tmp_path / "mirrors.toml"
    mirrors.record(GRAFANA, file)
    file.write_text(f"{file.read_text()}# a person's\n")
    mirrors.record(GRAFANA, file)
    assert file.read_text().endswith("# a person's\n")


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("[grafana]\n", r"\[grafana\]: 'source' is missing"),
        ('[grafana]\nsource = "x"\nenable = true\n', r"unknown key 'enable'\n  Try: 'enabled'"),
        ('[grafana]\nsource = "X/y/Z"\n', "no image's reference"),
        ('[graf-ana]\nsource = "x"\n', "'graf-ana' is no name"),
        ('grafana = "x"\n', r"\[grafana\] is not a table"),
        ('[grafana]\nsource = "x"\ndigest = "sha256:1"\n', "digest = 'sha256:1' is not a digest"),
        (f'[grafana]\nsource = "x"\ndigest = "{DIGESTS[1]}"\n', "digest and index belong together"),
        ("[grafana\n", "mirrors.toml: "),
    ],
)
def test_a_wrong_record_is_told_by_its_place(tmp_path: Path, text: str, message: str) -> None:
    file = tmp_path / "mirrors.toml"
    file.write_text(text)
    with pytest.raises(UserError, match=message):
        mirrors.read(file)
