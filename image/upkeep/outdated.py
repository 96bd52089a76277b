"""Which pins upstream has newer versions for."""

from __future__ import annotations

from collections.abc import Iterable
from concurrent.futures import ThreadPoolExecutor
from dataclasses import asdict, dataclass

from image import columns
from image.builder import debian, modules
from image.builder.modules import Pin
from image.errors import UserError
from image.plan import Debian, Image

# Each architecture's index is ten megabytes. All Pis but the oldest are of this one.
_ASKED = "arm64"


@dataclass(frozen=True)
class Standing:
    """Where a pin stands; `note` says what is to be known of it besides, or why nothing is."""

    name: str
    source: str
    version: str
    newer: tuple[str, ...] = ()
    """Upstream's versions, oldest first."""
    note: str = ""
    known: bool = True


def outdated(images: Iterable[Image], tools: Iterable[Pin]) -> list[Standing]:
    """Ask for all at once; where nobody answers, that pin's note says so."""
    with ThreadPoolExecutor(max_workers=8) as pool:
        asked = [pool.submit(_image, image) for image in images]
        asked += [pool.submit(_pin, tool, "tools") for tool in tools]
        return [each.result() for each in asked]


def of_releases(pin: Pin, releases: Iterable[str], note: str = "") -> Standing:
    """A pin beside upstream's versions, whatever their order."""
    newer = (each for each in releases if modules.numbers(each) > modules.numbers(pin.version))
    return Standing(pin.name, pin.go.module, pin.version, tuple(sorted(newer, key=modules.numbers)), note)


def of_suite(name: str, package: Debian, has: str) -> Standing:
    """A pin beside the version that its suite has; it has one, so what the pin does not mean is to be moved to."""
    newer = () if debian.is_as_pinned(has, package.version) else (has,)
    return Standing(name, _origin(package), package.version, newer, f"Debian {package.suite}")


def lines(standings: Iterable[Standing]) -> list[str]:
    """A table of them."""
    rows = [("NAME", "PINNED", "NEWEST", "NEWER", "NOTE")]
    for each in standings:
        newest = each.newer[-1] if each.newer else each.version if each.known else "?"
        rows.append((each.name, each.version, newest, str(len(each.newer) or "-"), each.note))
    return columns.aligned(rows)


def code(standings: Iterable[Standing], newer: bool) -> int:
    """The exit code: 1 where a pin could not be asked for or, with `newer`, where there is something newer."""
    return int(any(not each.known or (newer and each.newer) for each in standings))


def values(standings: Iterable[Standing]) -> list[dict[str, object]]:
    """The same for JSON."""
    return [asdict(each) for each in standings]


def _image(image: Image) -> Standing:
    if image.about.go and image.about.go.own:
        return Standing(image.name, image.about.go.module, image.version, note="own: the version is in image.toml")
    if image.about.go:
        return _pin(modules.pin(image, image.about.go))
    if image.about.debian:
        return _package(image, image.about.debian)
    raise UserError(f"{image.folder}: nothing says where the program comes from", "a table [go] or [debian]")


def _pin(pin: Pin, note: str = "") -> Standing:
    try:
        return of_releases(pin, modules.releases(pin), note)
    except UserError as error:
        return Standing(pin.name, pin.go.module, pin.version, (), _first(error), known=False)


def _package(image: Image, package: Debian) -> Standing:
    try:
        has = debian.version(image, package, _ASKED)
        if has is None:
            raise UserError(f"{package.suite} is not made for {_ASKED}")
        return of_suite(image.name, package, has)
    except UserError as error:
        return Standing(image.name, _origin(package), package.version, (), _first(error), known=False)


def _origin(package: Debian) -> str:
    return f"Debian {package.suite}: {package.package}"


def _first(error: UserError) -> str:
    return " ".join(line.strip() for line in error.message.splitlines()[:2])
