"""Reads recipes: a shipped name or a YAML file, dotted overrides on top, and errors that point at the key."""

from __future__ import annotations

import difflib
from importlib import resources
from pathlib import Path
from typing import Any, get_args

import yaml
from pydantic import BaseModel, ValidationError

from adverb.errors import UserError
from adverb.schema import OBJECTIVES, Recipe

BUDGETS = ("steps", "minutes", "epochs")


def shipped() -> dict[str, Path]:
    """The recipes that come with adverb, by name."""
    folder = resources.files("adverb") / "recipes"
    return {Path(f.name).stem: Path(str(f)) for f in sorted(folder.iterdir(), key=lambda f: f.name)
            if f.name.endswith(".yaml")}  # fmt: skip


def find(name: str) -> Path:
    """The file of a shipped recipe or a path to a YAML file. Raises UserError with the nearest name."""
    recipes = shipped()
    if name in recipes:
        return recipes[name]
    path = Path(name)
    if path.suffix in (".yaml", ".yml"):
        if path.is_file():
            return path
        raise UserError(f"recipe file {name} does not exist")
    if (path / "recipe.yaml").is_file():
        raise UserError(f"{name} is a run: go on with it by adverb train {name} --resume, or name {name}/recipe.yaml")
    near = difflib.get_close_matches(name, recipes, n=1, cutoff=0.5)
    hint = f"did you mean '{near[0]}'?" if near else f"there are: {', '.join(recipes)}"
    raise UserError(f"no recipe '{name}': {hint} (or give a .yaml file)")


def read(path: Path) -> str:
    """The text of a recipe's file. Raises UserError where there is none."""
    try:
        return path.read_text(encoding="utf-8")
    except UnicodeDecodeError as error:
        raise UserError(f"{path}: not a recipe: byte {error.start} is not UTF-8. Save it as UTF-8") from None
    except OSError as error:
        raise UserError(f"can't read {path}: {error.strerror}") from None


def load(name: str, overrides: list[str] | dict[str, Any] | None = None) -> Recipe:
    """A validated recipe.

    name: a shipped name or a YAML file.
    overrides: `["optim.lr=3e-4", …]`, or `{"optim.lr": 3e-4, …}`; they win over the file.
    Raises UserError naming file, line and key of the first thing that is wrong.
    """
    path = find(name)
    text = read(path)
    try:
        node = yaml.compose(text)
        values = yaml.safe_load(text)
    except (yaml.YAMLError, ValueError) as error:  # ValueError: a date of month 13
        mark = getattr(error, "problem_mark", None)
        where = f"{path}:{mark.line + 1}:{mark.column + 1}" if mark else str(path)
        raise UserError(f"{where}: not YAML: {getattr(error, 'problem', error)}") from None
    if not isinstance(values, dict):
        raise UserError(f"{path}: a recipe is a mapping of keys, this is {type(values).__name__}")
    values.setdefault("name", path.stem)
    return validate(values, parse_overrides(overrides), source=str(path), lines=_lines(node))


def parse_overrides(overrides: list[str] | dict[str, Any] | None) -> dict[str, Any]:
    """`key=value` words to a mapping of dotted keys; values are read as YAML, so `[1, 2]`, `true`, `null` work."""
    if not overrides or isinstance(overrides, dict):
        return dict(overrides or {})
    parsed = {}
    for word in overrides:
        key, equals, value = word.partition("=")
        if not equals or not key:
            raise UserError(f"'{word}' is not an override: write key=value, for example train.steps=1000")
        try:
            parsed[key] = yaml.safe_load(value)
        except (yaml.YAMLError, ValueError):
            parsed[key] = value
    return parsed


def validate(values: dict, overrides: dict[str, Any], source: str, lines: dict[str, int] | None = None) -> Recipe:
    """`values` with `overrides` applied, as the recipe class of its objective."""
    objective = values.get("objective")
    if not isinstance(objective, str) or objective not in OBJECTIVES:
        near = difflib.get_close_matches(str(objective), OBJECTIVES, n=1, cutoff=0.4) if objective else []
        hint = f"did you mean '{near[0]}'?" if near else f"expected one of: {', '.join(OBJECTIVES)}"
        raise UserError(f"{source}: objective is {objective!r}: {hint}")
    schema = OBJECTIVES[objective]
    for key, value in overrides.items():
        _set(values, key, value, schema, source)
    asked = {budget for budget in BUDGETS if overrides.get(f"train.{budget}") is not None}
    if asked:  # the budget asked for replaces the recipe's, it does not add to it
        values["train"] |= {b: None for b in BUDGETS if b in values["train"] and b not in asked}
    try:
        return schema.model_validate(values)
    except ValidationError as error:
        raise UserError(_explain(error.errors(), schema, overrides, source, lines or {})) from None


