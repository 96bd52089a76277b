"""`completion`: the shell's help with typing."""

from __future__ import annotations

import click

from image import completion


@click.command()
@click.argument("shell", type=click.Choice([*completion.SHELLS]))
@click.pass_context
def command(ctx: click.Context, shell: str) -> None:
    r"""Print a script that lets the shell complete `python -m image`: commands, options, images, contexts.

    \b
    source <(python -m image completion bash)     for this terminal; in ~/.bashrc for all
    source <(python -m image completion zsh)      as above, in ~/.zshrc
    """
    click.echo(completion.script(shell, ctx.find_root().command), nl=False)
