"""Which version of the engine a host gets, so that the whole cluster has one.

Majors must not be mixed: between 28 and 29, for one, encrypted overlay networks drop what they should carry
(moby/moby#51798).
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass

from facts.apt import Offer


def upstream(version: str) -> str:
    """The engine's own number in a package's version, or in what an engine says: `5:28.5.2-1~debian.13` -> `28.5.2`."""
    rest = version.rpartition(":")[2]
    end = next((at for at, letter in enumerate(rest) if letter in "+~-"), len(rest))
    return rest[:end]


def major(version: str) -> str:
    """The number before the first dot."""
    return upstream(version).partition(".")[0]


def source(version: str) -> str:
    """Without the mark of a rebuild, which each architecture counts for itself: `1.2-3+b1` -> `1.2-3`."""
    rest, mark, number = version.rpartition("+b")
    return rest if mark and number.isdigit() else version


def fits(version: str, wanted: str) -> bool:
    """Whether a package's version is the one that a person wrote: whole, or as many numbers as they care for."""
    said = (version, version.rpartition(":")[2])
    return not wanted or any(
        text == wanted or text.startswith(tuple(f"{wanted}{end}" for end in ".+~-")) for text in said
    )


@dataclass(frozen=True)
class Choice:
    """A version of the engine's package, and what a person should know of it."""

    version: str
    warning: str = ""


def choose(mine: str, wanted: str, offers: Mapping[str, Offer], engines: Mapping[str, str]) -> Choice:
    """What a host without an engine gets: what the cluster runs, else the best that all can get.

    Args:
        mine: the host.
        wanted: the setting `engine_version`; empty if there is none.
        offers: what apt offers for the engine's package, by host, of all that have no engine yet.
        engines: the versions of the engines that are there, by host.

    Raises:
        ValueError: none will do; with who has what.
    """
    fitting = {name: [version for version in offer.versions if fits(version, wanted)] for name, offer in offers.items()}
    if not fitting[mine]:
        raise ValueError(_none_fits(mine, wanted, offers[mine]))
    if engines:
        return _as_the_others(fitting[mine], engines)
    return _as_all_can(mine, fitting, offers)


def _as_the_others(mine: Sequence[str], engines: Mapping[str, str]) -> Choice:
    (first, _), *_ = Counter(engines.values()).most_common()
    same = [version for version in mine if version == first]
    near = [version for version in mine if upstream(version) == upstream(first)]
    safe = [version for version in mine if major(version) == major(first)]
    if not safe:
        raise ValueError(
            f"apt offers {_list(mine)} here, and {who_has(engines)}; {MIX}. Let apt find a version {major(first)} here,"
            " or bring the others to this one first (deploys/upgrade.py), then run again"
        )
    version = (same or near or safe)[0]
    if source(version) == source(first) or (version in near and first == upstream(first)):
        return Choice(version)
    return Choice(
        version,
        f"gets engine {version}, for apt no longer offers what the others have: {who_has(engines)};"
        " pyinfra INVENTORY deploys/upgrade.py brings all to one version",
    )


def _as_all_can(mine: str, fitting: Mapping[str, Sequence[str]], offers: Mapping[str, Offer]) -> Choice:
    shared = [version for version in fitting[mine] if all(version in versions for versions in fitting.values())]
    favourites = Counter(offer.candidate for offer in offers.values() if offer.candidate in shared)
    if favourites:
        return Choice(favourites.most_common(1)[0][0])
    if shared:
        return Choice(shared[0])
    best = {
        name: offers[name].candidate if offers[name].candidate in versions else versions[0]
        for name, versions in fitting.items()
        if versions
    }
    if len({major(version) for version in best.values()}) > 1:
        raise ValueError(
            f"apt offers different versions: {who_has(best)}; {MIX}. Set engine_version to one that all can get"
            " (Docker 29 and newer has no 32-bit packages), or give them the same apt sources; then run again"
        )
    if len({source(version) for version in best.values()}) == 1:
        return Choice(best[mine])
    return Choice(
        best[mine],
        f"gets engine {best[mine]}, for apt offers no version that all have: {who_has(best)};"
        " give them the same apt sources, then pyinfra INVENTORY deploys/upgrade.py brings all to one version",
    )


MIX = "engines of different major versions drop each other's overlay traffic"


def who_has(versions: Mapping[str, str]) -> str:
    """`pi1 and pi2 have 28.5.2, pi3 has 29.1.0`, the packages' whole versions where these tell them apart."""
    hosts: dict[str, list[str]] = {}
    for name, version in versions.items():
        hosts.setdefault(version, []).append(name)
    return ", ".join(
        f"{_and(sorted(names))} {'have' if len(names) > 1 else 'has'} {version}" for version, names in hosts.items()
    )


def mixed(versions: Iterable[str]) -> bool:
    """Whether these are of different majors."""
    return len({major(version) for version in versions}) > 1


def _none_fits(mine: str, wanted: str, offer: Offer) -> str:
    if wanted and offer.versions:
        return (
            f"engine_version is {wanted!r}, and apt on {mine} offers {_list(offer.versions)};"
            " set it to one of these, or add the source that has it; then run again"
        )
    return f"apt on {mine} knows no package of the engine; look at its sources (`apt-cache policy`), then run again"


def _list(versions: Sequence[str]) -> str:
    return ", ".join(versions[:5]) + (" …" if len(versions) > 5 else "")


def _and(names: Sequence[str]) -> str:
    *first, last = names
    return f"{', '.join(first)} and {last}" if first else last
