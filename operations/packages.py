"""How the engine's packages come to a host, in one version for the whole cluster, and stay as they are.

apt by itself would leave a swarm with engines that differ, and its nightly upgrades would restart them all at once
(docker/for-linux#813): so the version is chosen here, and the packages are held.
"""

from __future__ import annotations

from collections.abc import Generator, Iterator
from dataclasses import dataclass
from typing import Final

from pyinfra import host, inventory, state
from pyinfra.api import StringCommand
from pyinfra.api.command import PyinfraCommand

from facts.apt import UPDATED, Apt, Offer
from facts.engine import CONFIGURATION, DATA, PACKAGES, Engine, EngineState, Remains
from facts.swarm import Swarm
from operations import leader
from operations.attempt import Attempt, notice
from operations.known import PARTS, answering, converges, known
from operations.refusal import Refused
from operations.version import MIX, choose, fits, mixed, upstream, who_has

Steps = Generator[PyinfraCommand, None, None]

DAY = 24 * 3600.0
# The programs that the other operations and facts start, with the packages that bring them.
_PROGRAMS: Final = {"curl": "curl", "nft": "nftables"}

# dpkg itself does not wait for another dpkg, such as the automatic upgrade of a first boot.
_FINISH = (
    "for second in $(seq 300); do"
    " said=$(DEBIAN_FRONTEND=noninteractive dpkg --configure -a --force-confold 2>&1) && exit 0;"
    ' case "$said" in *lock*) sleep 1;; *) break;; esac; done; echo "$said" >&2; exit 1'
)
_APT = "apt-get -qq -o DPkg::Lock::Timeout=300"
_ALL = " ".join(name for names in PACKAGES.values() for name in names)
_PURGE = f"""\
systemctl stop docker.service docker.socket containerd.service 2>/dev/null
packages=$(dpkg-query --show --showformat='${{Package}}\\n' {_ALL} 2>/dev/null)
if test "$packages"; then
  apt-mark -qq unhold $packages
  DEBIAN_FRONTEND=noninteractive {_APT} -y --allow-change-held-packages purge $packages || exit
fi
# What dockerd mounted, it may have left.
below() {{ awk '$2 ~ "^/(run|var/lib)/(docker|containerd)/" {{ print $2 }}' /proc/mounts | sort -r; }}
below | xargs -r umount -l
if test "$(below)"; then echo "E: still mounted, so no data were removed: $(below | xargs)" >&2; exit 1; fi
for link in docker0 docker_gwbridge; do ip link delete $link 2>/dev/null; done
# The folders themselves may be mounts, as those on a disk of their own; another disk below them is a person's.
for folder in {" ".join(DATA)}; do find $folder -xdev -mindepth 1 -delete 2>/dev/null; done
rm -rf {" ".join(CONFIGURATION)} && {{ rmdir {" ".join(DATA)} 2>/dev/null || true; }} && systemctl daemon-reload
"""
# What apt says, and what helps.
_FIXES: Final = (
    (("No space left", "enough free space"), "free some of its disk (`df -h`, `sudo apt-get clean`)"),
    (("Could not get lock", "Unable to acquire"), "wait until the other program that installs is done"),
    (("NO_PUBKEY", "not signed", "Signed-By"), "look at its sources in /etc/apt/sources.list.d and their keys"),
    (("resolv", "connect", "fetch", "download"), "let it reach its package sources (network, proxy, clock)"),
)


@dataclass(frozen=True)
class Wanted:
    """Which engine a cluster has."""

    source: str
    """`distribution` or `docker-ce`."""
    version: str
    """Whole, or as many of its numbers as a person cares for; empty for what the cluster has, or apt's choice."""

    @property
    def engine(self) -> str:
        """The engine's own package."""
        return PACKAGES[self.source][0]


