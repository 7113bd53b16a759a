"""`adverb predict`: what a model says about texts, as a picture on a terminal, else as JSON lines."""

from __future__ import annotations

import os
import time
from collections.abc import Iterable, Iterator, Sequence
from functools import partial
from itertools import islice
from pathlib import Path
from typing import TYPE_CHECKING, Any

from rich.console import Console
from rich.markup import escape

from adverb.errors import UserError
from adverb.pipelines import load, model_folder
from adverb.pipelines.reader import Reader
from adverb.pipelines.stream import Columns, Part, Row, answered, as_line, count_lines, errors, read_rows, stamp
from adverb.progress import Progress
from adverb.run import write_atomically

if TYPE_CHECKING:
    from adverb.pipelines.search import Hit

SHOWN = 200  # characters of a text repeated in its answer


def predict(
    model: str,
    texts: Sequence[str] = (),
    *,
    file: str | Path | None = None,
    text: str | None = None,
    pair: str | None = None,
    out: Path | None = None,
    top_k: int = 5,
    candidates: Sequence[str] | None = None,
    console: Console,
) -> None:
    """Answer for every text, and every row of `file` ("-": standard input); to `out`, or to the console.

    text, pair: columns of the file; without a file, `pair` is the second text itself, such as where to find answers.
    Each answer is a JSON object with `line` and, where the file has such a column, `id`; the `text`, its beginning
    if it is long; and by the kind of model

        classes     label, probability, probabilities {label: p}; of a multi-label model labels (from 0.5 on) and
                    probabilities; of a regression value, or values {name: v}
        entities    entities [{type, start, end, text, probability}], offsets in characters of the text
        answers     answers [{text, start, end, probability}], best first; an empty text: there is no answer
        embeddings  embedding [float]
        masks       fills [{tokens, probability, text}], best first
        a row that can't be answered   error

    Raises UserError, also for a typed text that can't be answered.
    """
    if texts and file is not None:
        raise UserError("give texts, or a --file with texts, not both")
    reader = open_reader(model)
    rows = _typed(reader, texts, pair) if file is None else read_rows(file, columns_of(reader, text, pair))
    answer = partial(answers, reader, top_k=top_k, candidates=candidates)
    if out is not None:
        _refuse_same(out, file, "--file")
        key = stamp(model_folder(model), _input(file), texts, text, pair, top_k, candidates)
        _write(out, key, rows, answer, None if file is None else count_lines(file), console)
        if reader.cut:
            say(console, f"{reader.cut:,} texts were cut to {reader.max_length} tokens")
        return
    from adverb.pipelines.show import show

    for _, chunk in answered(rows, answer):
        for row, said in chunk:
            if console.is_terminal:
                console.print(show(row, said, top_k))
            else:
                console.out(as_line(_described(row) | said), highlight=False)


def predict_similar(
    model: str,
    queries: Sequence[str],
    file: Path,
    *,
    text: str | None = None,
    out: Path | None = None,
    top_k: int = 5,
    console: Console,
) -> None:
    """The rows of `file` that are most similar to each query: query, hits [{line, id, score, text}], best first."""
    from adverb.pipelines.search import search_file
    from adverb.pipelines.show import show_hits

    if not queries:
        raise UserError('nothing to search for: give a text, such as "a dog in the snow"')
    _refuse_same(out, file, "file that is searched")
    found = search_file(open_reader(model), model_folder(model), queries, file, text=text, top_k=top_k, console=console)
    if out is None and console.is_terminal:
        for query, hits in zip(queries, found, strict=True):
            console.print(show_hits(query, hits))
        return
    said = [{"query": query, "hits": [_described(hit) | {"score": round(hit.score, 6)} for hit in hits]}
            for query, hits in zip(queries, found, strict=True)]  # fmt: skip
    if out is None:
        for one in said:
            console.out(as_line(one), highlight=False)
        return
    write_atomically(out, lambda beside: beside.write_text("".join(as_line(one) + "\n" for one in said), "utf-8"))
    say(console, f"[cyan]{out}[/]  {len(said):,} queries")


def _refuse_same(out: Path | None, file: str | Path | None, what: str) -> None:
    if out is not None and file is not None and out.exists() and Path(file).exists() and out.samefile(file):
        raise UserError(f"--out {out} is the {what} itself: name another")


def open_reader(model: str) -> Reader:
    """The model, on the accelerator where there is one. Raises UserError for a generator."""
    reader = load(model)
    if not isinstance(reader, Reader):
        raise UserError("this model draws, it does not read: use adverb generate")
    return reader.to("auto")


def answers(
    reader: Reader, rows: Sequence[Row], *, top_k: int = 5, candidates: Sequence[str] | None = None
) -> list[dict[str, Any]]:
    """What the reader says of rows without errors, one dict a row, as `predict` describes them."""
    texts, pairs = [row.text for row in rows], [row.pair for row in rows]
    if candidates and not reader.fills_masks:
        reader.fill_mask("")  # says why not
    if reader.verb == "fill_mask":
        return [_filled(reader, row, top_k, candidates) for row in rows]
    if reader.verb == "classify":
        paired = any(pair is not None for pair in pairs)
        return list(
            map(partial(_classes, reader), reader.classify(texts, [p or "" for p in pairs] if paired else None))
        )
    if reader.verb == "entities":
        return [{"entities": [_span(e) for e in found]} for found in reader.entities(texts)]
    if reader.verb == "answer":
        return _answered(reader, rows, top_k)
    return [{"embedding": [round(x, 6) for x in vector]} for vector in reader.embed(texts).tolist()]


