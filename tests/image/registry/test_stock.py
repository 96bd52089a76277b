"""What stays in a registry and what goes, on values."""

from __future__ import annotations

import hashlib
import io
import json
import tarfile
from collections.abc import Mapping
from datetime import UTC, datetime, timedelta

import pytest
from hypothesis import given
from hypothesis import strategies as st

from image.errors import UserError
from image.registry import copying, inspection, links, listing, referrers, selection, usage
from image.registry.links import Links, Tag
from image.registry.manifest import INDEX, MANIFEST, Descriptor, Manifest
from image.registry.stock import Item, Stock
from image.registry.usage import Use
from image.upkeep import collect
from image.upkeep.collect import Cleaning, Freed, Wanted, kept


def digest(word: str) -> str:
    return f"sha256:{hashlib.sha256(word.encode()).hexdigest()}"


def index(word: str, *children: str, subject: str = "") -> Manifest:
    entries = tuple(Descriptor(digest(child), 10, platform=f"linux/{child}") for child in children)
    return Manifest(digest(word), 10, INDEX, entries, subject=digest(subject) if subject else "")


def image(word: str, *layers: str, subject: str = "") -> Manifest:
    blobs = tuple(Descriptor(digest(layer), 1000) for layer in layers)
    return Manifest(digest(word), 10, "image", (), Descriptor(digest(f"config of {word}"), 100), blobs, {},
                    digest(subject) if subject else "", "sbom" if subject else "")  # fmt: skip


def stock(
    manifests: Mapping[str, list[Manifest]], tags: Mapping[str, Mapping[str, tuple[str, int]]], pushed: float = 0
) -> Stock:
    """Manifests by name of the image; tags, each with the word of its manifest and when it was pushed."""
    return Stock(
        Links(
            {name: {tag: Tag(digest(word), at) for tag, (word, at) in each.items()} for name, each in tags.items()},
            {name: dict.fromkeys((manifest.digest for manifest in each), pushed) for name, each in manifests.items()},
        ),
        {manifest.digest: manifest for each in manifests.values() for manifest in each},
    )


def versions(count: int) -> Stock:
    """Versions v1 … of an image for two platforms, the last the newest; v1 has an SBOM, known by both ways."""
    manifests = [index(f"v{n}", f"arm{n}", f"amd{n}") for n in range(1, count + 1)]
    manifests += [
        image(f"{arch}{n}", "shared", f"{arch}{n} layer") for n in range(1, count + 1) for arch in ("arm", "amd")
    ]
    manifests += [image("sbom", "text", subject="v1"), index("sboms", "sbom")]
    tags = {f"v{n}": (f"v{n}", n) for n in range(1, count + 1)}
    return stock({"web": manifests}, {"web": {**tags, digest("v1").replace(":", "-"): ("sboms", 1)}})


OURS = frozenset({("web", "none of these")})


def stays(held: Stock, wanted: Wanted) -> dict[str, str]:
    return {decision.item.tag: decision.reason for decision in kept(held, wanted) if decision.reason}


def test_the_last_versions_stay() -> None:
    assert stays(versions(4), Wanted((), OURS, versions=2)) == dict.fromkeys(("v4", "v3"), "of the last 2 versions")


def test_a_tag_with_the_same_image_is_no_version_of_its_own() -> None:
    held = stock({"web": [index("new"), index("old")]}, {"web": {"a": ("new", 3), "b": ("new", 2), "c": ("old", 1)}})
    assert set(stays(held, Wanted((), OURS, versions=2))) == {"a", "b", "c"}


@pytest.mark.parametrize("word", ["v1", "arm1"])
def test_what_a_service_runs_stays_also_by_one_platforms_digest_and_an_address_of_before(word: str) -> None:
    use = Use("shelf_web", f"elsewhere:5000/web@{digest(word)}")
    assert stays(versions(3), Wanted((use,), OURS, versions=0)) == {"v1": "used by shelf_web"}


def test_what_a_service_names_by_its_tag_stays() -> None:
    use = Use("other", "pi:5000/web:v2")
    assert stays(versions(3), Wanted((use,), OURS, versions=0)) == {"v2": "used by other"}


