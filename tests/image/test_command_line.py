"""The command line as a person and a shell meet it."""

from __future__ import annotations

import json
import os
import pty
import re
import shlex
import shutil
import signal
import socket
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path

import click
import pytest
from click.testing import CliRunner

from image.cli import SECTIONS, Commands, main, sections
from image.errors import UserError
from image.stack.spinner import Spinners
from tests.commands import ROOT, Done, command

PROGRAM = "python -m image"
CONTEXT = click.Context(main, info_name=PROGRAM)


def _below(group: click.Group, words: tuple[str, ...] = ()) -> list[str]:
    """The commands of a group, and of groups in it, as they are written: `deploy`, `secret set`."""
    found = []
    for name in group.list_commands(CONTEXT):
        one = group.get_command(CONTEXT, name)
        found += _below(one, (*words, name)) if isinstance(one, click.Group) else [" ".join((*words, name))]
    return found


NAMES = _below(main)
"""Without those that only have others below them."""
FIRST_WORDS = main.list_commands(CONTEXT)
PAGES = {path: path.read_text() for path in (ROOT / "README.md", *(ROOT / "docs").glob("*.md"))}
PAGE = "\n".join(PAGES[ROOT / "docs" / f"{name}.md"] for name in ("image", "registry", "stack"))
"""The pages of the image tool, as one."""


def image(*argv: str | Path, **env: str) -> Done:
    return command(sys.executable, "-m", "image", *argv, timeout=60, **env)


def found(name: str) -> click.Command:
    there: click.Command | None = main
    for word in name.split():
        assert isinstance(there, click.Group)
        there = there.get_command(CONTEXT, word)
    assert there
    return there


def on_a_terminal(*argv: str, **env: str) -> bytes:
    """What a program writes to a terminal."""
    ours, theirs = pty.openpty()
    with subprocess.Popen(argv, cwd=ROOT, env={**os.environ, **env}, stdin=theirs, stdout=theirs, stderr=theirs) as it:
        os.close(theirs)
        said = b"".join(iter(lambda: _read(ours), b""))
        it.wait(60)
    os.close(ours)
    return said


# Help


@pytest.mark.parametrize("name", NAMES)
def test_help_teaches_by_example(name: str) -> None:
    said = image(*name.split(), "--help").ok()
    examples = [line for line in said.splitlines() if re.search(rf"{PROGRAM}.* {re.escape(name)}\b", line)]
    assert [line for line in examples if not line.startswith("Usage:")], said


@pytest.mark.parametrize(
    "words", [(), *((name,) for name in FIRST_WORDS), *(tuple(name.split()) for name in NAMES)], ids=" ".join
)
def test_examples_in_a_help_text_keep_their_lines(words: tuple[str, ...]) -> None:
    said = CliRunner().invoke(main, [*words, "--help"]).output
    assert "\\b" not in said
    for line in said.splitlines():
        assert line.removeprefix("Usage: ").count(PROGRAM) <= 1, line


def test_help_lists_each_command_once_and_whole() -> None:
    said = " ".join(image("--help").ok().split())
    for name in FIRST_WORDS:
        assert said.count(f" {name} {found(name).get_short_help_str(1000)}") == 1
    assert "..." not in said.partition("Options:")[2]


def test_every_command_stands_in_a_section_of_help() -> None:
    assert {name for section in SECTIONS.values() for name in section} >= set(FIRST_WORDS)


def test_a_command_that_nobody_put_in_a_section_is_listed_all_the_same() -> None:
    assert sections(["deploy", "new"]) == [("Deploy", ["deploy"]), ("Other", ["new"])]


def test_help_tells_the_exit_codes() -> None:
    said = image("--help").ok()
    assert re.findall(r"^ +(\d+) +\w", said.partition("Exit codes:")[2], re.MULTILINE) == ["0", "1", "2", "130"]


def options(name: str) -> set[str]:
    """The options of a command, both sides of a switch."""
    params = (param for param in found(name).params if isinstance(param, click.Option))
    return {text for param in params for text in (*param.opts, *param.secondary_opts)}


