"""The commands. Thin: each imports what it needs when it is called, so that `--help` answers at once."""

from __future__ import annotations

import sys
from functools import partial
from pathlib import Path
from typing import Annotated

import typer
from rich.console import Console
from rich.markup import escape

from adverb.errors import UserError

app = typer.Typer(
    no_args_is_help=True,
    add_completion=False,
    rich_markup_mode="rich",
    pretty_exceptions_enable=False,
    help="[bold]adverb[/]: BERTs read, GANs make.",
)
bench = typer.Typer(no_args_is_help=True, help="Side-by-side measurements.")
app.add_typer(bench, name="bench")
console = Console()


@app.command(no_args_is_help=True)
def train(
    recipe: Annotated[
        str, typer.Argument(help="a shipped recipe (see `adverb recipes`), a .yaml file, or a run folder")
    ],
    overrides: Annotated[list[str] | None, typer.Argument(metavar="[KEY=VALUE]...", help="e.g. optim.lr=3e-4")] = None,
    data: Annotated[str | None, typer.Option(help="what to train on: a folder, a file, a hub name")] = None,
    out: Annotated[Path | None, typer.Option(help="the run folder; default: runs/RECIPE-0001 and so on")] = None,
    resume: Annotated[bool, typer.Option("--resume", help="go on with a run that was stopped")] = False,
    dry_run: Annotated[bool, typer.Option("--dry-run", help="print the plan and write nothing")] = False,
):
    """Train a model by a recipe."""
    from adverb import training

    if dry_run:
        if resume:
            raise UserError("--dry-run plans a new run: leave --resume out")
        training.dry_run(recipe, overrides or [], data=data, console=console)
        return
    _, ended = training.start(recipe, overrides or [], data=data, out=out, resume=resume, console=console)
    if ended != "done":
        raise typer.Exit({"SIGINT": 130, "SIGTERM": 143}.get(ended, 1))


@app.command()
def recipes(name: Annotated[str | None, typer.Argument(help="print this one")] = None):
    """List the shipped recipes, or print one."""
    from adverb import recipe

    if name:
        from rich.syntax import Syntax

        text = recipe.read(recipe.find(name))
        if console.is_terminal:
            console.print(Syntax(text, "yaml", background_color="default"))
        else:
            print(text, end="")  # as it is: lines that were broken at 80 columns would be another file
        return
    import yaml
    from rich.table import Table

    table = Table("recipe", "what it trains", box=None, header_style="dim")
    for known, path in recipe.shipped().items():
        table.add_row(f"[bold]{known}[/]", yaml.safe_load(path.read_text(encoding="utf-8")).get("description", ""))
    console.print(table)


@app.command(no_args_is_help=True)
def data(
    path: Annotated[str, typer.Argument(help="a folder, a file, a hub name, or `digits`")],
    overrides: Annotated[
        list[str] | None, typer.Argument(metavar="[KEY=VALUE]...", help="as for train, e.g. data.label=coarse")
    ] = None,
    task: Annotated[
        str | None, typer.Option("--as", help="image, pretrain, classify, tag, answer or embed; default: recognised")
    ] = None,
    out: Annotated[Path | None, typer.Option(help="write a contact sheet of images (PNG)")] = None,
):
    """Look at a data set as training would."""
    from adverb.data.inspect_text import inspect_data

    inspect_data(path, console, task=task, overrides=overrides or [], out=out)


@app.command(no_args_is_help=True)
def label_next(
    data: Annotated[str, typer.Argument(help="rows that have a label: a file, a folder, a hub name")],
    unlabelled: Annotated[str | None, typer.Option(help="texts without labels, to choose from")] = None,
    more: Annotated[str | None, typer.Option(help="a file of more labelled rows, such as an earlier --out")] = None,
    n: Annotated[int, typer.Option("-n", min=1, help="how many to choose")] = 50,
    text: Annotated[str | None, typer.Option(metavar="COLUMN", help="of the text; default: guessed")] = None,
    label: Annotated[str | None, typer.Option(metavar="COLUMN", help="of the label; default: guessed")] = None,
    model: Annotated[
        str, typer.Option(help="makes the embeddings; not one trained on these labels")
    ] = "all-MiniLM-L6-v2",
    out: Annotated[Path | None, typer.Option(help="a CSV file to fill in, for data.more=… of a training")] = None,
    wrong: Annotated[Path | None, typer.Option(help="a CSV file of the labels that look wrong")] = None,
):
    """Which texts to label next, which labels look wrong, and how far more labels would help."""
    from adverb.labelling import label_next as advise
    from adverb.schema.tasks import ClassifyData

    if out is not None and unlabelled is None:
        raise UserError("--out needs texts to choose from: name them by --unlabelled")
    if out is not None and out == wrong:
        raise UserError(f"--out and --wrong are both {out}: give each list a file of its own")
    rows = ClassifyData(path=data, unlabelled=unlabelled, more=more, text=text, label=label)
    advise(rows, n, model, console, out=out, wrong=wrong)


