"""The house's arrows: which folder may import which; read from the sources, nothing is imported."""

from __future__ import annotations

import ast
from pathlib import Path

import pytest

ROOT = Path(__file__).parent.parent
# Folder -> the folders of this project that it may import.
ARROWS = {
    "deploys": {"doctor", "operations", "facts", "pki"},
    "doctor": {"operations", "facts", "pki"},
    "operations": {"facts", "pki"},
    "facts": set[str](),
    "pki": set[str](),
    "image": {"pki"},
    "lab": {"image", "pki"},
    "bench": {"deploys", "lab", "image", "pki"},
    "metrics": set[str](),
    "tools": set[str](),
}
# The packages of image/, each with those that it may import. All may import what is in image/ itself, which imports
# none of them; but for the command line, which stands above all.
PACKAGES = {
    "registry": set[str](),
    "builder": {"registry"},
    "stack": {"registry", "builder"},
    "upkeep": {"registry", "builder", "stack"},
}
COMMAND_LINE = {"__main__", "cli", "commands", "completion", "options"}
# Who may know which library: the rest works on plain values.
ONLY_IN = {
    "pyinfra": {"deploys", "operations", "facts", "lab"},
    "pyinfra_cli": {"lab"},
    "click": {"image", "lab", "bench"},
    "rich": {"doctor", "image", "lab"},
    "jinja2": {"image"},
    "cryptography": {"pki", "operations", "lab"},
}


def imports(folder: str) -> dict[str, set[str]]:
    """The top-level modules that each file of `folder` imports."""
    found: dict[str, set[str]] = {}
    for path in sorted((ROOT / folder).rglob("*.py")):
        names: set[str] = set()
        for node in ast.walk(ast.parse(path.read_text())):
            if isinstance(node, ast.Import):
                names.update(alias.name.partition(".")[0] for alias in node.names)
            elif isinstance(node, ast.ImportFrom):
                assert node.level == 0, f"{path}: imports are absolute here"
                names.add((node.module or "").partition(".")[0])
        found[str(path.relative_to(ROOT))] = names
    return found


@pytest.mark.parametrize("folder", ARROWS)
def test_imports_point_down(folder: str) -> None:
    found = imports(folder)
    assert found, f"{folder}/ has no Python files"
    for path, names in found.items():
        upwards = names & set(ARROWS) - ARROWS[folder] - {folder}
        assert not upwards, f"{path} imports {', '.join(upwards)}"


def test_imports_of_the_image_tool_point_down() -> None:
    folder = ROOT / "image"
    found = {
        path
        for path in folder.rglob("*.py")
        if path.relative_to(folder).parts[0].removesuffix(".py") not in COMMAND_LINE
    }
    assert {path.parent.name for path in found} == {"image", *PACKAGES}
    for path in found:
        names: set[str] = set()
        for node in ast.walk(ast.parse(path.read_text())):
            if isinstance(node, ast.Import):
                names.update(alias.name for alias in node.names)
            elif isinstance(node, ast.ImportFrom):
                names.update(f"{node.module}.{alias.name}" for alias in node.names)
        seen = {name.split(".")[1] for name in names if name.startswith("image.")} & (set(PACKAGES) | COMMAND_LINE)
        upwards = seen - PACKAGES.get(path.parent.name, set()) - {path.parent.name}
        assert not upwards, f"{path.relative_to(ROOT)} imports {', '.join(upwards)}"


@pytest.mark.parametrize("library", ONLY_IN)
def test_a_library_is_known_only_where_it_belongs(library: str) -> None:
    for folder in set(ARROWS) - ONLY_IN[library]:
        users = [path for path, names in imports(folder).items() if library in names]
        assert not users, f"{', '.join(users)} must do without {library}"


def test_programs_are_started_in_one_place_of_each_half() -> None:
    starters = {
        path
        for folder in ARROWS
        for path, names in imports(folder).items()
        if "subprocess" in names and folder != "tools"
    }
    # The daemon is on its own on a host.
    assert starters <= {"image/run.py", "metrics/daemon.py"}, "start programs through image.run.run"
