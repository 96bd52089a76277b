"""A small web service of two replicas, and somebody who uses it all the time."""

from __future__ import annotations

import threading
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager

from tests.commands import Lab, command, no_proxy

PORT = 8090
_BUILD = """\
set -e; rm -rf /root/web; mkdir /root/web; cd /root/web
apt-get download -qq busybox-static >/dev/null 2>&1 || { apt-get update -qq; apt-get download -qq busybox-static; }
dpkg-deb -x busybox-static*.deb root; mkdir root/www; echo fine > root/www/index.html
cp root/*bin/busybox root/busybox 2>/dev/null || cp root/usr/bin/busybox root/busybox
tar -C root -cf web.tar busybox www
"""


def start(lab: Lab, nodes: list[str]) -> None:
    """Run two replicas of the service, each on a node of its own; any of `nodes` may run one."""
    lab.on(nodes[0], "sh", "-c", _BUILD).ok()
    tar = f"/tmp/{lab.name}-web.tar"  # noqa: S108 - the lab's name is this clone's alone
    command("docker", "cp", f"{lab.name}-{nodes[0]}:/root/web/web.tar", tar).ok()
    for node in nodes:
        command("docker", "cp", tar, f"{lab.name}-{node}:/root/web.tar").ok()
        lab.on(
            node, "docker", "import", "--change", 'CMD ["/busybox","httpd","-f","-h","/www"]', "/root/web.tar", "web"
        ).ok()
    lab.on(
        nodes[0], "docker", "service", "create", "--quiet", "--name", "web", "--replicas", "2", "--no-resolve-image",
        "--publish", f"mode=host,target=80,published={PORT}", "web",
    ).ok()  # fmt: skip


def stop(lab: Lab, node: str) -> None:
    lab.on(node, "docker", "service", "rm", "web")


def answers(address: str) -> bool:
    try:
        with no_proxy.open(f"http://{address}:{PORT}/", timeout=2) as answer:
            return bool(answer.read() == b"fine\n")
    except OSError:
        return False


@contextmanager
def used(addresses: list[str]) -> Iterator[list[int]]:
    """Ask for the service again and again while the body runs; gives how many nodes answered, each time."""
    seen: list[int] = []
    over = threading.Event()

    def use() -> None:
        with ThreadPoolExecutor(len(addresses)) as pool:
            while not over.wait(0.3):
                seen.append(sum(pool.map(answers, addresses)))

    user = threading.Thread(target=use)
    user.start()
    try:
        yield seen
    finally:
        over.set()
        user.join()