def _classes(reader: Reader, classes: list[tuple[str, float]]) -> dict[str, Any]:
    rounded = {label: round(p, 6) for label, p in classes}
    kind = reader.model.config.problem_type
    if kind == "regression":
        return {"value": next(iter(rounded.values()))} if len(rounded) == 1 else {"values": rounded}
    if kind == "multi_label_classification":
        return {"labels": [label for label, p in classes if p >= 0.5], "probabilities": rounded}
    label, probability = next(iter(rounded.items()))
    return {"label": label, "probability": probability, "probabilities": rounded}


def _span(found: Any) -> dict[str, Any]:
    """An Entity or an Answer."""
    kind = {"type": found.type} if hasattr(found, "type") else {}
    return kind | {
        "start": found.start, "end": found.end, "text": found.text, "probability": round(found.probability, 6)
    }  # fmt: skip


def _answered(reader: Reader, rows: Sequence[Row], top_k: int) -> list[dict[str, Any]]:
    long = reader.long_questions([row.text for row in rows])
    for place, why in long.items():
        if rows[place].line is None:
            raise UserError(why)
    read = [row for place, row in enumerate(rows) if place not in long]
    found = iter(reader.answer([row.text for row in read], [row.pair for row in read], top_k))
    return [
        {"error": long[place]} if place in long else {"answers": [_span(a) for a in next(found)]}
        for place in range(len(rows))
    ]


def _filled(reader: Reader, row: Row, top_k: int, candidates: Sequence[str] | None) -> dict[str, Any]:
    try:
        fills = reader.fill_mask(row.text, top_k, candidates)
    except UserError as error:
        if row.line is None:
            raise
        return {"error": str(error)}
    return {
        "fills": [{"tokens": list(f.tokens), "probability": round(f.probability, 6), "text": f.text} for f in fills]
    }


def _described(row: Row | Hit) -> dict[str, Any]:
    found = {} if row.line is None else {"line": row.line}
    if row.id is not None:
        found["id"] = row.id
    return found | ({"text": row.text if len(row.text) <= SHOWN else row.text[: SHOWN - 1] + "…"} if row.text else {})


def _typed(reader: Reader, texts: Sequence[str], pair: str | None) -> list[Row]:
    if not texts:
        raise UserError('nothing to read: give a text, such as "The sky is [MASK].", or --file')
    if reader.verb == "answer" and pair is None:
        raise UserError('where shall the answer be found? Give the text by --pair "…", or a --file with both')
    if reader.verb == "classify" and reader.facts.get("pairs") and pair is None:
        raise UserError('this model reads pairs of texts: give the second one by --pair "…", or a --file with both')
    if not all(text.strip() for text in texts):
        raise UserError("one of the texts is empty")
    return [Row(text, pair) for text in texts]


def columns_of(reader: Reader, text: str | None, pair: str | None) -> Columns:
    """Which columns to read: those told, those of the training, those whose names or contents say so."""
    if reader.verb == "answer":
        return Columns(text or "question", pair or "context")
    pairs = reader.facts.get("pairs") if reader.verb == "classify" else False
    return Columns(text, pair, reader.facts.get("columns"), pairs)


def say(console: Console, line: str) -> None:
    """A line that is not broken, so that its paths can be copied."""
    console.print(line, highlight=False, soft_wrap=True)


def _input(file: str | Path | None) -> Path | str | None:
    """What `stamp` shall look at; standard input is another one each time."""
    return file if file is None else f"{os.getpid()} {time.time()}" if str(file) == "-" else Path(file)


def _write(out: Path, key: str, rows: Iterable[Row], answer, total: int | None, console: Console) -> None:
    part = Part(out, key)
    if part.rows:
        say(console, f"{part.path}: going on after {part.rows:,} rows")
    elif part.others:
        say(console, f"{part.others[0]} is of another input, model or option: starting over")
    try:
        with Progress(console) as progress:
            for start, chunk in _timed(answered(rows, answer, part.rows), progress, total):
                if start < part.rows:
                    part.keep(start)
                part.write([_described(row) | said for row, said in chunk])
    except KeyboardInterrupt:
        say(console, f"stopped: {part.rows:,} rows are kept in {part.path}, the same command goes on from there")
        raise
    except Exception:
        part.leave()
        raise
    part.finish()
    found = errors(out)
    wrong = list(islice(found, 3))
    count = len(wrong) + sum(1 for _ in found)
    say(console, f"[cyan]{out}[/]  {part.rows - count:,} answers")
    if count:
        first = "; ".join(f"line {line}: {reason}" for line, reason in wrong) + " …" * (count > 3)
        say(console, f"{count:,} rows have an error instead: {escape(first)}")


def _timed(chunks: Iterator, progress: Progress, total: int | None) -> Iterator:
    """The same chunks, with the bar moved after each."""
    began, rows = time.monotonic(), 0
    progress.last_plain = began  # what ends soon needs no lines in a log
    for start, chunk in chunks:
        yield start, chunk
        elapsed = time.monotonic() - began
        rows += len(chunk)
        progress.numbers = f"{rows / max(elapsed, 1e-9):,.0f} rows/s"
        progress.note(progress.numbers)
        at = chunk[-1][0].line
        progress.update(min(1.0, at / total) if at and total else 0.0, elapsed)
