"""Questions about contexts, with the answers' places in them: SQuAD v1.1 and v2 JSON, or tables."""

from __future__ import annotations

import ast
import json
import re
from dataclasses import dataclass, replace
from pathlib import Path
from typing import TYPE_CHECKING, Any, ClassVar, Self

import numpy as np

from adverb.data.columns import as_text, peek
from adverb.data.decoding import Lines
from adverb.data.json_rows import is_jsonl, parse_json
from adverb.data.parts import Part, held_out_rows
from adverb.data.records import Records, Report, Where, name_of, suffix_of, tell_encoding
from adverb.errors import UserError

if TYPE_CHECKING:
    from adverb.schema.tasks import AnswerData

Answer = tuple[str, int]  # text, start in characters of the context
Told = tuple[str, int | None]  # the same, where the place may not be known
CONTEXTS = ("context", "passage", "paragraph", "document", "text")
ANSWERS = ("answers", "answer", "answer_text")
STARTS = ("answer_start", "start", "answer_starts")


@dataclass
class Questions(Part):
    """Questions, each about one context.

    ids: N, all different. contexts: C different ones; context_of: int64 [N] into them. answers: of each question,
    (text, start): contexts[context_of[i]][start : start + len(text)] == text; none where it can't be answered.
    """

    per_row: ClassVar = ("ids", "questions", "context_of", "answers")
    ids: list[str]
    questions: list[str]
    contexts: list[str]
    context_of: np.ndarray
    answers: list[list[Answer]]

    def take(self, rows: np.ndarray, name: str | None = None) -> Self:
        """These questions, int64 [M], and the contexts that they are about."""
        taken = super().take(rows, name)
        kept, context_of = np.unique(taken.context_of, return_inverse=True)
        return replace(taken, contexts=[self.contexts[c] for c in kept], context_of=context_of.astype(np.int64))


def load_questions(where: str | Where, *, limit: int | None = None) -> Questions:
    """One file or split: SQuAD's JSON, or a table with columns question, context and answers or answer (and
    answer_start; else the answer is looked for). limit: questions to draw at random. Raises UserError."""
    articles, report = None, Report(name_of(where))
    if not isinstance(where, tuple) and suffix_of(Path(where)) == ".json":
        articles = _articles(Path(where), report)
    if articles is None:
        records = Records(where)
        collected = _Collected(records.report)
        _read_table(records, collected)
    else:
        collected = _Collected(report)
        _read_squad(articles, collected)
    return collected.finish().draw(limit, "questions")


def load_question_splits(spec: AnswerData) -> tuple[Questions, Questions, Questions | None]:
    """(train, valid, test or None) of a recipe's data. Where there is no valid, a tenth of the contexts with all
    their questions is held out, so that none is seen in training. Raises UserError."""
    from adverb.data.splits import find_splits

    splits = find_splits(spec.path, spec.valid, spec.test)
    train = load_questions(splits.train, limit=spec.limit)
    if not any(train.answers):
        raise UserError(f"{train.name}: not one question has an answer")
    test = load_questions(splits.test) if splits.test is not None else None
    if splits.valid is not None:
        return train, load_questions(splits.valid), test
    if len(train.contexts) < 2:
        raise UserError(f"{train.name} is about one context: nothing is left to measure on. Another file: data.valid=…")
    contexts = held_out_rows(np.zeros(len(train.contexts), np.int64), train.name)
    return *train.split(np.flatnonzero(np.isin(train.context_of, contexts)), "questions"), test


class _Collected:
    """Questions so far, each checked as it comes."""

    def __init__(self, report: Report):
        self.report = report
        self.ids: dict[str, None] = {}
        self.questions: list[str] = []
        self.contexts: dict[str, int] = {}
        self.context_of: list[int] = []
        self.answers: list[list[Answer]] = []
        self.moved: list[int] = []  # lines
        self.ambiguous: list[int] = []
        self.renamed: list[int] = []

    def add(self, line: int, ident: Any, question: str, context: str, answers: list[Told]) -> None:
        """line: where it is in the file, for the report."""
        if not question.strip() or not context.strip():
            self.report.skipped.append((line, "no question" if context.strip() else "no context"))
            return
        placed = [found for text, start in answers if (found := self._place(text, start, context, line))]
        if answers and not placed:
            self.report.skipped.append((line, "the answer is not in its context"))
            return
        name = str(ident) if ident not in (None, "") else str(len(self.ids) + 1)
        if name in self.ids:
            self.renamed.append(line)
            while name in self.ids:
                name += "'"
        self.ids[name] = None
        self.questions.append(question)
        self.context_of.append(self.contexts.setdefault(context, len(self.contexts)))
        self.answers.append(list(dict.fromkeys(placed)))

    def _place(self, text: str, start: int | None, context: str, line: int) -> Answer | None:
        """The answer without white space around it, where it really is: nearest to `start`, else the first place."""
        stripped = text.strip()
        if not stripped:
            return None
        if start is not None:
            start += len(text) - len(text.lstrip())
            if start >= 0 and context.startswith(stripped, start):
                return stripped, start
        places = [m.start() for m in re.finditer(re.escape(stripped), context)] or [
            m.start() for m in re.finditer(re.escape(stripped), context, re.IGNORECASE)
        ]
        if not places:
            return None
        if start is not None:
            self.moved.append(line)
        elif len(places) > 1:
            self.ambiguous.append(line)
        place = min(places, key=lambda place: abs(place - (start or 0)))
        return context[place : place + len(stripped)], place

    def finish(self) -> Questions:
        report = self.report
        report.note("answers not where the file says, but found elsewhere in the context", self.moved)
        report.note("answers without a place that occur several times, the first one taken", self.ambiguous)
        report.note("ids that occur before, so a ' is added", self.renamed)
        if not self.ids:
            report.refuse_empty("questions")
        report.rows = len(self.ids)
        context_of = np.array(self.context_of, np.int64)
        return Questions(
            report.name, list(self.ids), self.questions, list(self.contexts), context_of, self.answers, report=report
        )


