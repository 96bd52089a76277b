"""The root file system of a virtual Pi: Debian trixie, as Raspberry Pi OS lite is."""

from __future__ import annotations

import hashlib
import json
import os
import platform
import shutil
from dataclasses import asdict, dataclass
from pathlib import Path

from docker import DockerClient
from docker.errors import ImageNotFound

from image.builder.debian import apt_options, closed
from image.errors import UserError
from image.run import run
from lab import files
from lab.progress import step
from lab.spec import LABEL_NODE

REPOSITORY = "pishelf/node"
SUITE = "trixie"
_SETUP = Path(__file__).with_name("node-setup.sh")
_PACKAGES = (
    "systemd systemd-sysv systemd-timesyncd dbus openssh-server sudo ca-certificates openssl curl "
    "iproute2 iputils-ping iptables nftables kmod procps netbase tzdata python3-minimal"
).split()
# No manuals in a node, and no fsync for each of a package's files: it can be made again.
_DPKG_OPTIONS = (
    "path-exclude=/usr/share/man/*",
    "path-exclude=/usr/share/locale/*/LC_MESSAGES/*",
    "path-exclude=/usr/share/doc/*",
    "path-include=/usr/share/doc/*/copyright",
    "force-unsafe-io",
)
# Settings of this machine's apt without which apt inside a node would fail just the same.
_APT_SETTINGS = (
    "Acquire::Check-Valid-Until",
    "Acquire::Check-Date",
    "Acquire::Max-FutureTime",
    "Acquire::http::Proxy",
    "Acquire::https::Proxy",
)


@dataclass(frozen=True)
class Recipe:
    """All that decides what is in the image."""

    architecture: str
    sources: tuple[str, ...]
    apt_settings: tuple[str, ...]
    setup: str
    packages: tuple[str, ...] = tuple(_PACKAGES)
    dpkg_options: tuple[str, ...] = _DPKG_OPTIONS
    suite: str = SUITE
    settings: tuple[str, ...] = ('ENTRYPOINT ["/sbin/pi-init"]', "ENV container=docker")

    @property
    def tag(self) -> str:
        """`pishelf/node:<key>`; the key changes with anything in the recipe."""
        text = json.dumps(asdict(self), sort_keys=True)
        return f"{REPOSITORY}:{hashlib.sha256(text.encode()).hexdigest()[:12]}"


def read_recipe() -> Recipe:
    """The recipe for this machine."""
    release = platform.freedesktop_os_release()
    return Recipe(
        architecture=platform.machine(),
        sources=parse_sources(
            _apt("apt-get", "indextargets", "--no-release-info", "--format", "$(RELEASE)|$(REPO_URI)"),
            release.get("VERSION_CODENAME", "") if release.get("ID") == "debian" else "",
        ),
        apt_settings=parse_apt_settings(_apt("apt-config", "dump")),
        setup=_SETUP.read_text(encoding="utf-8"),
    )


def _apt(*argv: str) -> str:
    """What apt says; nothing on a machine that has none."""
    return run(*argv) if shutil.which(argv[0]) else ""


def parse_sources(index_targets: str, codename: str) -> tuple[str, ...]:
    """The node's apt sources: the mirrors that a Debian machine uses itself, for the node's suite.

    Empty where this machine is no Debian `codename`: mmdebstrap then takes its own default.
    """
    sources = set()
    for line in index_targets.splitlines():
        release, uri = line.split("|", 1)
        if codename and release == codename:
            sources |= {f"deb {uri} {SUITE} main", f"deb {uri} {SUITE}-updates main"}
        elif codename and release == f"{codename}-security":
            sources.add(f"deb {uri} {SUITE}-security main")
    # security updates alone make no system
    return tuple(sorted(sources)) if any(f" {SUITE} " in source for source in sources) else ()


def parse_apt_settings(dump: str) -> tuple[str, ...]:
    """Lines of `apt-config dump` that apt inside a node needs too."""
    return tuple(
        line for line in dump.splitlines() if line.partition(" ")[0] in _APT_SETTINGS and not line.endswith(' "";')
    )


def ensure(client: DockerClient, work: Path) -> str:
    """The image's tag; builds it in the folder `work` (half a minute) where the engine lacks it."""
    recipe = read_recipe()
    if _has(client, recipe.tag):
        return recipe.tag
    if not shutil.which("mmdebstrap"):
        raise UserError("mmdebstrap is not installed, and it makes the virtual Pis' file system", "make setup")
    work.mkdir(parents=True, exist_ok=True)
    with files.lock(work / "lock", "another `python -m lab` of this clone is making the virtual Pis' file system"):
        if not _has(client, recipe.tag):
            _build(client, recipe, work)
    return recipe.tag


def _has(client: DockerClient, tag: str) -> bool:
    try:
        client.images.get(tag)
    except ImageNotFound:
        return False
    return True


def _build(client: DockerClient, recipe: Recipe, work: Path) -> None:
    _remove_leftovers(work)
    tarball = work / f"node.{os.getpid()}.tar"
    try:
        with step("making the virtual Pis' file system (Debian trixie, about a minute, once)"):
            _bootstrap(recipe, tarball)
        with step("importing it into the engine"):
            _import(client, recipe, tarball)
    finally:
        tarball.unlink(missing_ok=True)


def _bootstrap(recipe: Recipe, tarball: Path) -> None:
    settings, sources = tarball.with_suffix(".apt.conf"), tarball.with_suffix(".list")
    try:
        run(
            "mmdebstrap",
            "--variant=minbase",
            f"--include={','.join(recipe.packages)}",
            *(f"--dpkgopt={option}" for option in recipe.dpkg_options),
            *apt_options(recipe.apt_settings, settings),
            # the lists, and the packages that the setup downloads, stay
            "--skip=cleanup/apt",
            # the script's text and not its path: without root, mmdebstrap runs hooks as a user who
            # may not be able to enter this clone
            f"--customize-hook={recipe.setup}",
            recipe.suite,
            tarball,
            *closed(recipe.sources, sources),
            # as root the tree is built beside the tarball, where a killed run's remains are found again
            env={"TMPDIR": str(tarball.parent)} if os.geteuid() == 0 else None,
        )
    finally:
        settings.unlink(missing_ok=True)
        sources.unlink(missing_ok=True)


def _remove_leftovers(work: Path) -> None:
    """Remove trees and tarballs of killed runs, unless something is still mounted inside."""
    mounts = Path("/proc/self/mounts").read_text(encoding="utf-8")
    for leftover in [*work.glob("mmdebstrap.*"), *work.glob("node.*")]:
        if str(leftover) in mounts:
            continue
        if leftover.is_dir():
            shutil.rmtree(leftover, ignore_errors=True)
        else:
            leftover.unlink()


def _import(client: DockerClient, recipe: Recipe, tarball: Path) -> None:
    repository, _, tag = recipe.tag.partition(":")
    client.api.import_image_from_file(
        str(tarball),
        repository=repository,
        tag=tag,
        changes=[f"LABEL {LABEL_NODE}={tag}", *recipe.settings],
    )
