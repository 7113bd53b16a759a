"""Which rows a reader is judged on: those named, or those its run was judged on; read as its training reads them."""

from __future__ import annotations

from pathlib import Path
from typing import Any

from rich.console import Console

from adverb.data.label_kinds import plain
from adverb.data.labelled import load_labelled, load_labelled_splits
from adverb.data.records import Where
from adverb.data.splits import find_splits
from adverb.errors import UserError
from adverb.metrics.details import Details
from adverb.pipelines.judging import judge_of
from adverb.pipelines.reader import Reader
from adverb.schema import tasks

KINDS = {"multi_label_classification": "multi", "regression": "regression"}
TASKS = {  # verb -> the objective of its recipes, what they say of their data
    "classify": ("classify", tasks.ClassifyData),
    "entities": ("tag", tasks.TagData),
    "answer": ("answer", tasks.AnswerData),
    "embed": ("embed", tasks.EmbedData),
}


def judged(
    reader: Reader, recipe: dict[str, Any] | None, data: str | None, model: str, console: Console
) -> tuple[dict[str, float], Details, list[str]]:
    """(metrics, details, sentences about the rows)

    recipe: of the run that the reader comes from. data: a file, a folder, a hub name, or None for those of the recipe.
    """
    told = (recipe or {}).get("data", {})
    if data is None and not told.get("path"):
        raise UserError(f"{model} is not a run folder, so its data is not known: name it by --data")
    if reader.verb == "fill_mask":
        return _masks(reader, told, data, console)
    objective, section = TASKS[reader.verb]
    own = recipe is not None and recipe["objective"] == objective
    if data is None and not own:
        raise UserError(f"{model} was trained by {recipe['objective']}: name rows with their truth by --data")
    rows = _rows(reader, section.model_validate(told) if own else section(), data)
    metrics, details = judge_of(reader.verb)(reader, rows)
    return metrics, details, rows.report.lines()


def _rows(reader: Reader, spec: tasks.TaskData, data: str | None) -> Any:
    """The test set of what is named, or of the recipe; the held-out one where there is none."""
    if reader.verb == "classify":
        if data is None:
            _, valid, test = load_labelled_splits(spec)
            if reader.facts.get("out_of_fold") and test is None:
                raise UserError(f"all rows of {spec.path} were trained on: name others by --data")
            return _of_model(reader, test or valid)
        config = reader.model.config
        kind = KINDS.get(config.problem_type, "single")
        names = None if kind == "regression" else config.labels
        told = dict(text=spec.text, pair=spec.pair, label=spec.label)
        return load_labelled(_part(data), kind=kind, label_names=names, **told)
    if reader.verb == "entities":
        from adverb.data.tagged import load_tagged, load_tagged_splits

        if data is None:
            _, valid, test = load_tagged_splits(spec)
            return test or valid
        return load_tagged(_part(data), word=spec.word, tag=spec.tag)
    if reader.verb == "answer":
        from adverb.data.squad import load_question_splits, load_questions

        if data is None:
            _, valid, test = load_question_splits(spec)
            return test or valid
        return load_questions(_part(data))
    from adverb.data.pairs import find_pair_splits, load_pair_splits, load_pairs

    if data is None:
        _, valid, test = load_pair_splits(spec)
        return test or valid
    where = data if Path(data).is_file() else _last(find_pair_splits(data))
    return load_pairs(where, text=spec.text, pair=spec.pair, score=spec.score)


def _part(data: str) -> Where:
    """The file itself; of a folder or a hub's set the test part, the held-out part, or all there is."""
    return Path(data) if Path(data).is_file() else _last(find_splits(data))


def _last(splits) -> Where:
    return splits.test or splits.valid or splits.train


def _of_model(reader: Reader, rows):
    """Raises UserError where the recipe's data has other labels than the model, which was trained before."""
    labels = reader.model.config.labels
    if rows.kind != "regression" and [*map(plain, rows.label_names)] != [*map(plain, labels)]:
        now, then = (", ".join(names[:6]) + " …" * (len(names) > 6) for names in (rows.label_names, labels))
        raise UserError(f"{rows.name} has other labels now ({now}) than the model learnt ({then})")
    return rows


def _masks(reader: Reader, told: dict[str, Any], data: str | None, console: Console):
    from adverb.data.corpus import load_corpus
    from adverb.data.text import find_text, find_valid

    if reader.model.task == "language_model":
        raise UserError("a one-sided language model is judged while it trains: see the run's report.html")
    column = told.get("column") or "text"

    def corpus(source):
        return load_corpus(source, reader.tokenizer, lambda line: console.print(f"[dim]{line}[/]", highlight=False))

    if data is not None:  # a file is what it is, whatever lies beside
        held_out = corpus((find_valid(data, column) if Path(data).is_dir() else None) or find_text(data, column))
    elif valid := find_valid(told["path"], column, told.get("valid")):
        held_out = corpus(valid)
    else:
        held_out = corpus(find_text(told["path"], column, told.get("limit"))).hold_out()[1]
    length = min(told.get("sequence_length") or 128, reader.model.config.max_position_embeddings)
    from adverb.pipelines.judging.masks import judge_masks

    metrics, details = judge_masks(reader, held_out, length)
    return metrics, details, [f"{data or told['path']}: {details.rows:,} rows of {length} tokens, 15 % of them masked"]
