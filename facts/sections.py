"""One round trip that answers several questions: a script prints sections, a parser takes them apart."""

from __future__ import annotations

from collections.abc import Iterable, Mapping

_MARK = "=== "


def script(commands: Mapping[str, str]) -> str:
    """A shell script that runs each command and prints its output under its name; failures print nothing."""
    # The last echo ends the last line of a file that does not end it itself.
    return "\n".join(
        f"echo '{_MARK}{name}'\n{{ {command}\n}} 2>/dev/null || true\necho" for name, command in commands.items()
    )


def sections(output: Iterable[str]) -> Mapping[str, str]:
    """What `script` printed, by name, without the empty lines at its end."""
    found: dict[str, list[str]] = {}
    lines: list[str] = []
    for line in output:
        if line.startswith(_MARK):
            lines = found.setdefault(line.removeprefix(_MARK).strip(), [])
        else:
            lines.append(line)
    return {name: "\n".join(lines).rstrip("\n") for name, lines in found.items()}