@converges(Engine, Apt)
def offered(wanted: Wanted, newer_than: float = DAY, always: bool = False) -> Steps:
    """Have apt know the packages that have to be installed; its lists are read anew only where they have to be.

    Args:
        newer_than: the age, in seconds, from which on lists are too old.
        always: also where nothing has to be installed, for an upgrade.
    """
    found = known(Engine)
    if found.source not in ("", wanted.source):
        raise Refused(_another(found, wanted))
    if not (always or _missing(found, wanted)):
        host.noop("nothing to install")
        return
    if known(Apt).age < newer_than and _is_offered(wanted):
        host.noop("apt's lists will do")
        return
    yield (attempt := update())
    if attempt.failed and not known(Apt).offers[wanted.engine].candidate:
        raise Refused(failure("reading the lists of its package sources", attempt))


def install(option: str = "") -> str:
    """The command that installs the packages that are written after it."""
    # Which hold is ours and which service is ours to restart is known here; nobody is there to be asked.
    return (
        f"DEBIAN_FRONTEND=noninteractive NEEDRESTART_SUSPEND=1 {_APT} -y -o Dpkg::Use-Pty=0"
        f" -o Dpkg::Options::=--force-confold --no-install-recommends --allow-change-held-packages {option} install"
    )


def update(only: str = "") -> Attempt:
    """The command that reads apt's lists anew.

    Args:
        only: the file of the one source whose lists are read.
    """
    # An index that cannot be had is an error, not a warning. Translations are large and of no use here.
    command = f"{_APT} -o APT::Update::Error-Mode=any -o Acquire::Languages=none -o APT::Get::List-Cleanup=false update"
    if only:
        return Attempt(f"{command} -o Dir::Etc::sourcelist={only} -o Dir::Etc::sourceparts=-")
    return Attempt(f"{command} && mkdir -p $(dirname {UPDATED}) && touch {UPDATED}")


def _another(found: EngineState, wanted: Wanted) -> str:
    packages = " ".join(PACKAGES[found.source])
    return (
        f"has {PACKAGES[found.source][0]} {found.version}, and engine_source is {wanted.source!r}, whose"
        f" {wanted.engine} would replace it with all that it runs. Write engine_source = {found.source!r} to keep it;"
        f" or take it away yourself (`sudo apt-get remove {packages}` on {host.name}), then run again"
    )


def _is_offered(wanted: Wanted) -> bool:
    """Whether apt knows the engine in the version that is asked for, or that the other hosts have."""
    asked = wanted.version or next(map(upstream, _engines().values()), "")
    return any(fits(version, asked) for version in known(Apt).offers[wanted.engine].versions)


def _missing(found: EngineState, wanted: Wanted) -> list[str]:
    """The packages that have to be installed, the engine's own first."""
    engine, cli, *_ = PACKAGES[wanted.source]
    return [
        *([engine] if not found.version else []),
        *([cli] if "docker" not in found.programs else []),
        *(package for program, package in _PROGRAMS.items() if program not in found.programs),
    ]


@converges(Engine, Swarm, Apt)
def installed(wanted: Wanted) -> Steps:
    """Install what is missing of the engine, in the cluster's version, and have apt leave it as it is from then on."""
    if known(Engine).interrupted:
        yield StringCommand(_FINISH)
        yield StringCommand(install("--fix-broken"))
    found = known(Engine)
    if found.version:
        _look_at_version(found, wanted)
    if not _missing(found, wanted) and found.held.issuperset(_held(found, wanted)):
        host.noop("already installed")
        return
    if _missing(found, wanted):
        yield from _install(found, wanted)
    else:
        yield StringCommand(hold(wanted))


def _look_at_version(found: EngineState, wanted: Wanted) -> None:
    """Say what is wrong with the version that a host has, and refuse to let it into a swarm that it would harm."""
    engines = _engines()
    if mixed(engines.values()):
        sentence = (
            f"{who_has(engines)}; {MIX}. pyinfra INVENTORY deploys/upgrade.py brings all to one version"
            " (its option --data major=true lets it cross majors)"
        )
        membership = known(Swarm).membership
        if membership is None or not membership.inside:
            raise Refused(sentence)
        notice(sentence)
    if not fits(found.version, wanted.version):
        notice(
            f"has engine {found.version}, and engine_version is {wanted.version!r};"
            " pyinfra INVENTORY deploys/upgrade.py brings it there"
        )


