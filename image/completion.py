"""Completion of `python -m image` by the shell.

A shell completes by the first word, and that is `python` here. So the script takes over python's completion,
looks whether an `-m image` follows, and gives everything else back to whoever had it before.

What `-m image` is, the folder decides that the shell is in. So the script knows the clone that it was made by, and
the Python: elsewhere the Tab key would run whatever lies there under the name `image`.
"""

from __future__ import annotations

import shlex
import sys
from typing import Final

import click
from click.shell_completion import BashComplete, ShellComplete, ZshComplete

from image.plan import ROOT

VARIABLE: Final = "_IMAGE_COMPLETE"
"""What click looks for in the environment: the shell asks for the words that may follow."""

_BASH: Final = """\
# python -m image …
%(complete_func)s() {
    if [[ ${COMP_WORDS[1]} != -m || ${COMP_WORDS[2]} != image || $COMP_CWORD -lt 3 || ! . -ef %(clone)s ]]; then
        [[ -z $%(complete_func)s_before ]] || { "$%(complete_func)s_before" "$@"; return; }
        compopt -o bashdefault -o default
        return
    fi
    local type value
    while IFS=, read -r type value; do
        case $type in
            plain) COMPREPLY+=("$value") ;;
            dir) compopt -o dirnames ;;
            file) compopt -o default ;;
        esac
    done < <(
        env COMP_WORDS="image ${COMP_WORDS[*]:3}" COMP_CWORD=$((COMP_CWORD - 2)) %(complete_var)s=bash_complete \\
            %(python)s -m image 2>/dev/null
    )
}
# bash-completion brings its own for python only when it is asked for the first time.
declare -F _comp_load >/dev/null && _comp_load python 2>/dev/null
declare -F _completion_loader >/dev/null && _completion_loader python 2>/dev/null
%(complete_func)s_before=$(complete -p python 2>/dev/null | sed -n 's/.* -F \\([^ ]*\\) .*/\\1/p')
[[ $%(complete_func)s_before != %(complete_func)s ]] || %(complete_func)s_before=
complete -F %(complete_func)s python python3
"""

_ZSH: Final = """\
# python -m image …
%(complete_func)s() {
    if [[ $words[2] != -m || $words[3] != image || ! . -ef %(clone)s ]] || (( CURRENT < 4 )); then
        ${%(complete_func)s_before:-_default} "$@"
        return
    fi
    local type key described
    local -a plain with_help
    for type key described in "${(@f)$(
        env COMP_WORDS="image ${words[4,-1]}" COMP_CWORD=$((CURRENT - 3)) %(complete_var)s=zsh_complete \\
            %(python)s -m image 2>/dev/null
    )}"; do
        case $type in
            plain) [[ $described == _ ]] && plain+=("$key") || with_help+=("$key:$described") ;;
            dir) _path_files -/ ;;
            file) _path_files -f ;;
        esac
    done
    (( $#with_help )) && _describe -V unsorted with_help -U
    (( $#plain )) && compadd -U -V unsorted -a plain
}
(( $+functions[compdef] )) || { autoload -Uz compinit && compinit; }
[[ $_comps[python] == %(complete_func)s ]] || %(complete_func)s_before=$_comps[python]
compdef %(complete_func)s python python3
"""


class _Here(ShellComplete):
    """A script that knows where it is; click's own would refuse an old bash, for what this one does not use."""

    def source(self) -> str:
        here = {"clone": shlex.quote(str(ROOT)), "python": shlex.quote(sys.executable)}
        return self.source_template % {**self.source_vars(), **here}


class _Bash(_Here, BashComplete):
    source_template = _BASH


class _Zsh(_Here, ZshComplete):
    source_template = _ZSH


SHELLS: Final[dict[str, type[ShellComplete]]] = {"bash": _Bash, "zsh": _Zsh}


def script(shell: str, group: click.Command) -> str:
    """What a shell has to read to complete this program's command lines.

    Args:
        shell: one of SHELLS.
        group: the program.
    """
    return SHELLS[shell](group, {}, "image", VARIABLE).source()