def dump(recipe: Recipe) -> str:
    """The recipe as YAML, everything resolved."""
    return yaml.safe_dump(recipe.model_dump(mode="json"), sort_keys=False, allow_unicode=True)


def keys(schema: type[BaseModel], prefix: str = "") -> dict[str, Any]:
    """Every dotted key that a schema has, with its field."""
    found = {}
    for name, field in schema.model_fields.items():
        section = _section(field.annotation)
        if section is None:
            found[prefix + name] = field
        else:
            found |= keys(section, f"{prefix}{name}.")
    return found


def _section(annotation) -> type[BaseModel] | None:
    """The section that a field of a schema holds, None for a plain value."""
    for kind in (annotation, *get_args(annotation)):
        if isinstance(kind, type) and issubclass(kind, BaseModel):
            return kind
    return None


def _set(values: dict, key: str, value: Any, schema: type[BaseModel], source: str) -> None:
    known = keys(schema)
    if key not in known:
        raise UserError(f"unknown key '{key}': {_nearest(key, known)}")
    *sections, leaf = key.split(".")
    for section in sections:
        if values.get(section) is None:
            values[section] = {}
        values = values[section]
        if not isinstance(values, dict):
            raise UserError(f"{source}: {section} is {values!r}: expected keys and values, such as {leaf}: {value}")
    values[leaf] = value


def _nearest(key: str, known: dict[str, Any]) -> str:
    """What a mistyped key most likely meant, among all dotted keys."""
    leaf = key.rsplit(".", 1)[-1]
    same_leaf = [k for k in known if k.rsplit(".", 1)[-1] == leaf]
    near = same_leaf or difflib.get_close_matches(key, known, n=1, cutoff=0.5)
    if not near:
        leaves = {k.rsplit(".", 1)[-1]: k for k in known}
        near = [leaves[m] for m in difflib.get_close_matches(leaf, leaves, n=1, cutoff=0.6)]
    if near:
        return f"did you mean '{near[0]}'?"
    section = key.rsplit(".", 1)[0] + "."
    beside = [k for k in known if k.startswith(section)] or sorted({k.split(".")[0] for k in known})
    return f"known here: {', '.join(beside)}"


def _explain(errors: list[dict], schema: type[BaseModel], overrides: dict, source: str, lines: dict[str, int]) -> str:
    """The first of pydantic's errors as one line: where, what was found, what was expected."""
    known = keys(schema)

    def key_of(error: dict) -> str:
        # the location of a union's branch carries the branch's name: keep the longest prefix that is a key
        parts = [str(p) for p in error["loc"]]
        return next((k for n in range(len(parts), 0, -1) if (k := ".".join(parts[:n])) in known), ".".join(parts))

    key = key_of(errors[0])
    # of a union, the branch that went furthest into the value: a pair with a wrong number is not "no number"
    error = max((e for e in errors if key_of(e) == key), key=lambda e: e["type"] != "missing" and len(e["loc"]))
    if key in overrides:
        where = f"{key}={overrides[key]}"
    else:
        line = lines.get(key) or lines.get(key.rsplit(".", 1)[0])
        where = f"{source}:{line}: {key}" if line else f"{source}: {key}"
    if error["type"] == "extra_forbidden":
        return f"{where}: unknown key, {_nearest(key, known)}"
    if error["type"] == "missing":
        return f"{where}: missing"
    message = error["msg"].removeprefix("Value error, ")
    message = message[0].lower() + message[1:]
    if error["type"] == "value_error":
        return f"{where}: {message}"
    description = known[key].description if key in known else None
    return f"{where}: {message}, got {error['input']!r}" + (f" ({description})" if description else "")


def _lines(node, prefix: str = "") -> dict[str, int]:
    """Dotted key -> line number in the YAML file, from 1."""
    found = {}
    if isinstance(node, yaml.MappingNode):
        for key, value in node.value:
            found[prefix + key.value] = key.start_mark.line + 1
            found |= _lines(value, f"{prefix}{key.value}.")
    return found
