"""Docker's own packages, from a small signed repository, and newer ones later; hosts are read by dpkg and docker."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from itertools import pairwise
from pathlib import Path

import pytest

from tests import apt
from tests.apt import Repository
from tests.commands import Done, Lab, nothing_proposed
from tests.conftest import NAME
from tests.deploys.test_engine import availability, invocation, journal, now, starts
from tests.openpgp import SigningKey

PIS = ["pi1", "pi2", "pi3"]
FIRST, SECOND, THIRD = (f"5:{number}-1~debian.13~trixie" for number in ("28.5.1", "28.5.2", "29.0.0"))
HIDDEN = "hidden"


@dataclass(frozen=True)
class Shop:
    """A lab of three managers, and the repository that its nodes reach."""

    lab: Lab
    repository: Repository
    address: str
    folder: Path

    def inventory(self, **data: object) -> str:
        """The lab with Docker's own packages; `data` for each host."""
        source = {
            "engine_source": "docker-ce",
            "engine_repository": self.address,
            "engine_key_fingerprint": self.repository.key.fingerprint,
        }
        return self.lab.inventory(self.folder, f"managers = _with(_managers, **{ {**source, **data}!r})\nworkers = []")

    def offer(self, *versions: str) -> None:
        """Have the repository offer these versions of the engine alone, and the nodes look for them."""
        for deb in [*self.repository.folder.glob(f"{HIDDEN}/*.deb"), *self.repository.pool.glob("*.deb")]:
            shown = any(f"_{version.partition(':')[2]}_" in deb.name for version in versions)
            deb.rename(self.repository.folder / ("pool" if shown or "containerd" in deb.name else HIDDEN) / deb.name)
        self.repository.publish()
        apt.forgotten(self.lab, *PIS)

    def versions(self) -> dict[str, str]:
        """The engine's package on each node."""
        return {
            pi: self.lab.on(pi, "dpkg-query", "--show", "--showformat=${Version}", "docker-ce").stdout for pi in PIS
        }


@pytest.fixture(scope="module")
def blank_shop(engine: None, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Shop]:
    with Lab(f"{NAME}-ce", managers=3).fresh(3) as lab:
        folder = tmp_path_factory.mktemp("shop")
        repository = apt.docker_ce(lab, folder, [FIRST, SECOND, THIRD])
        (repository.folder / HIDDEN).mkdir()
        gateway = lab.address("pi1").rsplit(".", 1)[0] + ".1"
        for pi in PIS:
            direct = f'Acquire::http::Proxy::{gateway} "DIRECT";'
            lab.on(pi, "sh", "-c", f"echo '{direct}' > /etc/apt/apt.conf.d/zz-shop").ok()
        with apt.served(repository.folder, gateway) as address:
            yield Shop(lab, repository, address, folder)


@dataclass(frozen=True)
class Beginnings:
    """What became of the first runs on blank nodes."""

    shop: Shop
    wrong_key: Done
    traces: str
    full_disk: Done
    after_full_disk: dict[str, str]


@pytest.fixture(scope="module")
def beginnings(blank_shop: Shop) -> Beginnings:
    shop = blank_shop
    shop.offer(FIRST, SECOND)
    shop.repository.publish(offered=SigningKey("somebody else"))
    first = shop.inventory(engine_version="28.5.1")
    wrong_key = shop.lab.deploy("swarm", inventory=first)
    traces = "".join(
        shop.lab.on(pi, "sh", "-c", "ls /etc/apt/keyrings /etc/apt/sources.list.d; command -v dockerd").stdout
        for pi in PIS
    )
    shop.repository.publish()
    full = "/var/cache/apt/archives"
    shop.lab.on("pi2", "mount", "-t", "tmpfs", "-o", "size=1m", "tmpfs", full).ok()
    full_disk = shop.lab.deploy("swarm", inventory=first)
    after = shop.versions()
    shop.lab.on("pi2", "umount", full).ok()
    shop.lab.deploy("swarm", inventory=first).ok()
    return Beginnings(shop, wrong_key, traces, full_disk, after)


@pytest.fixture(scope="module")
def shop(beginnings: Beginnings) -> Shop:
    """A swarm of Docker's own packages, in the first version."""
    return beginnings.shop