def test_what_a_service_would_roll_back_to_stays() -> None:
    use = Use("shelf_web", f"pi:5000/web@{digest('v1')}", former=True)
    assert stays(versions(3), Wanted((use,), OURS, versions=0)) == {"v1": "shelf_web would roll back to it"}


def test_what_the_stacks_history_and_this_clone_name_stays() -> None:
    wanted = Wanted((), frozenset({("web", "v2")}), frozenset({digest("v1")}), versions=0)
    assert stays(versions(3), wanted) == {"v1": "a revision of the stack has it", "v2": "described by this clone"}


def test_an_image_from_elsewhere_stays_while_it_has_a_tag() -> None:
    held = stock({"grafana/grafana": [index("a"), index("b")]}, {"grafana/grafana": {"12": ("a", 1)}})
    decisions = {decision.item.digest: decision.reason for decision in kept(held, Wanted((), OURS, versions=0))}
    assert decisions == {digest("a"): "not built here", digest("b"): ""}


def test_what_is_being_pushed_stays_for_a_while() -> None:
    held = stock({"web": [index("a")]}, {"web": {"incoming": ("a", 10_000)}})
    assert stays(held, Wanted((), OURS, now=10_001)) == {"incoming": "perhaps being pushed"}
    assert stays(held, Wanted((), OURS, now=20_000)) == {}


@pytest.mark.parametrize(("now", "going"), [(10_001, 0), (20_000, 2)])
def test_what_has_no_tag_yet_stays_for_a_while(now: float, going: int) -> None:
    """A push brings each platform's manifest first, and their index when all are there."""
    held = stock({"web": [image("arm", "a"), image("amd", "b")]}, {}, pushed=10_000)
    assert len(Cleaning(held, kept(held, Wanted((), OURS, now=now))).going) == going


def test_what_is_said_of_an_image_that_is_gone_is_no_version_and_goes() -> None:
    held = stock(
        {"web": [index("new"), image("sbom", "text", subject="gone"), index("sboms", "sbom")]},
        {"web": {"v2": ("new", 1), referrers.fallback_tag(digest("gone")): ("sboms", 2)}},
    )
    wanted = Wanted((), OURS, versions=1)
    assert stays(held, wanted) == {"v2": "of the last 1 versions"}
    gone = {one for _, one in held.removal(Cleaning(held, kept(held, wanted)).going).delete}
    assert gone == {digest("sboms"), digest("sbom")}


def test_a_tag_that_leads_to_nothing_is_no_version_and_goes() -> None:
    held = stock({"web": [index("a")]}, {"web": {"v1": ("a", 1), "v2": ("lost", 2)}})
    assert stays(held, Wanted((), OURS, versions=1)) == {"v1": "of the last 1 versions"}


def test_what_was_tagged_or_pushed_anew_since_a_removal_was_planned_stays() -> None:
    manifests = {"web": [index("a"), index("b"), index("c")]}
    before = stock(manifests, {"web": {"old": ("b", 1), "again": ("c", 1)}})
    after = stock(manifests, {"web": {"tagged": ("a", 9), "old": ("b", 1), "again": ("c", 9)}})
    plans = [Cleaning(held, kept(held, Wanted((), OURS, versions=0))) for held in (before, after)]
    assert [str(item) for item in plans[1].agreed(plans[0])] == ["web:old"]


def test_an_sbom_goes_with_its_image_and_stays_with_it() -> None:
    held = versions(2)
    first, second = sorted((item for item in held.items() if item.tag), key=lambda item: item.tag)
    assert (first.tag, second.tag) == ("v1", "v2")
    gone = {one for _, one in held.removal([first]).delete}
    assert gone == {digest(word) for word in ("v1", "arm1", "amd1", "sbom", "sboms")}
    assert {one for _, one in held.removal([second]).delete} == {digest(word) for word in ("v2", "arm2", "amd2")}


