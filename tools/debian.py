"""Debian packages: which are missing, where they come from, and their installation."""

from __future__ import annotations

import importlib.util
import os
import platform
import re
import shutil
from dataclasses import dataclass
from pathlib import Path

from tools.rights import Rights
from tools.run import SetupError, ask, say

_BACKPORTED = "upx-ucl"
_SOURCE = Path("/etc/apt/sources.list.d/pishelf-backports.sources")
_PIN = Path("/etc/apt/preferences.d/pishelf-backports")
_QUIET = {"DEBIAN_FRONTEND": "noninteractive"}
_LOCK = ("-o", "DPkg::Lock::Timeout=300")
# dpkg itself does not wait for another one, such as the automatic upgrade of a first boot.
_FINISH = """for second in $(seq 300); do
said=$(dpkg --configure -a 2>&1) && exit 0
case "$said" in *lock*) sleep 1;; *) break;; esac
done; echo "$said" >&2; exit 1"""
BROWSERS = ("chromium", "google-chrome")
"""Those that tests can use."""
# Administrators' programs are not in everyone's PATH.
_PATH = f"{os.environ.get('PATH', '')}:/usr/local/sbin:/usr/sbin:/sbin"


@dataclass(frozen=True)
class Need:
    """A package, and why it is missing."""

    package: str
    why: str


def has(program: str) -> bool:
    """Whether a program is installed, also where this user's PATH does not lead."""
    return shutil.which(program, path=_PATH) is not None


def needs(engine_answers: bool) -> list[Need]:
    """Packages that this machine lacks; quick, for it runs before each `make`."""
    wanted = [
        (has("upx"), Need(_BACKPORTED, "packs programs")),
        (has("qemu-arm") and has("qemu-aarch64"), Need("qemu-user", "proves that a Pi's program starts")),
        (has("skopeo"), Need("skopeo", "copies images of others into the cluster's registry")),
        (has("mmdebstrap"), Need("mmdebstrap", "makes the virtual Pis' file system")),
        (os.geteuid() == 0 or has("newuidmap"), Need("uidmap", "lets mmdebstrap work without root")),
        (
            Path("/usr/share/keyrings/debian-archive-keyring.gpg").exists(),
            Need("debian-archive-keyring", "signs the virtual Pis' packages"),
        ),
        (Path("/etc/ssl/certs/ca-certificates.crt").exists(), Need("ca-certificates", "lets Go check its downloads")),
        (has("gpg"), Need("gnupg", "makes the keys with which tests sign packages")),
        (_has_browser(), Need("chromium", "looks at the cluster's page in tests")),
        (Path("/usr/share/fonts/opentype/inter").exists(), Need("fonts-inter", "letters for chromium")),
        (has("ssh"), Need("openssh-client", "reaches the nodes")),
        (importlib.util.find_spec("ensurepip") is not None, Need("python3-venv", "makes .venv")),
        (engine_answers or has("dockerd"), Need("docker.io", "runs the virtual Pis")),
        (has("docker"), Need("docker-cli", "talks to the swarm")),
    ]
    return [need for there, need in wanted if not there]


def _has_browser() -> bool:
    """Whether there is one that tests can use, or none to be had by apt: Ubuntu's package only fetches a snap."""
    return any(map(has, BROWSERS)) or _release().get("ID") == "ubuntu"


def _release() -> dict[str, str]:
    """What this machine's system says of itself (os-release(5)); nothing where it does not."""
    try:
        return platform.freedesktop_os_release()
    except OSError:
        return {}


def install(found: list[Need], rights: Rights, log: Path) -> None:
    """Install packages, from backports where this Debian lacks one."""
    if not has("apt-get"):
        raise SetupError(
            f"this machine has no apt-get, and these are missing: {', '.join(need.package for need in found)}",
            "Debian 12 or 13, or Ubuntu 24.04; or install them by hand",
        )
    # a run that was killed in the middle of dpkg leaves work to finish; nothing to do takes no time
    rights.program("finishing earlier installations", log, "sh", "-c", _FINISH, env=_QUIET).run()
    names = [need.package for need in found]
    added = _BACKPORTED in names and _add_backports(rights, log)
    if added or _unknown(names):
        rights.program("reading the package lists", log, "apt-get", *_LOCK, "update", env=_QUIET).run()
    rights.program(
        f"installing {' '.join(_settled(names))}",
        log,
        *("apt-get", *_LOCK, "install", "--yes", "--no-install-recommends", *_settled(names)),
        env=_QUIET,
    ).run()


def _settled(names: list[str]) -> list[str]:
    """The names of this distribution: before Debian 13 the docker command is a part of docker.io."""
    if "docker-cli" in names and _unknown(["docker-cli"]):
        return sorted({*names, "docker.io"} - {"docker-cli"})
    return names


def _unknown(names: list[str]) -> list[str]:
    """Those that apt cannot install as things stand."""
    known = candidates(ask("apt-cache", "policy", *names) or "")
    return [name for name in names if name not in known]


def candidates(policy: str) -> set[str]:
    """Packages of an `apt-cache policy` that can be installed."""
    return set(re.findall(r"^(\S+):\n(?:  .*\n)*?  Candidate: (?!\(none\))", policy, re.MULTILINE))


def _add_backports(rights: Rights, log: Path) -> bool:
    """Where this Debian has no upx, add its backports, for that one package; whether it did."""
    codename = _release().get("VERSION_CODENAME", "")
    if codename != "bookworm" or not _unknown([_BACKPORTED]):
        return False
    source = backports_source(
        # without --no-release-info apt names only what it has already fetched: nothing, on a fresh machine
        ask("apt-get", "indextargets", "--no-release-info", "--format", "$(RELEASE)|$(REPO_URI)|$(SIGNED_BY)") or "",
        codename,
    )
    say(f"{codename} has no {_BACKPORTED}: adding {_SOURCE} and {_PIN}, for that package only")
    for path, text in ((_PIN, _pin(codename)), (_SOURCE, source)):
        rights.program(f"writing {path}", log, "install", "-m", "0644", "/dev/stdin", str(path), text=text).run()
    return True


def backports_source(index_targets: str, codename: str) -> str:
    """The backports of the mirror that this machine uses already, as a deb822 source.

    Raises:
        SetupError: no configured source serves `codename`.
    """
    for line in index_targets.splitlines():
        release, uri, signed_by = line.split("|", 2)
        if release == codename:
            text = f"Types: deb\nURIs: {uri}\nSuites: {codename}-backports\nComponents: main\n"
            return text + (f"Signed-By: {signed_by}\n" if signed_by.startswith("/") else "")
    raise SetupError(
        f"{_BACKPORTED} is in {codename}-backports only, and no apt source of this machine serves {codename}",
        f"put {codename} into /etc/apt/sources.list.d, or install upx 4.2 or newer by hand",
    )


def _pin(codename: str) -> str:
    return (
        f"Package: *\nPin: release n={codename}-backports\nPin-Priority: -1\n\n"
        f"Package: {_BACKPORTED}\nPin: release n={codename}-backports\nPin-Priority: 500\n"
    )