def _articles(path: Path, report: Report) -> list[Any] | None:
    """The articles of a file in SQuAD's layout; None where it has another. Raises UserError where it is no JSON."""
    lines = Lines(path, in_pieces=True)
    if is_jsonl(lines.peek(), 2):
        return None
    whole = parse_json("".join(line for _, line in lines), str(path))
    articles = whole.get("data") if isinstance(whole, dict) else None
    if not isinstance(articles, list) or not all(isinstance(a, dict) and "paragraphs" in a for a in articles):
        return None
    tell_encoding(report, lines)
    report.unit = "question"
    return articles


def is_squad(path: Path) -> bool:
    """Whether a file looks like SQuAD's JSON, by its first characters."""
    return suffix_of(path) == ".json" and re.search(rb'"(paragraphs|qas)"\s*:', Lines(path).peek()) is not None


def _read_squad(articles: list[Any], collected: _Collected) -> None:
    report, number = collected.report, 0
    report.columns = {"question": "question", "context": "context", "answers": "answers"}
    for article in articles:
        for paragraph in article["paragraphs"]:
            context = as_text(paragraph.get("context"))
            for qa in paragraph.get("qas") or []:
                number += 1
                try:
                    answers = [] if qa.get("is_impossible") else _answers(qa.get("answers"))
                except ValueError as error:
                    report.skipped.append((number, str(error)))
                    continue
                if not answers and not qa.get("is_impossible"):
                    report.skipped.append((number, "no answer, and not marked is_impossible"))
                    continue
                collected.add(number, qa.get("id"), as_text(qa.get("question")), context, answers)


def _read_table(records: Records, collected: _Collected) -> None:
    report = records.report
    _, names, rows = peek(records)
    by_lower = {name.lower(): name for name in names}

    def column(*known: str, needed: bool = True) -> str:
        found = next((by_lower[name] for name in known if name in by_lower), "")
        if needed and not found:
            raise UserError(
                f"{report.name} has no column '{known[0]}' (columns: {', '.join(names)}): questions need "
                "question, context and answer"
            )
        return found

    question, context, answer = column("question", "query"), column(*CONTEXTS), column(*ANSWERS)
    start, ident = column(*STARTS, needed=False), column("id", "qid", needed=False)
    report.columns = {"question": question, "context": context, "answers": answer}
    for line, row in rows:
        try:
            answers = _answers(row.get(answer), row.get(start))
        except ValueError as error:
            report.skipped.append((line, str(error)))
            continue
        collected.add(line, row.get(ident), as_text(row.get(question)), as_text(row.get(context)), answers)


def _answers(value: Any, start: Any = None) -> list[Told]:
    """Answers in any of their forms: [{"text", "answer_start"}], {"text": […], "answer_start": […]} (also written
    into a cell), a list of texts, a text. Raises ValueError with the reason."""
    if isinstance(value, str) and value.lstrip()[:1] in ("{", "["):
        value = _literal(value)
    if value is None or value == "":
        return []
    if isinstance(value, dict):
        texts, starts = value.get("text") or [], value.get("answer_start", start)
        texts = [texts] if isinstance(texts, str) else texts
        starts = starts if isinstance(starts, list) and texts else [starts] * len(texts)
        if len(texts) != len(starts):
            raise ValueError(f"{len(texts)} answers, but {len(starts)} places")
        return [(as_text(t), _whole(s)) for t, s in zip(texts, starts, strict=True)]
    if isinstance(value, list):
        starts = start if isinstance(start, list) and len(start) == len(value) else [start] * len(value)
        return [answer for one, place in zip(value, starts, strict=True) for answer in _answers(one, place)]
    return [(as_text(value), _whole(start))]


def _literal(value: str) -> Any:
    """What a cell spells in JSON or Python, else the cell: pandas writes lists and mappings so."""
    for read in (json.loads, ast.literal_eval):
        try:
            return read(value)
        except (ValueError, SyntaxError, RecursionError, MemoryError):
            continue
    return value


def _whole(value: Any) -> int | None:
    try:
        return int(value)
    except (TypeError, ValueError):
        return None