def said_of(name: str, page: str) -> list[str]:
    """What a page says of a command: command lines and rows and paragraphs with its name as code."""
    parts = [part for block in re.split(r"\n\n+", page) for part in _lines_apart(block)]
    called = rf"python -m image (--context \S+ )?{re.escape(name)}(?![\w-])"
    return [part for part in parts if f"`{name}`" in part or re.search(called, part)]


def _lines_apart(block: str) -> list[str]:
    """The lines of a table or of code; a paragraph as it is."""
    return block.splitlines() if block.startswith(("|", "```")) else [block]


def is_documented(name: str, option: str, page: str) -> bool:
    """Where other commands have the option, too, it has to be said of this one; else its section will do."""
    sections = [section for section in page.split("\n## ") if re.search(rf"python -m image .*\b{name}\b", section)]
    alone = not any(option in options(other) for other in NAMES if other != name)
    places = [*said_of(name, page), *(sections if alone else ())]
    return any(re.search(rf"(?<![\w-]){re.escape(option)}(?![\w-])", place) for place in places)


@pytest.mark.parametrize("name", NAMES)
def test_each_option_of_a_command_is_documented_for_that_command(name: str) -> None:
    assert {option for option in options(name) if not is_documented(name, option, PAGE)} == set()


def test_an_option_that_is_documented_for_another_command_is_not_taken_for_this_ones() -> None:
    page = "| `list` | it lists; `--json` |\n\nSome `rm` text.\n\n`python -m image list --json`"
    assert is_documented("list", "--json", page)
    assert not is_documented("verify", "--json", page)


def test_every_option_of_all_commands_is_documented() -> None:
    for option in (text for param in main.params for text in param.opts):
        assert f"`{option}" in PAGE


def test_the_page_of_commands_has_a_row_for_each() -> None:
    rows = re.findall(r"^\| `([a-z -]+)[^`]*` \|", PAGE, re.MULTILINE)
    assert set(rows) >= set(NAMES)


def examples() -> list[str]:
    """What follows the program's name in each example of a page or a help text, up to what is the shell's."""
    texts = [*PAGES.values(), *(str(found(name).help) for name in (*FIRST_WORDS, *NAMES)), str(main.help)]
    code = [each for text in texts for each in (*re.findall(r"`([^`\n]+)`", text), *text.splitlines())]
    begin = re.compile(rf" *\$? *(?:source <\()?{PROGRAM}((?: [^\s#|<>;)&…]+)+)")
    said = {match[1].strip() for each in code if (match := begin.match(each))}
    return sorted(words for words in said if "COMMAND" not in words and "--help" not in words)


@pytest.mark.parametrize("words", examples())
def test_an_example_is_no_wrong_usage(words: str) -> None:
    """It is parsed as when it is run, and not run."""
    with click.Context(main, info_name=PROGRAM) as context:
        rest = click.Command.parse_args(main, context, shlex.split(words))
        group: click.Command | None = main
        while rest and isinstance(group, click.Group):
            name, group, rest = group.resolve_command(context, rest)
            assert group
            if not isinstance(group, click.Group):
                group.make_context(name, rest, parent=context).close()


def test_examples_are_found_in_pages_and_in_help() -> None:
    assert len(examples()) > 60
    assert {"move-registry", "--context shelf history --json", "completion bash"} <= set(examples())


# Speed


def test_a_build_with_nothing_to_do_waits_for_no_large_library() -> None:
    large = ("docker", "paramiko", "rich", "jinja2", "cryptography", "hypothesis")
    script = (
        f"import sys, image.cli, image.commands.build_all; print([name for name in {large} if name in sys.modules])"
    )
    assert command(sys.executable, "-c", script).ok() == "[]\n"


