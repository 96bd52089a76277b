"""How the stages make what they make: each program's words, as pure functions.

A change of this file changes every image's content key (`image.plan`), because it may change every image.
"""

from __future__ import annotations

from pathlib import Path

from image.plan import Go, Image, WebUi
from image.platform import Platform

GO_ENVIRONMENT = {
    "CGO_ENABLED": "0",
    "GOFLAGS": "",  # nobody's own flags
    "GOTOOLCHAIN": "local",  # the pinned one
    "GOWORK": "off",  # Prometheus' zip has one
}
# Debian's name of a platform.
DEBIAN = {"linux/arm/v6": "armel", "linux/arm/v7": "armhf", "linux/arm64": "arm64", "linux/amd64": "amd64"}


def go_build(go: Go, version: str) -> tuple[str, ...]:
    """Compile a program, without its `-o`. The same source gives the same bytes, wherever it lies.

    No `-buildid=`: it is not needed for that and makes every build link again.
    """
    variables = (f"-X {name}={value.format(version=version)}" for name, value in sorted(go.variables.items()))
    flags = " ".join(("-s", "-w", *variables))
    tags = ("-tags", ",".join(go.tags)) if go.tags else ()
    return ("go", "build", "-mod=readonly", "-trimpath", "-buildvcs=false", *tags, "-ldflags", flags)


def go_environment(platform: Platform) -> dict[str, str]:
    """What compiling for a platform needs in the environment."""
    return {**GO_ENVIRONMENT, **platform.go_env}


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
# `image.bake`, which lays the files out, and to the Dockerfiles, which copy to the root alone. (BuildKit's
# rewrite-timestamp would do it, too, but an engine always unpacks what it exports, and the two exclude each other;
# exported to the controller instead, each layer would go over a Pi's network twice more.)
BUILD_ENVIRONMENT = {"SOURCE_DATE_EPOCH": "0", "BUILDX_NO_DEFAULT_ATTESTATIONS": "1"}
# An index also where there is one platform alone.
BUILD_ARGUMENTS = {"BUILDKIT_MULTI_PLATFORM": "1"}
OUTPUT = "type=image,oci-mediatypes=true"
