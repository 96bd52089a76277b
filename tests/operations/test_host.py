"""When a kernel is asked to count memory, and when that needs a reboot, on values."""

from __future__ import annotations

from dataclasses import replace

import pytest
from hypothesis import given
from hypothesis import strategies as st

from facts.host import Clock, HostState
from operations.host import lacks_flag, needs_reboot, with_flag

CMDLINE = "console=serial0,115200 root=PARTUUID=4e639091-02 rootfstype=ext4 fsck.repair=yes rootwait"
FLAG = "cgroup_enable=memory"
# As a Raspberry Pi starts it: the firmware puts the device tree's words before the file's.
BOOTED = f"coherent_pool=1M cgroup_disable=memory {CMDLINE}"
PI = HostState(
    hostname="pi1",
    hosts_file="",
    hosts_template="",
    machine="aarch64",
    architecture="arm64",
    clock=Clock(0, keeps=True, can_keep=True),
    ipvs=True,
    modules=(),
    loaded_at_boot="",
    memory_cgroup=False,
    cmdline_path="/boot/firmware/cmdline.txt",
    cmdline=CMDLINE,
    booted_with=BOOTED,
    routes=(),
)


def test_a_pi_whose_kernel_does_not_count_memory_is_asked_to_and_started_anew() -> None:
    assert lacks_flag(PI)
    assert not needs_reboot(PI)
    asked = replace(PI, cmdline=with_flag(PI.cmdline))
    assert not lacks_flag(asked)
    assert needs_reboot(asked)


@pytest.mark.parametrize(
    "there",
    [
        replace(PI, memory_cgroup=True),
        replace(PI, memory_cgroup=True, cmdline=with_flag(CMDLINE)),
        replace(PI, cmdline=""),  # it could not be read
        replace(PI, cmdline_path="", cmdline=""),  # another machine, or another system on it
        replace(PI, cmdline=with_flag(CMDLINE), booted_with=f"{BOOTED} {FLAG}"),  # it was in vain: once is enough
    ],
)
def test_no_other_host_is_changed_or_started_anew(there: HostState) -> None:
    assert not lacks_flag(there)
    assert not needs_reboot(there)


def test_the_flag_comes_after_what_it_has_to_overrule_and_on_the_line_that_is_read() -> None:
    assert with_flag(f"{CMDLINE} cgroup_disable=memory") == f"{CMDLINE} cgroup_disable=memory {FLAG}"
    assert with_flag(f"{CMDLINE}\n# mine").splitlines() == [f"{CMDLINE} {FLAG}", "# mine"]


@given(st.text(st.characters(codec="ascii", exclude_categories=["C"])))
def test_the_command_line_stays_one_line_with_all_its_words(cmdline: str) -> None:
    assert with_flag(cmdline).split() == [*cmdline.split(), FLAG]
    assert "\n" not in with_flag(cmdline)
