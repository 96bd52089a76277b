"""`python -m bench.sizes`: how large programs are on card and wire, beside upstream's own builds."""

from __future__ import annotations

import gzip
import io
import shlex
import sys
import tarfile
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Final, Self

import click

from bench import machine
from bench.report import markdown, place
from bench.ways import BENCH
from image import cache, plan
from image.builder import pack, recipe
from image.builder.compile import module_source
from image.errors import UserError
from image.plan import Go, Image
from image.platform import Platform
from image.run import LOGS, run
from lab.progress import step

_README: Final = BENCH / "README.md"
_UNKNOWN = "–"


@dataclass(frozen=True)
class Upstream:
    """How a project builds its own program for its own image: what differs from plain `go build`.

    Source: .promu.yml of Alertmanager, node_exporter and Prometheus, Dockerfile of distribution,
    .goreleaser.yml of Caddy.
    """

    package: str
    tags: tuple[str, ...] = ()
    flags: tuple[str, ...] = ()
    linker: tuple[str, ...] = ()


# Prometheus' builtinassets is left out: its module has no web interface that is built already.
UPSTREAM: Final[Mapping[str, Upstream]] = {
    "alertmanager": Upstream("./cmd/alertmanager", tags=("netgo",)),
    "gateway": Upstream(
        "./cmd/caddy", tags=("nobadger", "nomysql", "nopgx"), flags=("-trimpath",), linker=("-s", "-w")
    ),
    "node_exporter": Upstream("."),
    "prometheus": Upstream("./cmd/prometheus", tags=("netgo",)),
    "registry": Upstream("./cmd/registry", flags=("-trimpath",), linker=("-s", "-w")),
}


@dataclass(frozen=True)
class Size:
    """Bytes of a program as a file, and as a layer on its way from the registry."""

    disk: int
    wire: int

    @classmethod
    def of(cls, program: Path) -> Self:
        """Measure a file; as BuildKit makes a layer: a tarball through gzip's usual level."""
        layer = io.BytesIO()
        with (
            gzip.GzipFile(fileobj=layer, mode="wb", compresslevel=6, mtime=0) as zipped,
            tarfile.open(fileobj=zipped, mode="w|") as tar,
        ):
            tar.add(program, arcname=f"bin/{program.name}")
        return cls(program.stat().st_size, layer.tell())

    def __str__(self) -> str:
        return f"{self.disk / 1e6:.1f} / {self.wire / 1e6:.1f}"


@dataclass(frozen=True)
class Row:
    """One program for one platform."""

    image: str
    platform: str
    upstream: Size | None
    plain: Size
    packed: Size | None
    packs: bool
    """Whether `build-all` packs it."""

    @property
    def shipped(self) -> Size:
        """What goes into the image."""
        return self.packed if self.packs and self.packed else self.plain


def measure(image: Image, platform: Platform, with_upstream: bool) -> Row:
    """Make what is not in the cache, and measure; raises UserError."""
    upstream = _upstream(image, platform) if with_upstream and image.about.go else None
    plain = pack.ready(image, platform, pack=False).file
    packs = replace(image, about=replace(image.about, pack=True))
    # Packed for the table also where build-all does not: its owner may want to know. Busybox' page starts it often.
    packed = pack.ready(packs, platform, pack=True) if image.about.go else None
    return Row(
        image.name,
        str(platform),
        Size.of(upstream) if upstream else None,
        Size.of(plain),
        Size.of(packed.file) if packed and packed.sizes.packed else None,
        image.about.pack,
    )


def _upstream(image: Image, platform: Platform) -> Path | None:
    """Upstream's program, built in its module's own folder by its own pins and flags."""
    go, own = image.about.go, UPSTREAM.get(image.name)
    if go is None or own is None:
        return None
    words = upstream_build(go, own, image.version)
    environment = recipe.go_environment(platform)
    parts = {"go": image.toolchain, "module": go.module, "version": image.version, "words": words, "for": environment}

    def make(folder: Path) -> None:
        log = LOGS / f"bench-upstream-{image.name}.log"
        target = folder / image.about.program
        run(*words, "-o", target, own.package, cwd=module_source(image, go), env=environment, log=log)

    return cache.ensure("upstream", parts, make) / image.about.program


def upstream_build(go: Go, own: Upstream, version: str) -> tuple[str, ...]:
    """Compile as upstream does, without `-o` and the package."""
    tags = ("-tags", ",".join(own.tags)) if own.tags else ()
    return ("go", "build", *own.flags, *tags, "-ldflags", " ".join((*own.linker, *recipe.linked(go, version))))


def table(rows: Iterable[Row]) -> str:
    """As Markdown, in megabytes."""
    head = ["program", "platform", "upstream", "this project, plain", "packed", "in the image", "× upstream"]
    return markdown(head, map(_cells, rows))


def _cells(row: Row) -> list[str]:
    sizes = (str(size or _UNKNOWN) for size in (row.upstream, row.plain, row.packed))
    in_image = "packed" if row.shipped is row.packed else "plain"
    pairs = row.upstream and ((row.shipped.disk, row.upstream.disk), (row.shipped.wire, row.upstream.wire))
    ratio = " / ".join(f"{mine / other:.2f}" for mine, other in pairs) if pairs else _UNKNOWN
    return [row.image, row.platform, *sizes, in_image, ratio]


@click.command()
@click.option("--image", "names", multiple=True, help="Only this; may be repeated.")
@click.option(
    "--platform",
    "platforms",
    multiple=True,
    default=("linux/arm/v7", "linux/arm64"),
    show_default=True,
    help="May be repeated.",
)
@click.option("--upstream/--no-upstream", "with_upstream", default=True, help="Whether to build upstream's, too.")
@click.option("--write", is_flag=True, help="Put the table into bench/README.md.")
def main(names: tuple[str, ...], platforms: tuple[str, ...], with_upstream: bool, write: bool) -> None:
    """Measure programs on card and wire: upstream's own builds, this project's plain ones, and packed."""
    about = machine.describe(shlex.join(["python", "-m", "bench.sizes", *sys.argv[1:]]), {"Go": plan.go_version()})
    rows, failed = [], []
    for image in plan.read(names):
        for platform in map(Platform.parse, platforms):
            try:
                with step(f"{image.name} {platform}"):
                    rows.append(measure(image, platform, with_upstream))
            except UserError as error:  # the others are worth having all the same
                failed.append(f"{image.name} {platform}: {error}")
    text = f"{about}\n\n{table(rows)}"
    click.echo(text)
    if write:
        _README.write_text(place(_README.read_text(encoding="utf-8"), text, "sizes"), encoding="utf-8")
    if failed:
        raise UserError("\n".join(failed))


if __name__ == "__main__":
    main(prog_name="python -m bench.sizes")
