"""How the stages make what they make: each program's words, as pure functions.

A change of this file changes every image's content key (`image.plan`), because it may change every image.
"""

from __future__ import annotations

from pathlib import Path

from image.plan import Go, Image, WebUi
from image.platform import Platform

# All of Go's settings that change what it compiles. None is empty: Go takes an empty one for one that is not set, and
# then what the user once told `go env -w`. What that says of the way to the modules (GOPROXY and its like) holds.
GO_ENVIRONMENT = {
    "CGO_ENABLED": "0",
    "GO111MODULE": "on",
    "GOEXPERIMENT": ",",  # a list of none; `none` would switch off what is on by default, too
    "GOFIPS140": "off",
    "GOFLAGS": "-buildvcs=false",  # nobody's own; and nothing of the clone's git
    "GOTOOLCHAIN": "local",  # the pinned one
    "GOWORK": "off",  # Prometheus' zip has one
    "GO_EXTLINK_ENABLED": "0",
}
# The oldest processor of each architecture that we build for; arm's variants are platforms of their own.
_PROCESSORS = {
    "linux/arm/v6": {"GOARM": "6"},
    "linux/arm/v7": {"GOARM": "7"},
    "linux/arm64": {"GOARM64": "v8.0"},
    "linux/amd64": {"GOAMD64": "v1"},
}
# Debian's name of a platform.
DEBIAN = {"linux/arm/v6": "armel", "linux/arm/v7": "armhf", "linux/arm64": "arm64", "linux/amd64": "amd64"}


def go_build(go: Go, version: str) -> tuple[str, ...]:
    """Compile a program, without its `-o`. The same source gives the same bytes, wherever it lies.

    No `-buildid=`: it is not needed for that and makes every build link again.
    """
    flags = " ".join(("-s", "-w", *linked(go, version)))
    tags = ("-tags", ",".join(go.tags)) if go.tags else ()
    return ("go", "build", "-mod=readonly", "-trimpath", *tags, "-ldflags", flags)


def linked(go: Go, version: str) -> tuple[str, ...]:
    """The linker's flags that set a program's variables."""
    return tuple(f"-X {name}={with_version(value, version)}" for name, value in sorted(go.variables.items()))


def with_version(text: str, version: str) -> str:
    """What a description says, with the version where it says `{version}`."""
    return text.replace("{version}", version)


def go_target(platform: Platform) -> dict[str, str]:
    """What tells Go for what to compile; it writes each into the program."""
    return {"GOOS": platform.os, "GOARCH": platform.architecture, **_PROCESSORS[str(platform)]}


def go_environment(platform: Platform) -> dict[str, str]:
    """What compiling for a platform needs in the environment."""
    return {**GO_ENVIRONMENT, **go_target(platform)}


def upx(plain: Path, packed: Path) -> tuple[str | Path, ...]:
    """Pack a program."""
    return ("upx", "--lzma", "-9", "-q", "-o", packed, plain)


def pnpm(ui: WebUi) -> tuple[tuple[str, ...], ...]:
    """Build a web interface: what pnpm is told, one after the other."""
    return (("install", "--frozen-lockfile"), ("run", ui.script))


def labels(image: Image) -> dict[str, str]:
    """What every image says of itself; source: OCI image specification, annotations."""
    about = image.about
    return {
        "org.opencontainers.image.title": about.name,
        "org.opencontainers.image.description": about.description,
        "org.opencontainers.image.version": image.version,
        "org.opencontainers.image.revision": image.revision,
        "org.opencontainers.image.source": about.source,
        "org.opencontainers.image.licenses": about.licenses,
    }


# So that the same files give the same layers: no time of today, no statement of who built them. The rest is up to
# `image.builder.bake`, which lays the files out, and to the Dockerfiles, which copy to the root alone. (BuildKit's
# rewrite-timestamp would do it, too, but an engine always unpacks what it exports, and the two exclude each other;
# exported to the controller instead, each layer would go over a Pi's network twice more.)
BUILD_ENVIRONMENT = {"SOURCE_DATE_EPOCH": "0", "BUILDX_NO_DEFAULT_ATTESTATIONS": "1"}
# An index also where there is one platform alone.
BUILD_ARGUMENTS = {"BUILDKIT_MULTI_PLATFORM": "1"}
OUTPUT = "type=image,oci-mediatypes=true"
