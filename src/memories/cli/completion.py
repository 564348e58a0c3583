"""`memories completion`: the script that makes a shell complete our commands and options."""

from __future__ import annotations

import click
from click.shell_completion import get_completion_class

from .group import fail


@click.command()
@click.argument("shell", type=click.Choice(["bash", "zsh", "fish"]))
@click.pass_context
def completion(ctx: click.Context, shell: str) -> None:
    """Print the completion script of a shell.

    \b
    Examples:
      eval "$(memories completion bash)"       # in ~/.bashrc
      eval "$(memories completion zsh)"        # in ~/.zshrc
      memories completion fish > ~/.config/fish/completions/memories.fish
    """
    found = get_completion_class(shell)
    if found is None:
        fail(f"this version of click knows no completion for {shell}")
    program = "memories"
    script = found(ctx.find_root().command, {}, program, f"_{program.upper()}_COMPLETE")
    if shell == "bash":
        # `source()` of click runs bash to look at its version; the script itself needs none of that.
        click.echo(script.source_template % script.source_vars())
    else:
        click.echo(script.source())