@pytest.mark.parametrize(
    ("words", "environment", "advice"),
    [
        (("--context", "attic"), {}, "python -m image --context attic history"),
        ((), {"DOCKER_CONTEXT": "attic"}, "python -m image history"),
        ((), {}, "python -m image history"),
    ],
)
def test_what_an_error_tells_to_type_is_for_the_swarm_that_was_chosen(
    words: tuple[str, ...], environment: dict[str, str], advice: str
) -> None:
    whole = "python -m image --context shelf diff"

    def fail() -> None:
        raise UserError("no", f"python -m image history; or {whole}")

    group = Commands(params=main.params, callback=main.callback)
    group.get_command = lambda *_: click.Command("deploy", callback=fail)  # type: ignore[method-assign]
    seen = CliRunner().invoke(group, [*words, "deploy"], env=environment)
    assert seen.exit_code == 1
    assert f"Try: {advice}; or {whole}" in seen.stderr


# Wrong usage


def test_an_unknown_command_is_answered_with_the_nearest() -> None:
    done = image("biuld-all")
    assert done.code == 2
    done.refused("'biuld-all'", "'build-all'")


def test_an_unknown_option_is_answered_with_the_nearest() -> None:
    done = image("build-all", "--platfrom", "linux/arm64")
    assert done.code == 2
    done.refused("--platfrom", "--platform")


# Contexts


def test_an_unknown_context_is_a_sentence_and_its_fix(tmp_path: Path) -> None:
    done = image("--context", "nowhere", "render", DOCKER_CONFIG=str(tmp_path))
    assert done.code == 1
    assert done.stderr.splitlines()[0] == "Error: there is no docker context 'nowhere'"
    assert done.stderr.splitlines()[1].startswith("  Try: ")


def test_the_current_context_is_the_one_that_docker_uses(tmp_path: Path) -> None:
    argv = ("docker", "context", "create", "attic", "--docker", "host=tcp://127.0.0.1:1")
    command(*argv, DOCKER_CONFIG=str(tmp_path)).ok()
    command("docker", "context", "use", "attic", DOCKER_CONFIG=str(tmp_path)).ok()
    environment = {"DOCKER_CONFIG": str(tmp_path), "DOCKER_HOST": "", "DOCKER_CONTEXT": ""}
    image("render", **environment).refused("'attic'", "tcp://127.0.0.1:1")


def test_docker_host_goes_before_the_current_context(tmp_path: Path) -> None:
    (tmp_path / "config.json").write_text(json.dumps({"currentContext": "attic"}))
    done = image("render", DOCKER_CONFIG=str(tmp_path), DOCKER_HOST="tcp://127.0.0.1:2", DOCKER_CONTEXT="")
    done.refused("'default'", "tcp://127.0.0.1:2")


# What is shown, and where


def test_verbose_shows_each_program_so_that_a_shell_runs_it(tmp_path: Path) -> None:
    folder = tmp_path / "a folder"
    folder.mkdir()
    done = command(sys.executable, "-c", _STARTS_A_PROGRAM, folder)
    (shown,) = [line.removeprefix("+ ") for line in done.stderr.splitlines() if line.startswith("+ ")]
    assert "password" not in shown
    first = (folder / "said").read_text()
    (folder / "said").unlink()
    command("sh", "-c", shown).ok()
    assert (folder / "said").read_text() == first == f"it's {folder}\n"


_STARTS_A_PROGRAM = """
import sys
from collections.abc import Callable
from pathlib import Path
from image.cli import main
from image.run import run
main.main(["-v", "render", "--help"], standalone_mode=False)
run("sh", "-c", 'echo "$A $PWD" >said', cwd=Path(sys.argv[1]), env={"A": "it's"}, text="a password")
"""


@pytest.mark.parametrize(("plain", "escapes"), [("1", False), ("", True)])
def test_a_terminal_gets_colours_unless_its_owner_wants_none(plain: str, escapes: bool) -> None:
    said = on_a_terminal(sys.executable, "-c", _WORK, NO_COLOR=plain, TERM="xterm-256color")
    assert b"something" in said
    assert (b"\x1b" in said) == escapes


