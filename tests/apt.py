"""A small signed apt repository, laid out as Docker's, that a lab's nodes reach at their gateway's address."""

from __future__ import annotations

import hashlib
import re
import shutil
import subprocess
import threading
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field
from functools import partial
from http.server import SimpleHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path

from tests.commands import Lab, command
from tests.openpgp import SigningKey

SUITE, COMPONENT = "trixie", "stable"


def run(*argv: str | Path) -> str:
    return subprocess.run(argv, check=True, capture_output=True, text=True).stdout


@dataclass(frozen=True)
class Tree:
    """A package taken apart, of which packages with other names and versions are made."""

    folder: Path

    @classmethod
    def of(cls, deb: Path, folder: Path) -> Tree:
        run("dpkg-deb", "--raw-extract", deb, folder)
        return cls(folder)

    def build(self, into: Path, changes: Mapping[str, str]) -> None:
        """Make a package whose control fields are changed; an empty value takes a field away."""
        control = self.folder / "DEBIAN" / "control"
        original = control.read_text()
        try:
            control.write_text(changed(original, changes))
            run("dpkg-deb", "--root-owner-group", "-Zzstd", "-z1", "--build", self.folder, into)
        finally:
            control.write_text(original)


def changed(control: str, changes: Mapping[str, str]) -> str:
    """A control file with other fields."""
    fields = dict(re.findall(r"^(\S+):((?:.*)(?:\n .*)*)\n", control, re.MULTILINE))
    return "".join(f"{name}:{value}\n" for name, value in {**fields, **changes}.items() if value)


@dataclass(frozen=True)
class Repository:
    """A folder that a web server shows; `publish` signs what is in it."""

    folder: Path
    key: SigningKey = field(default_factory=SigningKey)

    @property
    def pool(self) -> Path:
        return self.folder / "pool"

    def publish(self, offered: SigningKey | None = None) -> None:
        """Write the lists and sign them.

        Args:
            offered: the key that the repository shows instead of the one that signs.
        """
        (self.folder / "gpg").write_text((offered or self.key).public())
        architecture = run("dpkg", "--print-architecture").strip()
        lists = self.folder / "dists" / SUITE / COMPONENT / f"binary-{architecture}"
        lists.mkdir(parents=True, exist_ok=True)
        packages = "\n".join(self._stanzas()).encode()
        (lists / "Packages").write_bytes(packages)
        name = f"{COMPONENT}/binary-{architecture}/Packages"
        release = (
            f"Suite: {SUITE}\nCodename: {SUITE}\nComponents: {COMPONENT}\nArchitectures: {architecture}\n"
            f"Date: {run('date', '--utc', '--rfc-email').strip()}\n"
            f"SHA256:\n {hashlib.sha256(packages).hexdigest()} {len(packages)} {name}\n"
        ).encode()
        suite = self.folder / "dists" / SUITE
        (suite / "Release").write_bytes(release)
        (suite / "Release.gpg").write_text(self.key.sign(release))

    def _stanzas(self) -> Iterator[str]:
        for deb in sorted(self.pool.glob("*.deb")):
            content = deb.read_bytes()
            yield (
                f"{run('dpkg-deb', '--field', deb)}Filename: pool/{deb.name}\n"
                f"Size: {len(content)}\nSHA256: {hashlib.sha256(content).hexdigest()}\n"
            )


class _Quiet(SimpleHTTPRequestHandler):
    def log_message(self, *_: object) -> None:
        """Tests print what they find."""


@contextmanager
def served(folder: Path, address: str) -> Iterator[str]:
    """A web server that shows `folder` at one address of this machine."""
    with ThreadingHTTPServer((address, 0), partial(_Quiet, directory=str(folder))) as server:
        threading.Thread(target=server.serve_forever, daemon=True).start()
        try:
            yield f"http://{address}:{server.server_port}"
        finally:
            server.shutdown()


def downloaded(lab: Lab, node: str, package: str, folder: Path) -> Path:
    """The package that provisioning would install on a node, as apt downloads it there."""
    lab.on(node, "sh", "-c", f"cd /root && apt-get download -qq {package}").ok()
    path = lab.on(node, "sh", "-c", f"ls /root/{package}_*.deb").ok().strip()
    command("docker", "cp", f"{lab.name}-{node}:{path}", folder / f"{package}.deb").ok()
    return folder / f"{package}.deb"


def docker_ce(lab: Lab, folder: Path, versions: Sequence[str]) -> Repository:
    """Docker's own packages in these versions: the distribution's programs under Docker's names."""
    repository = Repository(folder / "repository")
    repository.pool.mkdir(parents=True)
    trees = {
        package: Tree.of(downloaded(lab, "pi1", package, folder), folder / package)
        for package in ("docker.io", "docker-cli", "containerd")
    }
    alone = dict.fromkeys(("Replaces", "Breaks", "Recommends", "Suggests", "Provides", "Conflicts"), "")
    trees["containerd"].build(repository.pool, {**alone, "Package": " containerd.io", "Version": " 1.7.24-1"})
    needs = " containerd.io, docker-ce-cli, runc, tini, iptables"
    for version in versions:
        named = {**alone, "Version": f" {version}"}
        trees["docker.io"].build(repository.pool, {**named, "Package": " docker-ce", "Depends": needs})
        trees["docker-cli"].build(repository.pool, {**named, "Package": " docker-ce-cli"})
    for tree in trees.values():
        shutil.rmtree(tree.folder)
    return repository


def forgotten(lab: Lab, *nodes: str) -> None:
    """Make apt's lists on these nodes as old as if they had been read long ago."""
    for node in nodes:
        found = "/var/lib/apt/lists/partial /var/lib/apt/periodic/update-success-stamp"
        lab.on(node, "sh", "-c", f"touch --no-create --date '3 days ago' {found}").ok()
