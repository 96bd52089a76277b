"""What the command line says of itself."""

from __future__ import annotations

import re

import click
import pytest
from click.testing import CliRunner

from image.cli import main


def names() -> list[str]:
    return main.list_commands(click.Context(main))


@pytest.mark.parametrize("words", [(), *((name,) for name in names())], ids=" ".join)
def test_examples_in_a_help_text_keep_their_lines(words: tuple[str, ...]) -> None:
    shown = CliRunner().invoke(main, [*words, "--help"]).output
    assert "\\b" not in shown
    for line in shown.splitlines():
        assert len(re.findall("python -m image", line.removeprefix("Usage: python -m image"))) <= 1, line