def test_a_pipe_gets_no_escape_sequence() -> None:
    done = command(sys.executable, "-c", _WORK, NO_COLOR="", FORCE_COLOR="1", TERM="xterm-256color")
    assert "something" in done.stderr
    assert "\x1b" not in done.said


_WORK = """
from image.progress import shown, step
from image.stack.spinner import Spinners
from image.stack.watch import Progress
with shown(1) as progress, step(progress, "something"):
    pass
with Spinners() as show:
    show((Progress("web", "converged", 1, 1),))
"""


# Ends


@pytest.mark.parametrize("reader", ["head -1", "true"])
def test_a_pipe_that_is_closed_is_no_reason_for_a_traceback(reader: str) -> None:
    done = command("bash", "-c", f"{shlex.quote(sys.executable)} -m image --help | {reader}")
    assert done.stderr == ""


def test_a_full_disk_under_the_output_is_one_sentence() -> None:
    done = command("bash", "-c", f"{shlex.quote(sys.executable)} -m image --help >/dev/full")
    assert (done.code, done.stderr) == (1, "Error: cannot write to standard output: no space left on device\n")


def test_ctrl_c_ends_with_130_and_without_a_traceback() -> None:
    """While an engine is asked that takes the connection and never answers."""
    with socket.create_server(("127.0.0.1", 0)) as silent:
        silent.settimeout(60)
        asked = {"DOCKER_HOST": f"tcp://127.0.0.1:{silent.getsockname()[1]}", "DOCKER_CONTEXT": ""}
        argv = (sys.executable, "-m", "image", "render")
        with subprocess.Popen(argv, cwd=ROOT, env={**os.environ, **asked}, stderr=subprocess.PIPE, text=True) as it:
            connection, _ = silent.accept()
            it.send_signal(signal.SIGINT)
            _, said = it.communicate(timeout=60)
            connection.close()
    assert "Traceback" not in said
    assert it.returncode == 130


@pytest.mark.parametrize(("told", "goes_on"), [((), "the same command"), (("another",), "another")])
def test_ctrl_c_while_a_stack_comes_up_says_how_to_go_on(
    told: tuple[str, ...], goes_on: str, capsys: pytest.CaptureFixture[str]
) -> None:
    with pytest.raises(KeyboardInterrupt), Spinners(*told):
        raise KeyboardInterrupt
    assert capsys.readouterr().err == f"watching … stopped; {goes_on} goes on from here\n"


# Completion


def completed(line: str, before: str = "", folder: Path = ROOT) -> list[str]:
    """What bash would offer after `line`, having read our script; asked as readline asks it, in a folder."""
    script = f"""
{before}
source <({shlex.quote(sys.executable)} -m image completion bash)
COMP_LINE={shlex.quote(line)} COMP_POINT={len(line)}
read -ra COMP_WORDS <<<"$COMP_LINE"
[[ $COMP_LINE != *' ' ]] || COMP_WORDS+=('')
COMP_CWORD=$((${{#COMP_WORDS[@]}} - 1))
cd {shlex.quote(str(folder))}
compopt() {{ :; }}
_image_completion python "${{COMP_WORDS[COMP_CWORD]}}"
printf '%s\n' "${{COMPREPLY[@]}}"
"""
    return command("bash", "--norc", "-c", script).ok().split()


@pytest.mark.parametrize(
    ("line", "words"),
    [
        ("python -m image dep", ["deploy"]),
        ("python -m image build-all --no", ["--no-upx"]),
        ("python -m image build-all node", ["node_exporter"]),
        ("python -m image build-all --platform linux/arm/", ["linux/arm/v6", "linux/arm/v7"]),
        ("python -m image completion ", ["bash", "zsh"]),
        ("python -m image secret s", ["set"]),
        ("python -m image outdated bui", ["buildx"]),
        ("python -m image bump b", ["busybox", "buildx"]),
        ("python -m image sbom reg", ["registry"]),
        ("python -m other dep", []),
    ],
)
def test_bash_completes_what_follows_the_module(line: str, words: list[str]) -> None:
    assert completed(line) == words


