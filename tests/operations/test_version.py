"""Which version of the engine each host gets."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from facts.apt import Offer
from operations.version import choose, fits, major, mixed, source, upstream, who_has

DEBIAN, DOCKER = "26.1.5+dfsg1-9+deb13u1+b1", "5:28.5.2-1~debian.13~trixie"


@pytest.mark.parametrize(
    ("version", "number"),
    [
        (DEBIAN, "26.1.5"),
        (DOCKER, "28.5.2"),
        ("20.10.24+dfsg1-1+deb12u1+b2", "20.10.24"),
        ("28.5.2", "28.5.2"),
        ("", ""),
    ],
)
def test_a_packages_version_holds_the_engines_own(version: str, number: str) -> None:
    assert upstream(version) == number
    assert major(version) == number.partition(".")[0]


@pytest.mark.parametrize(
    "wanted", ["", "26", "26.1", "26.1.5", "26.1.5+dfsg1", "26.1.5+dfsg1-9+deb13u1", "26.1.5+dfsg1-9+deb13u1+b1"]
)
def test_a_version_may_be_written_as_far_as_one_cares(wanted: str) -> None:
    assert fits(DEBIAN, wanted)


@pytest.mark.parametrize("wanted", ["2", "26.", "26.1.50", "6.1", "27", "26.1.5+dfsg"])
def test_half_a_number_is_another_version(wanted: str) -> None:
    assert not fits(DEBIAN, wanted)


@pytest.mark.parametrize("wanted", ["28", "28.5.2", "5:28.5.2", "28.5.2-1", DOCKER])
def test_an_epoch_need_not_be_written(wanted: str) -> None:
    assert fits(DOCKER, wanted)


def test_a_rebuild_for_one_architecture_is_the_same_source() -> None:
    assert source("1.2-3+b1") == source("1.2-3+b12") == source("1.2-3") != source("1.2-3+beta")


def offer(*versions: str) -> Offer:
    return Offer(versions[0] if versions else "", versions)


def test_blank_hosts_get_the_candidate_that_all_have() -> None:
    offers = {"pi1": offer("26.2-1", "26.1-1"), "pi2": offer("26.2-1"), "pi3": offer("26.2-1")}
    assert {choose(name, "", offers, {}).version for name in offers} == {"26.2-1"}


def test_the_newest_that_all_can_get_wins_over_what_one_alone_can() -> None:
    offers = {"pi1": offer("26.2-1", "26.1-1"), "pi2": offer("26.1-1")}
    for name in offers:
        choice = choose(name, "", offers, {})
        assert (choice.version, choice.warning) == ("26.1-1", "")


def test_a_source_that_apt_prefers_not_to_use_is_not_used() -> None:
    backports = Offer("26.1-1", ("28.0-1~bpo", "26.1-1"))
    assert choose("pi1", "", {"pi1": backports, "pi2": backports}, {}).version == "26.1-1"


def test_hosts_that_can_get_nothing_in_common_are_named() -> None:
    offers = {"pi1": offer("26.2-1"), "pi2": offer("26.1-1"), "pi3": offer("26.1-1")}
    warning = choose("pi1", "", offers, {}).warning
    assert "pi1 has 26.2-1" in warning
    assert "pi2 and pi3 have 26.1-1" in warning
    assert "upgrade.py" in warning


def test_rebuilds_for_two_architectures_are_no_reason_to_warn() -> None:
    offers = {"pi1": offer("26.1-1+b1"), "zero": offer("26.1-1+b2")}
    assert [choose(name, "", offers, {}).warning for name in offers] == ["", ""]


def test_hosts_that_could_only_get_different_majors_get_none() -> None:
    offers = {"pi1": offer("29.1-1"), "zero": offer("28.5-1")}
    for name in offers:
        with pytest.raises(ValueError, match=r"pi1 has 29\.1-1, zero has 28\.5-1.*engine_version.*32-bit"):
            choose(name, "", offers, {})


def test_engine_version_finds_what_hosts_have_in_common_below_their_newest() -> None:
    offers = {"pi1": offer("29.1-1", "28.5-1"), "zero": offer("28.5-1")}
    assert {choose(name, "28", offers, {}).version for name in offers} == {"28.5-1"}


def test_a_new_host_gets_what_the_others_have_even_if_there_is_newer() -> None:
    choice = choose("pi3", "", {"pi3": offer("26.2-1", "26.1-1")}, {"pi1": "26.1-1", "pi2": "26.1-1"})
    assert (choice.version, choice.warning) == ("26.1-1", "")


def test_a_new_host_that_cannot_get_it_any_more_gets_the_nearest_and_says_so() -> None:
    choice = choose("pi3", "", {"pi3": offer("26.3-2", "26.3-1")}, {"pi1": "26.1-1", "pi2": "26.1-1"})
    assert choice.version == "26.3-2"
    assert "pi1 and pi2 have 26.1-1" in choice.warning
    assert "upgrade.py" in choice.warning


def test_the_number_that_a_node_tells_the_swarm_is_enough_to_follow_it() -> None:
    choice = choose("pi3", "", {"pi3": offer("26.2.0-1", "26.1.5+dfsg1-9")}, {"pi1": "26.1.5"})
    assert (choice.version, choice.warning) == ("26.1.5+dfsg1-9", "")


def test_another_major_than_the_others_have_is_refused_with_who_has_what() -> None:
    with pytest.raises(ValueError, match=r"apt offers 29\.0-1 here, and pi1 has 28\.5-1"):
        choose("pi3", "", {"pi3": offer("29.0-1")}, {"pi1": "28.5-1"})


def test_a_newer_major_is_passed_over_where_the_others_have_an_older() -> None:
    assert choose("pi3", "", {"pi3": offer("29.0-1", "28.6-1")}, {"pi1": "28.5-1"}).version == "28.6-1"


def test_a_version_that_apt_does_not_have_is_refused_with_what_it_has() -> None:
    with pytest.raises(ValueError, match=r"engine_version is '25'.*pi1 offers 26\.2-1, 26\.1-1"):
        choose("pi1", "25", {"pi1": offer("26.2-1", "26.1-1")}, {})


def test_a_host_whose_apt_knows_no_engine_is_named() -> None:
    with pytest.raises(ValueError, match="apt on pi1 knows no package"):
        choose("pi1", "", {"pi1": offer()}, {})


def test_who_has_what_is_grouped() -> None:
    assert who_has({"a": "1", "b": "2", "c": "1", "d": "1"}) == "a, c and d have 1, b has 2"


VERSIONS = st.builds("{}.{}-{}".format, st.integers(26, 28), st.integers(0, 2), st.integers(1, 2))
OFFERS = st.dictionaries(
    st.sampled_from(["pi1", "pi2", "pi3"]),
    st.lists(VERSIONS, min_size=1, unique=True).map(lambda found: offer(*sorted(found, reverse=True))),
    min_size=1,
)


@given(OFFERS, st.dictionaries(st.sampled_from(["pi4", "pi5"]), VERSIONS))
def test_hosts_that_are_served_never_mix_majors_and_get_what_they_are_offered(
    offers: dict[str, Offer], engines: dict[str, str]
) -> None:
    got = []
    for name in offers:
        try:
            got.append(choose(name, "", offers, engines).version)
        except ValueError:
            continue
        assert got[-1] in offers[name].versions
    if not mixed(engines.values()):
        assert not mixed([*got, *engines.values()])
