"""Pages that are made while the site is built: README as the first one, and the recipes with all of their keys."""

from __future__ import annotations

import re
import sys
from pathlib import Path
from types import NoneType, UnionType
from typing import Any, Literal, Union, get_args, get_origin

import yaml
from mkdocs.config.defaults import MkDocsConfig
from mkdocs.structure.files import File, Files
from pydantic import BaseModel

ROOT = Path(__file__).resolve().parents[2]
sys.path.insert(0, str(ROOT / "src"))

from adverb import recipe as recipes  # noqa: E402
from adverb.schema import OBJECTIVES, Recipe  # noqa: E402

WORDS = {str: "text", int: "whole number", float: "number", bool: "true or false"}
BOUNDS = {"gt": "above {}", "ge": "from {}", "lt": "below {}", "le": "to {}"}
INTRODUCTION = (
    "A recipe is a short YAML file. `adverb recipes image-gan` prints a shipped one; `key=value` on the command line"
    " changes it; a file of your own stands where a name stands. Keys are written with dots: `optim.lr=3e-4`. A *ramp*"
    " is a number that stays, or `[start, end]`: a cosine from start to end over the first `train.burn_in` of the run."
    " This page is made from the schema that checks recipes."
)
TITLES = {
    "gan": "GANs on images",
    "vae": "Variational autoencoders",
    "text-to-image": "Images from captions",
    "text-gan": "Texts by a GAN",
    "pretrain": "Pre-training",
    "electra": "Replaced-token detection",
    "tokenizer": "A vocabulary",
    "classify": "Classes and values of texts",
    "tag": "Entities and tags",
    "answer": "Answers",
    "embed": "Embeddings",
}


def on_files(files: Files, *, config: MkDocsConfig) -> Files:
    files.append(File.generated(config, "index.md", content=start_page()))
    files.append(File.generated(config, "recipes.md", content=recipes_page()))
    return files


def start_page() -> str:
    """README, its links as seen from docs/; its tables of measurements are on a page of their own."""
    text = (ROOT / "README.md").read_text(encoding="utf-8")
    text = re.sub(r"\[docs/([\w-]+)\.md\]", r"[\1]", text).replace("](docs/", "](")
    return re.sub(
        r"^## Honest numbers\n.*?(?=^## )",
        "## Honest numbers\n\nEvery metric is printed beside its floor. Measured: [benchmarks](benchmarks.md).\n\n",
        text,
        flags=re.S | re.M,
    )


def section(page: Path, title: str) -> str:
    """The text below a heading of a page, up to the next of its kind."""
    text = page.read_text(encoding="utf-8")
    found = re.search(rf"^(#+) {re.escape(title)}\n(.*?)(?=^#{{1,2}} |\Z)", text, re.S | re.M)
    if found is None:
        raise ValueError(f"{page} has no heading '{title}'")
    return found[2].strip()


def on_page_markdown(markdown: str, *, page, **_) -> str:
    """`<!-- README.md: Title -->` becomes that section of README, its links as seen from docs/."""
    return re.sub(
        r"^<!-- README\.md: (.+?) -->$",
        lambda found: section(ROOT / "README.md", found[1]).replace("](docs/", "]("),
        markdown,
        flags=re.M,
    )


def on_page_content(content: str, *, page, **_) -> str:
    """The tables of keys, which a narrow screen shows as lists."""
    return f'<div class="recipe-keys">{content}</div>' if page.file.src_uri == "recipes.md" else content


def recipes_page() -> str:
    """Every shipped recipe as it is, and every key of its objective: type, range, default, meaning."""
    parts = [
        "# Recipes",
        INTRODUCTION,
        "## Keys of every recipe",
        key_table(Recipe),
        "`train` needs a budget: steps, minutes, or, where rows are labelled, epochs. Of several, the first to end.",
    ]
    shipped = {name: path.read_text(encoding="utf-8") for name, path in recipes.shipped().items()}
    for objective, schema in OBJECTIVES.items():
        parts += [f"## {TITLES[objective]}", f"`objective: {objective}`"]
        for name, text in shipped.items():
            if yaml.safe_load(text)["objective"] == objective:
                parts += [f"### {name}", f"```yaml\n{text.rstrip()}\n```"]
        parts += [f"### Keys of {objective}", key_table(schema, but=Recipe)]
    return "\n\n".join(parts) + "\n"


def key_table(schema: type[BaseModel], but: type[BaseModel] | None = None) -> str:
    """The keys of a schema, without those that are the same in `but`."""
    known = key_rows(but) if but else {}
    rows = [row for key, row in key_rows(schema).items() if known.get(key) != row]
    return "\n".join(["| key | value | default | |", "|---|---|---|---|", *rows])


def key_rows(schema: type[BaseModel]) -> dict[str, str]:
    """A table's row for every key."""
    rows = {}
    for key, field in recipes.keys(schema).items():
        if key == "objective":  # stands above its table
            continue
        if key == "name":
            default = "the file's name"
        elif field.default in (None, ""):
            default = "empty"
        else:
            default = f"`{shown(field.default)}`"
        cells = (f"`{key}`", kind(field.annotation, field.metadata), default, field.description or "")
        rows[key] = "| " + " | ".join(cell.replace("|", "\\|") for cell in cells) + " |"
    return rows


def shown(value: Any) -> str:
    """A default as a recipe would write it."""
    if isinstance(value, str):
        return value
    return yaml.safe_dump(value, default_flow_style=True).removesuffix("\n...\n").strip()


def kind(annotation: Any, metadata: list[Any] = ()) -> str:
    """What a value may be, in words: `Annotated[int, Field(ge=1)] | None` is "whole number from 1"."""
    if hasattr(annotation, "__metadata__"):
        metadata = [*annotation.__metadata__, *metadata]
        annotation = annotation.__origin__
    limits = {}
    for note in metadata:
        for part in (note, *getattr(note, "metadata", ())):
            limits |= {name: getattr(part, name) for name in BOUNDS if getattr(part, name, None) is not None}
    bounds = " ".join(BOUNDS[name].format(f"{limit:g}") for name, limit in limits.items())
    origin, arguments = get_origin(annotation), get_args(annotation)
    if origin is Literal:
        words = ", ".join(f"`{shown(argument)}`" for argument in arguments)
    elif origin in (Union, UnionType):
        chosen = [argument for argument in arguments if argument is not NoneType]
        if chosen == [float, tuple[float, float]]:
            words = "ramp"
        else:
            words = " or ".join(kind(argument) for argument in chosen)
    elif origin is tuple:
        words = f"[{', '.join(kind(argument) for argument in arguments)}]"
    elif origin is list:
        words = f"list of {kind(arguments[0])}"
    else:
        words = WORDS[annotation]
    return f"{words} {bounds}".strip()
