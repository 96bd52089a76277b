"""No secret shows: what pyinfra prints, each program's arguments and environment on every host, and open files.

The virtual Pis' programs are this machine's own, so their arguments are in its /proc.
"""

from __future__ import annotations

import base64
import json
import os
import threading
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path

from tests.commands import Lab
from tests.deploys.test_membership import PIS

ALL = ("-vvv", "--diff")


def secrets_of(lab: Lab) -> dict[str, str]:
    """The real values, each with what it is; of keys a line in the middle."""
    login = json.loads((lab.folder / "config.json").read_text())["auths"][f"{lab.address('pi1')}:5000"]["auth"]
    return {
        **{f"{role} token": token(lab, role) for role in ("worker", "manager")},
        "registry login": login,
        "registry password": base64.b64decode(login).decode().partition(":")[2],
        "unlock key": (lab.folder / "unlock-key").read_text().strip(),
        **{f"key of {pi}": lab.on(pi, "cat", "/etc/docker/tls/server-key.pem").ok().splitlines()[1] for pi in PIS},
        **{name: (lab.folder / name).read_text().splitlines()[1] for name in ("ca-key.pem", "key.pem")},
    }


def token(lab: Lab, role: str) -> str:
    return lab.on("pi1", "docker", "swarm", "join-token", "-q", role).ok().strip()


@contextmanager
def watched() -> Iterator[set[bytes]]:
    """Collects the arguments and environment of every program on this machine and in its containers."""
    seen: set[bytes] = set()
    over = threading.Event()

    def watch() -> None:
        while not over.wait(0.005):
            for process in os.scandir("/proc"):
                if process.name.isdigit():
                    for what in ("cmdline", "environ"):
                        with suppress(OSError):
                            seen.add(Path(f"/proc/{process.name}/{what}").read_bytes())

    watcher = threading.Thread(target=watch)
    watcher.start()
    try:
        yield seen
    finally:
        over.set()
        watcher.join()


def open_files_with(lab: Lab, pi: str, secrets: list[str]) -> str:
    """Files on a virtual Pi that everybody may read and that hold one of these."""
    patterns = "\n".join(secrets)
    return lab.on(
        pi, "sh", "-c",
        f"cat > /run/patterns && chmod 600 /run/patterns && printf %s '{patterns}' > /run/patterns;"
        " find /etc /run /var /home /root /tmp -xdev -type f -perm -o=r -size -1024k -print0 2>/dev/null"
        " | xargs -0 grep -l -F -f /run/patterns 2>/dev/null; rm /run/patterns",
    ).stdout  # fmt: skip


def test_no_secret_shows_anywhere_while_a_cluster_is_made_and_changed(five: Lab, tmp_path: Path) -> None:
    locking = five.inventory(
        tmp_path, "managers = _with(_managers, autolock=True)\nworkers = _with(_workers, autolock=True)"
    )
    with watched() as seen:
        said = five.pyinfra("-y", *ALL, locking, "deploys/swarm.py").said
        # Everything has to be done again for what can be shown to be shown: joins, certificates, the login, unlocking.
        five.on("pi5", "docker", "swarm", "leave").ok()
        five.on("pi4", "rm", "-rf", "/etc/docker/tls").ok()
        five.on("pi1", "rm", "/etc/docker/registry/htpasswd").ok()
        five.restart_engine("pi2")
        said += five.pyinfra("--debug-operations", locking, "deploys/swarm.py").said
        said += (done := five.pyinfra("-y", *ALL, locking, "deploys/swarm.py")).said
        done.ok()
        said += five.pyinfra("-y", *ALL, locking, "deploys/leave.py", "--limit", "pi3").said
        said += (done := five.pyinfra("-y", *ALL, locking, "deploys/swarm.py")).said
        done.ok()
        secrets = secrets_of(five)
        # Most programs end before the next look. One that waits shows that the hosts' are in sight at all.
        five.on("pi4", "sh", "-c", "sleep 3; exit 0", "in-sight").ok()
    assert any(b"in-sight" in argv for argv in seen), "the watcher sees what runs on the hosts"
    assert said.count("Join the") >= 2
    for what, secret in secrets.items():
        assert secret not in said, f"{what} is in what pyinfra printed"
        assert not [shown for shown in seen if secret.encode() in shown], f"{what} is in an argv or an environment"
    for pi in PIS:
        assert open_files_with(five, pi, list(secrets.values())) == ""
    for path in five.folder.rglob("*"):
        assert path.stat().st_mode & 0o077 == 0, path
    five.provision().ok()