@app.command(no_args_is_help=True)
def generate(
    model: Annotated[str, typer.Argument(help="a run folder or a saved generator")],
    n: Annotated[
        int | None, typer.Option("-n", min=1, help="how many; default: 64, or 16 walks, or 4 searches, or 20 texts")
    ] = None,
    seed: Annotated[str, typer.Option(help="the same seed draws the same images; 3,17,29: the first of each")] = "0",
    label: Annotated[
        str | None,
        typer.Option(help="a class name or index; `each`: a class a column; default: as in the data"),
    ] = None,
    text: Annotated[
        list[str] | None,
        typer.Option(metavar="CAPTION", help='what to draw, such as "a red heart"; several: a row each'),
    ] = None,
    truncation: Annotated[float, typer.Option(help="below 1: more typical, less varied")] = 1.0,
    strength: Annotated[float, typer.Option(help="of captions; above 1: more as the caption says, less varied")] = 1.0,
    temperature: Annotated[
        float | None, typer.Option(help="of a model that writes; below 1: more typical, less varied")
    ] = None,
    directions: Annotated[int | None, typer.Option(min=1, help="move one image along so many directions")] = None,
    like: Annotated[Path | None, typer.Option(help="search for the images nearest to this file")] = None,
    neighbours: Annotated[
        int | None, typer.Option(min=1, help="show so many of the nearest training images beside each sample")
    ] = None,
    data: Annotated[str | None, typer.Option(help="the training images; default: where the run found them")] = None,
    out: Annotated[
        Path | None,
        typer.Option(
            help="a folder (default: samples); FILE.png for the grid alone; FILE.gif or FILE.mp4 for a walk; "
            "FILE.txt or FILE.jsonl for texts, which are printed by default"
        ),
    ] = None,
):
    """Draw from a generator: samples, walks, directions, the nearest to an image, the nearest in its data; or texts."""
    from adverb.pipelines import load
    from adverb.pipelines.draw import draw_to
    from adverb.pipelines.sampler import Sampler

    try:
        seeds = [int(word) for word in seed.split(",")]
        if min(seeds) < 0:
            raise ValueError
    except ValueError:
        raise UserError(f"--seed {seed}: expected a number from 0, or several with commas") from None
    options = dict(n=n, seed=seeds if len(seeds) > 1 else seeds[0], label=label)
    options |= dict(truncation=truncation, strength=strength)
    asked = dict(text=text or [], directions=directions, like=like, neighbours=neighbours, data=data)
    found = load(model)
    if hasattr(found, "generate") and not isinstance(found, Sampler):
        from adverb.pipelines.write import write

        write(found, out, **options, **asked, temperature=temperature, console=console)
        return
    if temperature is not None:
        raise UserError("--temperature is for models that write; how varied images are, --truncation says")
    out = Path("samples") if out is None else out
    say = partial(console.print, markup=False, highlight=False)
    for path in draw_to(found, out, **options, **asked, say=say):
        console.print(f"[cyan]{escape(str(path))}[/]", highlight=False)


@app.command(no_args_is_help=True)
def predict(
    model: Annotated[str, typer.Argument(help="a run folder, a saved model, or a hub name")],
    texts: Annotated[list[str] | None, typer.Argument(metavar="[TEXT]...", help='such as "The sky is [MASK]."')] = None,
    file: Annotated[
        Path | None, typer.Option(help="texts of any number: .csv .tsv .jsonl .parquet .txt, - for standard input")
    ] = None,
    text: Annotated[str | None, typer.Option(metavar="COLUMN", help="of the file; default: guessed")] = None,
    pair: Annotated[
        str | None, typer.Option(help="the column of the second text; without a file, that text itself")
    ] = None,
    out: Annotated[Path | None, typer.Option(help="write JSON lines here; started again, it goes on")] = None,
    top_k: Annotated[int, typer.Option(min=1, help="how many fillings, answers, hits")] = 5,
    candidates: Annotated[str | None, typer.Option(help="fill in one of these words only, separated by commas")] = None,
    search: Annotated[Path | None, typer.Option(help="find the rows of this file that are most like the texts")] = None,
):
    """What a model says about texts: their classes, entities, answers, embeddings, what fills their masks."""
    from adverb.pipelines import predict as pipeline

    if search is not None:
        if file or pair or candidates:
            raise UserError("--search takes the texts to search for, --text, --top-k and --out, nothing else")
        pipeline.predict_similar(model, texts or [], search, text=text, out=out, top_k=top_k, console=console)
        return
    words = [word.strip() for word in candidates.split(",")] if candidates else None
    options = dict(file=file, text=text, pair=pair, out=out, top_k=top_k, candidates=words)
    pipeline.predict(model, texts or [], **options, console=console)