def _install(found: EngineState, wanted: Wanted) -> Steps:
    for last in (False, True):
        packages = _chosen(found, wanted)
        yield (attempt := Attempt(f"{install()} {' '.join(packages)} && {hold(wanted)}"))
        if not attempt.failed:
            return
        # Lists that are older than the mirror name packages which are no longer there.
        if last or not any(sign in attempt.stderr for sign in ("fetch", "not found", "locate", "unmet")):
            raise Refused(failure(f"installing {' '.join(packages)}", attempt))
        yield update()


def _chosen(found: EngineState, wanted: Wanted) -> list[str]:
    """The packages that are missing, as apt-get takes them: those of the engine with their version."""
    missing, offers = _missing(found, wanted), known(Apt).offers
    if not (found.version or offers[wanted.engine].versions):
        # While pyinfra only prepares, apt's lists may not have been read; if they have been, apt's own words are best.
        return missing
    version = found.version or _choose(wanted)
    pinned = [package for package in missing if version in offers[package].versions]
    # A distribution's older engine brings its own command line.
    return [
        f"{package}={version}" if package in pinned else package for package in missing if offers[package].candidate
    ]


def _choose(wanted: Wanted) -> str:
    engines = _engines()
    if mixed(engines.values()):
        raise Refused(f"{who_has(engines)}; {MIX}. Bring these to one version first (deploys/upgrade.py)")
    try:
        choice = choose(host.name, wanted.version, dict(_offers(wanted)), engines)
    except ValueError as error:
        raise Refused(str(error)) from error
    if choice.warning:
        notice(choice.warning)
    return choice.version


def _engines() -> dict[str, str]:
    """The versions of the engines that are there, by host; of nodes that cannot be asked, what the swarm says."""
    engines = {other.name: seen.version for other, seen in answering(Engine, inventory)}
    there = leader.find()
    nodes = [node for node in there.nodes.values() if node.state == "ready"] if there else []
    return {name: found for name, found in engines.items() if found} | {
        node.hostname: upstream(node.version) for node in nodes if node.hostname not in engines and node.version
    }


def _offers(wanted: Wanted) -> Iterator[tuple[str, Offer]]:
    """What apt offers for the engine, by host, of all that have none and that this run goes on with."""
    for other, seen in answering(Engine, inventory):
        if not seen.version and other in state.active_hosts:
            yield other.name, known(Apt, of=other).offers[wanted.engine]


@converges(*PARTS)
def purged() -> Steps:
    """Take the engine away with its configuration and its data: images, volumes, its place in a swarm.

    Only what its rules left in the kernel stays until the next start of the host.
    """
    found = known(Engine)
    if not (found.packages or found.interrupted or known(Remains)):
        host.noop("nothing is left of it")
        return
    yield (attempt := Attempt(_PURGE))
    if attempt.failed:
        raise Refused(failure("removing the engine", attempt))


def _held(found: EngineState, wanted: Wanted) -> set[str]:
    return found.packages.keys() & set(PACKAGES[wanted.source])


def hold(wanted: Wanted) -> str:
    """Have apt leave the engine's packages alone, as far as they are installed."""
    names = " ".join(PACKAGES[wanted.source])
    return (
        f"dpkg-query --show --showformat='${{db:Status-Abbrev}} ${{Package}}\\n' {names} 2>/dev/null"
        " | sed -n 's/^.i. //p' | xargs apt-mark -qq hold"
    )


def failure(what: str, attempt: Attempt) -> str:
    """What apt could not do, in its own words, and what may help."""
    lines = attempt.stderr.splitlines()
    words = [line for line in lines if line.startswith(("E:", "dpkg:"))] or lines
    fix = next((fix for signs, fix in _FIXES if any(sign in attempt.stderr for sign in signs)), "")
    advice = f"On {host.name}: {fix or 'mend what they name'}, then run again"
    return "\n".join((f"{what} failed. apt's own words:", *words[-6:], advice))