def test_a_key_with_another_fingerprint_is_refused_and_nothing_changes(beginnings: Beginnings) -> None:
    wanted = beginnings.shop.repository.key.fingerprint
    said = beginnings.wrong_key.refused(f"and not {wanted}", "engine_key_fingerprint", "Nothing was changed")
    for pi in PIS:
        assert f"[{pi}] the key" in said
    assert beginnings.traces == "/etc/apt/keyrings:\n\n/etc/apt/sources.list.d:\n" * 3


def test_a_host_whose_disk_is_full_is_named_with_apts_words_and_the_others_carry_on(beginnings: Beginnings) -> None:
    said = beginnings.full_disk.refused("[pi2] installing docker-ce", "enough free space", "df -h")
    assert "[pi1] installing" not in said
    assert beginnings.after_full_disk == {"pi1": FIRST, "pi2": "", "pi3": FIRST}


def test_lists_that_are_too_old_were_read_again(shop: Shop) -> None:
    for pi in PIS:
        shop.lab.on(pi, "find", "/var/lib/apt/periodic/update-success-stamp", "-mmin", "-60").ok()


def test_apt_trusts_the_repository_by_its_own_key_alone(shop: Shop) -> None:
    source = shop.lab.on("pi1", "cat", "/etc/apt/sources.list.d/docker.sources").ok()
    assert "Signed-By: /etc/apt/keyrings/docker.asc\n" in source
    held = shop.lab.on("pi1", "apt-mark", "showhold").ok().split()
    assert held == ["containerd.io", "docker-ce", "docker-ce-cli"]


def test_a_second_run_proposes_nothing(shop: Shop) -> None:
    assert nothing_proposed(shop.lab.dry("swarm", inventory=shop.inventory()))


def test_an_engine_of_another_version_than_the_setting_stays_and_is_told_of(shop: Shop) -> None:
    before = shop.versions()
    done = shop.lab.deploy("swarm", inventory=shop.inventory(engine_version="30"))
    done.ok()
    assert f"[pi1] has engine {before['pi1']}, and engine_version is '30'" in done.said
    assert shop.versions() == before


def test_the_address_of_the_repository_is_asked_for(shop: Shop) -> None:
    said = shop.lab.deploy("swarm", inventory=shop.inventory(engine_repository=None)).refused(
        "engine_source = 'docker-ce' needs engine_repository", "Install Docker Engine on Debian"
    )
    assert "Starting operation" not in said


def test_an_engine_of_the_other_source_is_not_replaced_but_named_with_the_way_out(shop: Shop) -> None:
    before = shop.versions(), {pi: invocation(shop.lab, pi) for pi in PIS}
    shop.lab.provision().refused(
        "[pi1] has docker-ce 5:2", "engine_source is 'distribution'", "engine_source = 'docker-ce' to keep it"
    )
    assert (shop.versions(), {pi: invocation(shop.lab, pi) for pi in PIS}) == before


def test_a_new_host_gets_the_version_that_the_others_have(shop: Shop) -> None:
    shop.offer(FIRST, SECOND, THIRD)
    shop.lab.deploy("reset", "--data", "yes=true", "--limit", "pi3", inventory=shop.inventory()).ok()
    assert shop.versions()["pi3"] == ""
    shop.lab.deploy("swarm", inventory=shop.inventory()).ok()
    assert shop.versions()["pi3"] == shop.versions()["pi1"]


def test_a_new_host_that_could_only_get_another_major_gets_nothing(shop: Shop) -> None:
    shop.lab.deploy("reset", "--data", "yes=true", "--limit", "pi3", inventory=shop.inventory()).ok()
    other = FIRST if shop.versions()["pi1"] == THIRD else THIRD
    shop.offer(other)
    try:
        said = shop.lab.deploy("swarm", inventory=shop.inventory()).refused(
            f"[pi3] apt offers {other} here, and pi1 and pi2 have", "overlay traffic", "upgrade.py"
        )
        assert "[pi1] apt offers" not in said
        assert shop.versions()["pi3"] == ""
    finally:
        shop.offer(FIRST, SECOND, THIRD)
        shop.lab.deploy("swarm", inventory=shop.inventory()).ok()


@dataclass(frozen=True)
class Upgraded:
    """What became of the way to the second version."""

    shop: Shop
    since: str
    failed: Done
    after_failure: tuple[dict[str, str], dict[str, str]]
    paused: dict[str, str]


