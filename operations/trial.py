"""How a host changes its address without getting lost.

It tries the new one, and this computer looks for it there: for the same host, by its ssh key and by what the trial
left on it. If it is not found, a timer on the host takes the change back after a minute, and so does a reboot.
"""

from __future__ import annotations

from ipaddress import IPv4Address

from pyinfra import host
from pyinfra.api import StringCommand

from facts.network import TRIAL, Fixed, Interface
from operations.api import unseen
from operations.file import placing
from operations.fixed import Steps
from operations.reach import Identity, follow, identity, ssh, stranger

_UNDO_AFTER = 60  # seconds from when the host begins to change
_REACHED_WITHIN = 50.0  # so that there is time left to say so
_BACK_WITHIN = 120.0
_FAILURE = f"{TRIAL}.failure"  # what the host said as it gave up
_KEPT = f"{TRIAL}.kept"
# Asked again where an answer was lost: keeping it once is enough.
_KEEP = f"test -e {_KEPT} || sh {TRIAL}/keep"
_OVER = f"! test -e {TRIAL}"
_UNDO_UNIT, _ATTEMPT_UNIT = "pishelf-address-undo", "pishelf-address-attempt"


def settle(address: str) -> None:
    """Wait for the end of a trial that an earlier run left; afterwards the host may be where it was before it.

    Raises:
        ValueError: it is found nowhere.
    """
    places = [ssh(host).at, str(host.data.get("ssh_hostname") or address), address]
    if not follow(host, dict.fromkeys(places, _OVER), identity(host), _BACK_WITHIN):
        raise ValueError(f"it answers at none of {', '.join(places)}; switch it off and on, then run again")


def move(interface: Interface, new: Fixed, steps: Steps) -> None:
    """Try a fixed address, and keep it if the host is reached there.

    Raises:
        ValueError: it is not; why, and where the host is now.
    """
    who, before, now = identity(host), ssh(host).at, str(new.address.ip)
    if objection := stranger(host, now, who):
        raise ValueError(objection)
    done, said = unseen(host, StringCommand(_begin_script(interface, new, steps)))
    if not done:
        raise ValueError(said or "the host does not say why not")
    proofs = {now: _KEEP, before: _OVER} if now != before else {now: f"{_KEEP} || {_OVER}"}
    if not follow(host, proofs, who, _REACHED_WITHIN) or not unseen(host, StringCommand(f"test -e {_KEPT}"))[0]:
        raise ValueError(_back(who, before))


def _back(who: Identity, before: str) -> str:
    """Wait for a host whose trial failed, and say how that ended."""
    if not follow(host, {before: _OVER}, who, _BACK_WITHIN):
        return (
            f"it was not reached there, and is not back at {before} yet; switch it off and on, which takes back what"
            " was not confirmed"
        )
    _, said = unseen(host, StringCommand(f"cat {_FAILURE} || true"))
    why = " ".join(said.split()) or "it was not reached there within a minute"
    return (
        f"{why}; so it is back at {before}, and nothing was changed. Mend `address` in the inventory, or `gateway` in"
        " group_data/all.py, then run again"
    )


def _begin_script(interface: Interface, new: Fixed, steps: Steps) -> str:
    """Shell that arms the undo, then lets the host change by itself a second later, when we have hung up."""
    address = new.address.ip
    return "\n".join(
        [
            "set -e",
            _unless_taken(interface, address) if address not in {one.ip for one in interface.addresses} else "",
            f"rm -rf {TRIAL} {_FAILURE} {_KEPT}",
            f"mkdir -p -m 700 {TRIAL}",
            placing(f"{TRIAL}/attempt", _attempt_script(interface, new, steps)),
            placing(f"{TRIAL}/keep", _keep_script(steps)),
            placing(f"{TRIAL}/undo", _undo_script(steps)),
            f"touch {TRIAL}/armed",
            f"systemctl stop --quiet {_UNDO_UNIT}.timer 2>/dev/null || true",
            f"systemd-run --quiet --collect --unit={_UNDO_UNIT} --on-active={_UNDO_AFTER}"
            f" --timer-property=AccuracySec=1s sh {TRIAL}/undo",
            f"systemd-run --quiet --collect --unit={_ATTEMPT_UNIT} sh {TRIAL}/attempt",
        ]
    )


def _unless_taken(interface: Interface, address: IPv4Address) -> str:
    """Shell that ends with an error where another machine answers for the address."""
    return (
        f"other=$({_hardware_of(interface, address)})\n"
        f'if test -n "$other"; then echo "another machine, $other, has {address}; choose another address, or switch'
        ' that one off; then run again" >&2; exit 1; fi'
    )


def _hardware_of(interface: Interface, address: IPv4Address) -> str:
    """Shell that prints who answers for an address in the host's own network, also where that one hears no ping."""
    asked = f"to {address} dev {interface.name}"
    return (
        f"ip -4 neigh flush {asked} 2>/dev/null || true; ping -c 1 -W 1 {address} >/dev/null 2>&1 || true;"
        f" ip -4 neigh show {asked} nud reachable | sed -n 's/.*lladdr \\([^ ]*\\).*/\\1/p'"
    )


def _attempt_script(interface: Interface, new: Fixed, steps: Steps) -> str:
    outside = f" && {_gateway_answers(interface, new.gateway)}" if new.gateway else ""
    return (
        f"sleep 1\nif {{ {steps.attempt}{outside}; }} 2> {TRIAL}/said >/dev/null; then touch {TRIAL}/tried\n"
        f"else mv {TRIAL}/said {_FAILURE}; sh {TRIAL}/undo; fi\n"
    )


def _gateway_answers(interface: Interface, gateway: IPv4Address) -> str:
    """Shell that fails, and says so, where nobody answers for the gateway's address."""
    return (
        "{ answered=; command -v ping >/dev/null || answered=unasked;"
        f' for second in $(seq 10); do test "$answered" && break; answered=$({_hardware_of(interface, gateway)}); done;'
        f' test "$answered" || {{ echo "the gateway {gateway} does not answer" >&2; false; }}; }}'
    )


# Whoever renames `armed` decides; the other one finds it gone.
def _keep_script(steps: Steps) -> str:
    return (
        f"test -e {TRIAL}/tried && mv {TRIAL}/armed {TRIAL}/kept || exit 1\n"
        f"if {{ {steps.keep}; }} 2> {TRIAL}/said >/dev/null\n"
        f"then touch {_KEPT}; rm -rf {TRIAL}; systemctl stop {_UNDO_UNIT}.timer\n"
        # Not from here: it would cut off the connection that this runs in.
        f"else mv {TRIAL}/said {_FAILURE}; mv {TRIAL}/kept {TRIAL}/armed; systemd-run --quiet --collect sh {TRIAL}/undo"
        " && exit 1; fi\n"
    )


def _undo_script(steps: Steps) -> str:
    return f"mv {TRIAL}/armed {TRIAL}/undoing || exit 0\n{steps.undo}\nrm -rf {TRIAL}\n"