def test_what_leads_to_others_goes_before_them() -> None:
    (newest, *_) = versions(1).items()
    order = [one for _, one in versions(1).removal([newest]).delete]
    assert order.index(digest("v1")) < order.index(digest("arm1"))


def test_a_tag_of_an_image_that_stays_is_only_untagged() -> None:
    held = stock({"web": [index("a")]}, {"web": {"v1": ("a", 1), "v2": ("a", 2)}})
    item = Item("web", "v1", digest("a"), 1)
    removal = held.removal([item])
    assert (removal.untag, removal.delete) == ((item,), ())


def test_a_tag_of_what_is_not_there_is_untagged() -> None:
    held = stock({"web": [index("a")]}, {"web": {"v1": ("a", 1), "v0": ("lost", 1)}})
    lost = Item("web", "v0", digest("lost"), 1)
    assert held.removal([lost]).untag == (lost,)


def test_what_is_freed_counts_a_shared_blob_only_with_its_last_user() -> None:
    held = versions(2)
    first, second = sorted((item for item in held.items() if item.tag), key=lambda item: item.tag)
    of_one = 10 + 2 * (10 + 100 + 1000)
    assert held.frees(held.removal([second])) == of_one
    sbom = 10 + (10 + 100 + 1000)
    assert held.frees(held.removal([first, second])) == 2 * of_one + 1000 + sbom


@st.composite
def stocks(draw: st.DrawFn, said: bool) -> Stock:
    """Any shape that digests allow: a manifest leads to some with a higher number, and may say something of one.

    Not all of these are there. A tag may list what is said of one, or lead to nothing.
    """
    most = 3 if said else 0
    found: dict[str, list[Manifest]] = {}
    for name in ("web", "other"):
        found[name] = []
        for number in sorted(draw(st.sets(st.integers(0, 7)))):
            children = draw(st.sets(st.integers(number + 1, 9), max_size=3))
            about = draw(st.integers(number + 1, 9)) if said and draw(st.booleans()) else ""
            parts = (f"{name}{child}" for child in children)
            found[name].append(index(f"{name}{number}", *parts, subject=f"{name}{about}" if about else ""))
    words = {name: [f"{name}{number}" for number in range(8)] for name in found}
    tags = {}
    for name in found:
        tagged = draw(st.lists(st.sampled_from(words[name]), max_size=5))
        of_images = {f"t{n}": (word, n) for n, word in enumerate(tagged)}
        lists = draw(st.dictionaries(st.integers(1, 9), st.integers(0, 7), max_size=most))
        of_subjects = {
            referrers.fallback_tag(digest(f"{name}{of}")): (f"{name}{one}", 1) for of, one in lists.items() if one < of
        }
        tags[name] = {**of_images, **of_subjects}
    return stock(found, tags)


@given(stocks(said=True), st.data())
def test_nothing_that_stays_loses_a_part_or_what_is_said_of_it(held: Stock, data: st.DataObject) -> None:
    items = held.items()
    going = data.draw(st.lists(st.sampled_from(items), unique=True)) if items else []
    gone = {*held.removal(going).delete}
    for item in items:
        if item not in going:
            assert not {(item.name, part) for part in held.with_referrers(item.name, [item.digest])} & gone


@given(stocks(said=False))
def test_when_all_goes_nothing_is_left(held: Stock) -> None:
    everything = {(name, one) for name, digests in held.links.manifests.items() for one in digests}
    assert {*held.removal(held.items()).delete} == everything


def archive(files: Mapping[str, tuple[bytes, int]]) -> io.BytesIO:
    written = io.BytesIO()
    with tarfile.open(fileobj=written, mode="w") as opened:
        for name, (content, at) in files.items():
            member = tarfile.TarInfo(name)
            member.size, member.mtime = len(content), at
            opened.addfile(member, io.BytesIO(content))
    written.seek(0)
    return written