@app.command(no_args_is_help=True)
def evaluate(
    model: Annotated[str, typer.Argument(help="a run folder or a saved model")],
    data: Annotated[
        str | None,
        typer.Option(
            help="what to measure against; default: the run's test or held-out rows; of a generator of images, "
            "the images it was trained on"
        ),
    ] = None,
    samples: Annotated[
        int, typer.Option(min=50, help="how many images of a generator to judge, at most half of the data; or texts")
    ] = 10_000,
    features: Annotated[
        str | None, typer.Option(help="for a generator: auto, classifier, random, inception:FILE, dinov2:FOLDER")
    ] = None,
    seed: Annotated[int, typer.Option(min=0, help="of what a generator makes")] = 0,
    out: Annotated[Path | None, typer.Option(help="also write the numbers as JSON")] = None,
):
    """Measure a model: a table, and with --out JSON."""
    from adverb.pipelines import evaluate as pipeline

    options = dict(samples=samples, features=features, seed=seed, out=out)
    pipeline.evaluate(model, data, **options, console=console)


@app.command(no_args_is_help=True)
def compare(
    runs: Annotated[list[str], typer.Argument(metavar="RUN...", help="two or more run folders, of any kinds")],
    out: Annotated[Path, typer.Option(help="the page")] = Path("compare.html"),
):
    """Runs side by side: what differs, metrics, curves, samples, cost; seeds of one recipe as mean ± deviation."""
    from adverb.compare import compare as side_by_side

    side_by_side(runs, out, console)


@bench.command()
def modes(
    sets: Annotated[
        list[str] | None,
        typer.Argument(
            metavar="[SET]...",
            help="ring, grid, grid100, stacked-digits, stacked-mnist; also stacked-…-quarter; default: ring grid",
        ),  # fmt: skip
    ] = None,
    seeds: Annotated[int, typer.Option(min=1, help="runs of each")] = 1,
    loss: Annotated[list[str] | None, typer.Option(help="rpgan, minimax; default: both")] = None,
    minutes: Annotated[float | None, typer.Option(min=0.01, help="of one run; default: the set's own")] = None,
    steps: Annotated[int | None, typer.Option(min=1, help="of one run, instead of minutes")] = None,
    data: Annotated[str, typer.Option(help="the images of MNIST, for stacked-mnist")] = "../shared/data/mnist",
    out: Annotated[Path, typer.Option(help="a folder for the runs; started again, it goes on")] = Path("runs/modes"),
):
    """Count the modes that a GAN finds, beside what papers report."""
    from adverb.bench.modes import bench_modes

    options = dict(seeds=seeds, losses=loss or ["rpgan", "minimax"], minutes=minutes, steps=steps, data=data, out=out)
    bench_modes(sets or ["ring", "grid"], **options, console=console)


@app.command(no_args_is_help=True)
def export(
    model: Annotated[str, typer.Argument(help="a run folder, a saved model, or a hub name")],
    to: Annotated[str, typer.Option(help="hf, onnx or onnx-int8")],
    out: Annotated[Path, typer.Option(help="the new folder")],
    data: Annotated[str | None, typer.Option(help="a file of texts to compare by; default: those of the run")] = None,
    text: Annotated[str | None, typer.Option(metavar="COLUMN", help="of --data; default: as in training")] = None,
    pair: Annotated[str | None, typer.Option(metavar="COLUMN", help="of --data, with the second texts")] = None,
):
    """Write a model as others read it, or so that it answers fast and without torch; say how far it is from itself."""
    from adverb.export import export as write

    write(model, to, out, data=data, text=text, pair=pair, console=console)


@app.command(no_args_is_help=True)
def serve(
    models: Annotated[
        list[str], typer.Argument(metavar="MODEL...", help="run folders, saved models, hub names; or NAME=MODEL")
    ],
    host: Annotated[str, typer.Option(help="the address to listen on; 0.0.0.0: all of this machine's")] = "127.0.0.1",
    port: Annotated[int, typer.Option(min=0, max=65535, help="0: any that is free")] = 8000,
    api_key: Annotated[
        str | None, typer.Option(envvar="ADVERB_API_KEY", help="what requests must bring: Authorization: Bearer KEY")
    ] = None,
):
    """Answer over HTTP, with a page to try the models in."""
    from adverb.serve.server import serve as listen

    listen(models, host=host, port=port, key=api_key, console=console)


@app.command(hidden=True)
def demo(
    minutes: Annotated[float, typer.Option(help="training time of the GAN")] = 2.25,
    text: Annotated[list[str] | None, typer.Option(metavar="CAPTION", help="what to draw at the end")] = None,
):
    """The main jobs, offline: a GAN learns to draw digits, a BERT what praise is, and both to draw what they read."""
    from adverb.demo import CAPTIONS, run_demo

    run_demo(console, minutes, text or CAPTIONS)


def main() -> None:
    """The entry point: a UserError becomes one red line and exit status 2."""
    # OpenVINO would import its converter of other formats as well, with a telemetry client: three times the import.
    sys.modules.setdefault("openvino.tools.ovc", None)
    try:
        app()
    except UserError as error:
        Console(stderr=True).print(f"[red]error:[/] {escape(str(error))}", highlight=False, soft_wrap=True)
        sys.exit(2)
    except KeyboardInterrupt:
        sys.exit(130)
