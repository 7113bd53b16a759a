"""The commands. Thin: each imports what it needs when it is called, so that `--help` answers at once."""

from __future__ import annotations

import sys
from pathlib import Path
from typing import Annotated

import typer
from rich.console import Console

from adverb.errors import UserError

app = typer.Typer(
    no_args_is_help=True,
    add_completion=False,
    rich_markup_mode="rich",
    pretty_exceptions_enable=False,
    help="[bold]adverb[/]: BERTs read, GANs make.",
)
console = Console()


@app.command(no_args_is_help=True)
def train(
    recipe: Annotated[str, typer.Argument(help="a shipped recipe (see `adverb recipes`), a .yaml file, or a run folder")],
    overrides: Annotated[list[str] | None, typer.Argument(metavar="[KEY=VALUE]...", help="e.g. optim.lr=3e-4")] = None,
    data: Annotated[str | None, typer.Option(help="what to train on: a folder, a file, a hub name")] = None,
    out: Annotated[Path | None, typer.Option(help="the run folder; default: runs/RECIPE-0001 and so on")] = None,
    resume: Annotated[bool, typer.Option("--resume", help="go on with a run that was stopped")] = False,
    dry_run: Annotated[bool, typer.Option("--dry-run", help="print the plan and write nothing")] = False,
):
    """Train a model by a recipe."""
    from adverb import training

    if dry_run:
        training.dry_run(recipe, overrides or [], data=data, console=console)
        return
    _, ended = training.start(recipe, overrides or [], data=data, out=out, resume=resume, console=console)
    if ended != "done":
        raise typer.Exit(130 if ended == "SIGINT" else 143)


@app.command()
def recipes(name: Annotated[str | None, typer.Argument(help="print this one")] = None):
    """List the shipped recipes, or print one."""
    from adverb import recipe

    if name:
        from rich.syntax import Syntax

        text = recipe.find(name).read_text(encoding="utf-8")
        console.print(Syntax(text, "yaml", background_color="default") if console.is_terminal else text.rstrip())
        return
    import yaml
    from rich.table import Table

    table = Table("recipe", "what it trains", box=None, header_style="dim")
    for known, path in recipe.shipped().items():
        table.add_row(f"[bold]{known}[/]", yaml.safe_load(path.read_text(encoding="utf-8")).get("description", ""))
    console.print(table)


def main() -> None:
    """The entry point: a UserError becomes one red line and exit status 2."""
    try:
        app()
    except UserError as error:
        from rich.markup import escape

        Console(stderr=True).print(f"[red]error:[/] {escape(str(error))}", highlight=False, soft_wrap=True)
        sys.exit(2)
    except KeyboardInterrupt:
        sys.exit(130)
