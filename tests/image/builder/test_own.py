"""The page's image of one's own: every file of it is taken from the page, as a reader would."""

from __future__ import annotations

import re
from collections.abc import Iterator
from dataclasses import MISSING, fields, is_dataclass
from pathlib import Path
from types import UnionType
from typing import get_args, get_type_hints

import pytest
import yaml

from image import plan, settings
from image.builder import start
from image.cluster import Cluster, Endpoint, Node
from image.plan import ROOT, Description, Image
from image.platform import Platform
from image.run import run
from image.stack import lint, template
from image.stack.lint import Swarm
from tests.image.programs import OWN, plain

SECTION = (ROOT / "docs" / "image.md").read_text().partition("\n## An image of your own\n")[2].partition("\n## ")[0]
BLOCKS = dict(re.findall(r"```\w+\n *(?://|#) (\S+)\n(.*?)```", SECTION, re.DOTALL))


@pytest.fixture
def image(tmp_path: Path) -> Image:
    """The page's folder, read."""
    folder = tmp_path / "Hello"
    folder.mkdir()
    for name in ("main.go", "go.mod", "image.toml", "Dockerfile"):
        (folder / name).write_text(BLOCKS[f"Hello/{name}"])
    (found,) = plan.read(root=tmp_path)
    return found


def test_the_pages_program_compiles_and_starts(image: Image, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("GOCACHE", run("go", "env", "GOCACHE").strip())  # the standard library is slow to compile
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "cache"))
    program = plain(image, OWN)
    start.prove(program, image, OWN)
    assert run(program, "--version") == "hello 0.1.0\n"
    assert run("gofmt", "-l", image.folder) == ""


def test_the_pages_dockerfile_is_as_the_others(image: Image) -> None:
    ours, another = (
        [line.split() for line in (folder / "Dockerfile").read_text().splitlines()]
        for folder in (image.folder, ROOT / "NodeExporter")
    )
    assert ours[:3] == another[:3]
    assert [line[0] for line in ours] == [line[0] for line in another]


def test_the_pages_service_fits_into_the_stack(image: Image, tmp_path: Path) -> None:
    node = Node(
        "n1", "pi1", "198.18.0.11", "manager", True, Platform("linux", "arm64"), {"prometheus": "true"}, 2**32, 4
    )
    cluster = Cluster("attic", Endpoint("tcp://198.18.0.11:2376"), (node,), tmp_path)
    images = {one.name: f"r/{one.name}@sha256:0" for one in (*plan.read(), image)}
    text = template.TEMPLATE.read_text()
    (tmp_path / "stack.yml.j2").write_text(
        text.replace("\nservices:\n", f"\nservices:\n{BLOCKS['stack/stack.yml.j2']}", 1)
    )
    values = template.variables(cluster, images, settings.read())
    rendered = template.render(values, tmp_path / "stack.yml.j2")
    assert yaml.safe_load(rendered)["services"]["hello"]["image"] == "r/hello@sha256:0"
    assert lint.lint(rendered, Swarm((node,), registry_port=5000)) == ()


def keys(kind: type = Description, table: str = "") -> Iterator[tuple[str, bool]]:
    """Every key that image.toml may have, as the page writes it, and whether it has to be there."""
    hints = get_type_hints(kind)
    needed = {name for name in hints if not hasattr(kind, name)} - {
        field.name for field in fields(kind) if field.default_factory is not MISSING
    }
    for name, hint in hints.items():
        present = (
            next((each for each in get_args(hint) if is_dataclass(each)), hint) if isinstance(hint, UnionType) else hint
        )
        if isinstance(present, type) and is_dataclass(present):
            yield f"[{name}]", name in needed
            yield from keys(present, f"[{name}] ")
        else:
            yield f"{table}{name}", name in needed


def test_the_page_has_a_row_for_each_key_and_says_whether_it_must_be_there() -> None:
    rows = re.findall(r"^\| `([^`]+)` \| (\*?) ?\|", SECTION, re.MULTILINE)
    assert sorted((key, bool(star)) for key, star in rows) == sorted(keys())