@pytest.fixture(scope="module")
def second(shop: Shop) -> Upgraded:
    shop.offer(FIRST, SECOND)
    lab, inventory = shop.lab, shop.inventory()
    lab.on("pi1", "docker", "node", "update", "--availability", "pause", "pi2").ok()
    broken = "/etc/apt/apt.conf.d/zz-broken"
    for pi in PIS:
        lab.on(pi, "sh", "-c", f"echo 'DPkg::Pre-Invoke {{\"false\";}};' > {broken}").ok()
    failed = lab.deploy("upgrade", inventory=inventory)
    after_failure = shop.versions(), availability(lab)
    for pi in PIS:
        lab.on(pi, "rm", broken).ok()
    since = now(lab, "pi1")
    lab.deploy("upgrade", inventory=inventory).ok()
    paused = availability(lab)
    lab.on("pi1", "docker", "node", "update", "--availability", "active", "pi2").ok()
    return Upgraded(shop, since, failed, after_failure, paused)


def test_an_upgrade_that_fails_stops_at_its_first_host_which_works_on(second: Upgraded) -> None:
    said = second.failed.refused("upgrading docker-ce=", "apt's own words", "stays as it is, for that failed on")
    assert said.count("upgrading docker-ce=") == 1
    versions, available = second.after_failure
    assert versions == dict.fromkeys(PIS, FIRST)
    assert available == {"pi1": "active", "pi2": "pause", "pi3": "active"}


def test_engines_are_upgraded_one_at_a_time_and_what_a_person_paused_stays_so(second: Upgraded) -> None:
    lab, since = second.shop.lab, second.since
    assert set(second.shop.versions().values()) <= {SECOND, THIRD}
    assert second.paused == {"pi1": "active", "pi2": "pause", "pi3": "active"}
    turns = sorted((journal(lab, pi, since, "Stopping docker")[0], starts(lab, pi, since)[0]) for pi in PIS)
    assert all(before[1] < after[0] for before, after in pairwise(turns)), turns
    for pi in PIS:
        assert "docker-ce" in lab.on(pi, "apt-mark", "showhold").ok().split()
        # Debian's packages, which these are within, leave the old program running.
        assert "deleted" not in lab.on(pi, "sh", "-c", "readlink /proc/$(pidof dockerd)/exe").ok()


def test_a_second_upgrade_has_nothing_to_do(second: Upgraded) -> None:
    shop = second.shop
    version = shop.versions()["pi1"]
    before = {pi: invocation(shop.lab, pi) for pi in PIS}
    said = shop.lab.deploy("upgrade", inventory=shop.inventory(engine_version=version)).ok()
    assert {pi: invocation(shop.lab, pi) for pi in PIS} == before
    assert nothing_proposed(shop.lab.dry("upgrade", inventory=shop.inventory(engine_version=version))), said


def test_there_is_no_way_back_to_an_older_engine(second: Upgraded) -> None:
    shop = second.shop
    before = shop.versions()
    shop.offer(FIRST, SECOND, THIRD)
    shop.lab.deploy("upgrade", inventory=shop.inventory(engine_version="28.5.1")).refused("[pi1]", FIRST, "is older")
    assert shop.versions() == before


def test_another_major_is_asked_for_with_what_breaks_and_not_begun_by_halves(second: Upgraded) -> None:
    shop = second.shop
    assert set(shop.versions().values()) == {SECOND}
    shop.offer(FIRST, SECOND, THIRD)
    inventory = shop.inventory(engine_version="29")
    shop.lab.deploy("upgrade", inventory=inventory).refused("another major", "overlay traffic", "--data major=true")
    half = shop.lab.deploy("upgrade", "--data", "major=true", "--limit", "pi1", inventory=inventory)
    half.refused("[pi1]", "mixed cluster", "pi2 and pi3 have")
    assert set(shop.versions().values()) == {SECOND}
    shop.lab.deploy("upgrade", "--data", "major=true", inventory=inventory).ok()
    assert set(shop.versions().values()) == {THIRD}
    nodes = shop.lab.on("pi1", "docker", "node", "ls", "--format", "{{.Status}} {{.ManagerStatus}}").ok()
    assert sorted(nodes.splitlines()) == ["Ready Leader", "Ready Reachable", "Ready Reachable"]