def test_links_are_read_from_the_registrys_own_files() -> None:
    a, hexadecimal = digest("a"), digest("a").partition(":")[2]
    base = "repositories/grafana/grafana"
    found = links.parse(
        archive(
            {
                f"{base}/_manifests/tags/12/current/link": (a.encode(), 1_700_000_000),
                f"{base}/_manifests/tags/12/index/sha256/{hexadecimal}/link": (a.encode(), 1),
                f"{base}/_manifests/revisions/sha256/{hexadecimal}/link": (a.encode(), 1_700_000_001),
                f"{base}/_layers/sha256/{hexadecimal}/link": (a.encode(), 1),
                f"{base}/_uploads/1/data": (b"half", 1),
            }
        )
    )
    assert found.tags == {"grafana/grafana": {"12": Tag(a, 1_700_000_000)}}
    assert found.manifests == {"grafana/grafana": {a: 1_700_000_001}}


@given(st.data())
def test_an_archive_that_was_cut_off_is_no_smaller_registry(data: st.DataObject) -> None:
    base, value = "repositories/web/_manifests", "0" * 64
    files = (f"revisions/sha256/{value}", "tags/v1/current")
    whole = archive({f"{base}/{file}/link": (f"sha256:{value}".encode(), 1) for file in files}).getvalue()
    end = len(whole.rstrip(b"\0"))
    at = data.draw(st.integers(0, end // 512).map(lambda block: block * 512) | st.integers(0, end))
    with pytest.raises(UserError, match="came only in part"):
        links.parse(io.BytesIO(whole[:at]))
    assert links.parse(io.BytesIO(whole)).tags == {"web": {"v1": Tag(f"sha256:{value}", 1)}}


def test_of_two_images_with_one_tag_the_one_that_was_pushed_last_is_taken_along() -> None:
    words = {"same": "1", "newer": "2", "older": "3", "new": "4", "lost": "5"}
    source = Links({"web": {tag: Tag(one, 9) for tag, one in words.items()}})
    tags = {"same": Tag("1", 1), "newer": Tag("x", 1), "older": Tag("x", 10), "lost": Tag("gone", 10)}
    there = Links({"web": tags}, {"web": dict.fromkeys(("1", "x"), 1)})
    assert copying.behind(source, there) == (("web", "lost", "5"), ("web", "new", "4"), ("web", "newer", "2"))


def test_a_tag_that_leads_to_nothing_is_left_behind_by_its_name() -> None:
    held = stock({"web": [index("a")]}, {"web": {"v1": ("a", 1), "v2": ("lost", 2)}})
    assert copying.lost(held) == ("web:v2",)
    assert str(copying.Copied(1, 2, copying.lost(held))) == (
        "1 of 2 manifests copied, without web:v2, which lead to nothing"
    )


def test_a_manifest_that_does_not_name_its_kind_is_what_its_form_says() -> None:
    assert Manifest.parse(b'{"manifests": []}', "web").media_type == INDEX
    assert Manifest.parse(b'{"layers": []}', "web").media_type == MANIFEST


def test_tags_that_stand_for_something_else_by_now_are_not_the_same() -> None:
    one = Links({"web": {"a": Tag(digest("1"), 5), "b": Tag(digest("2"), 6)}, "gone": {"c": Tag(digest("3"), 7)}})
    other = Links({"web": {"a": Tag(digest("1"), 9), "b": Tag(digest("changed"), 9)}})
    assert links.same(one, other) == Links({"web": {"a": Tag(digest("1"), 5)}})


def test_a_manifest_of_another_digest_is_damaged() -> None:
    body = json.dumps({"manifests": []}).encode()
    assert Manifest.parse(body, "web").digest == f"sha256:{hashlib.sha256(body).hexdigest()}"
    with pytest.raises(UserError, match="web is damaged"):
        Manifest.parse(body, "web", digest("other"))


JSON = st.recursive(
    st.none() | st.booleans() | st.integers() | st.text(max_size=5),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(
        st.sampled_from("manifests config layers annotations subject digest size platform os variant".split()),
        inner, max_size=4,
    ),
    max_leaves=12,
)  # fmt: skip


@given(JSON.map(lambda value: json.dumps(value).encode()) | st.binary(max_size=40))
def test_whatever_is_no_manifest_is_told_as_damaged(body: bytes) -> None:
    try:
        Manifest.parse(body, "web")
    except UserError as error:
        assert "web is damaged" in error.message  # noqa: PT017 - it may also be one


def test_services_are_read_with_what_they_would_roll_back_to() -> None:
    def spec(image: str) -> dict[str, object]:
        return {"Name": "shelf_web", "TaskTemplate": {"ContainerSpec": {"Image": image}}}

    found = usage.of([{"Spec": spec("new"), "PreviousSpec": spec("old")}, {"Spec": {"Name": "x", "TaskTemplate": {}}}])
    assert found == (Use("shelf_web", "new"), Use("shelf_web", "old", former=True))


def test_what_is_used_is_refused_but_not_a_second_tag_of_it() -> None:
    held = stock({"web": [index("a")]}, {"web": {"v1": ("a", 1), "v2": ("a", 2)}})
    uses = [Use("shelf_web", f"pi:5000/web@{digest('a')}")]
    usage.refuse_used(uses, held, [Item("web", "v1", digest("a"), 1)])
    with pytest.raises(UserError, match="web:v2 is used by shelf_web"):
        usage.refuse_used(uses, held, held.items())
    with pytest.raises(UserError, match="web:v1 is used by other"):
        usage.refuse_used([Use("other", "pi:5000/web:v1")], held, [Item("web", "v1", digest("a"), 1)])


def test_an_image_is_found_by_its_name_tag_or_digest() -> None:
    held = versions(2)
    assert selection.find(held, "web").tag == "v2"
    assert selection.find(held, "web:v1").tag == "v1"
    assert selection.find(held, f"web@{digest('v1')}").tag == "v1"
    with pytest.raises(UserError, match=r"has no 'web:v3'\n  Try: web:v[12]"):
        selection.find(held, "web:v3")
    with pytest.raises(UserError, match=r"which web\?\n  Try: web:v2 or web:v1"):
        selection.select(held, ["web"])


def test_the_report_of_another_request_is_not_ours() -> None:
    log = ['{"collected":{"request":"a","before":9,"after":3}}', "other words"]
    assert collect.report(log, "a") == Freed(9, 3)
    with pytest.raises(UserError, match="has not collected"):
        collect.report(log, "b")


def test_a_collector_that_failed_is_told_with_its_words() -> None:
    log = ['{"collected":{"request":"a","before":9,"after":9,"error":"exit status 1: failed to mark"}}']
    with pytest.raises(UserError, match="failed to mark"):
        collect.report(log, "a")


def test_a_registry_that_nothing_was_pushed_to_has_nothing_to_collect() -> None:
    error = "exit status 1: failed to garbage collect: filesystem: Path not found: /docker/registry/v2/repositories"
    said = {"request": "a", "before": 9, "after": 9, "error": error}
    assert collect.report([json.dumps({"collected": said}, separators=(",", ":"))], "a") == Freed(9, 9)


def test_a_row_says_what_is_said_of_the_image_too() -> None:
    rows = {row.tag: row for row in listing.rows(versions(2), [Use("shelf_web", f"pi:5000/web@{digest('v2')}")])}
    assert rows["v2"].services == ("shelf_web",)
    assert rows["v2"].platforms == ("linux/amd2", "linux/arm2")
    assert rows["v2"].bytes == 10 + 2 * (10 + 100 + 1000) + 1000
    assert rows["v1"].bytes == rows["v2"].bytes + 10 + 10 + 100 + 1000
    found = inspection.describe(versions(2), selection.find(versions(2), "web:v1"))
    assert [one["artifactType"] for one in found["referrers"]] == ["sbom"]


@pytest.mark.parametrize(
    ("seconds", "words"), [(0, "0 s ago"), (61, "1 min ago"), (7300, "2 h ago"), (200_000, "2 d ago")]
)
def test_an_age_is_told_in_its_largest_unit(seconds: int, words: str) -> None:
    now = datetime(2026, 1, 1, tzinfo=UTC)
    assert listing.age(now - timedelta(seconds=seconds), now) == words