def test_bash_is_offered_every_command() -> None:
    assert completed("python -m image ") == FIRST_WORDS


def test_bash_is_offered_the_docker_contexts(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("DOCKER_CONFIG", str(tmp_path))
    command("docker", "context", "create", "attic", "--docker", "host=tcp://127.0.0.1:1").ok()
    assert completed("python -m image --context at") == ["attic"]


def test_what_completed_python_before_still_does() -> None:
    before = "_old() { COMPREPLY=(old); }; complete -F _old python"
    assert completed("python script", before) == ["old"]
    assert completed("python -m image ren", before) == ["render"]


def completed_by_zsh(line: str, folder: Path = ROOT) -> list[str]:
    """The words, and what is said of them, that our function hands to zsh's completion."""
    script = f"""
compdef() {{ }}
source <({shlex.quote(sys.executable)} -m image completion zsh)
cd {shlex.quote(str(folder))}
words=("${{(@s. .)1}}") CURRENT=$#words
_default() {{ }}
_describe() {{ print -l -- $with_help }}
compadd() {{ print -l -- $plain }}
_image_completion
"""
    return command("zsh", "-f", "-c", script, "zsh", line).ok().splitlines()


in_zsh = pytest.mark.skipif(not shutil.which("zsh"), reason="zsh is not installed")


@in_zsh
@pytest.mark.parametrize(("line", "words"), [
    ("python -m image completion ", ["bash", "zsh"]), ("python -m image bump bui", ["buildx"]), ("python -m pip ", []),
])  # fmt: skip
def test_zsh_completes_what_follows_the_module(line: str, words: list[str]) -> None:
    assert completed_by_zsh(line) == words


@pytest.mark.parametrize("ask", [completed, pytest.param(completed_by_zsh, marks=in_zsh)])
def test_the_tab_key_runs_nothing_that_lies_in_another_folder(ask: Callable[..., list[str]], tmp_path: Path) -> None:
    """Where `-m image` is another's program."""
    (tmp_path / "image").mkdir()
    (tmp_path / "image" / "__main__.py").write_text("open('it-ran', 'w')")
    assert ask("python -m image ", folder=tmp_path) == []
    assert not (tmp_path / "it-ran").exists()


def test_a_link_to_the_clone_is_the_clone(tmp_path: Path) -> None:
    (tmp_path / "link").symlink_to(ROOT)
    assert completed("python -m image ren", folder=tmp_path / "link") == ["render"]


_WITHOUT_SETTINGS = {"bash": ("bash", "--noprofile", "--norc", "-i"), "zsh": ("zsh", "-f", "-i")}


@pytest.mark.parametrize("shell", ["bash", pytest.param("zsh", marks=in_zsh)])
def test_tab_completes_in_an_interactive_shell(shell: str) -> None:
    """A real terminal, a real line editor: the Tab key."""
    # zsh: whoever owns its files, it must not ask
    compinit = "autoload -Uz compinit && compinit -u -D; " if shell == "zsh" else ""
    setup = f"{compinit}source <({shlex.quote(sys.executable)} -m image completion {shell})"
    ours, theirs = pty.openpty()
    with subprocess.Popen(
        _WITHOUT_SETTINGS[shell], cwd=ROOT, stdin=theirs, stdout=theirs, stderr=theirs, start_new_session=True
    ) as it:
        os.close(theirs)
        os.write(ours, f"{setup}; PATH={shlex.quote(str(Path(sys.executable).parent))}:$PATH\n".encode())
        os.write(ours, b"python -m image ren\t --help\nexit\n")
        said = b"".join(iter(lambda: _read(ours), b""))
        it.wait(60)
    os.close(ours)
    assert b"Usage: python -m image render" in said


def _read(terminal: int) -> bytes:
    try:
        return os.read(terminal, 65536)
    except OSError:  # the other end is closed
        return b""
