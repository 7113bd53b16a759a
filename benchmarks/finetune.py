"""adverb's fine-tuning beside the Trainer of transformers: same checkpoint, data, epochs, batch and learning rate.

    python benchmarks/finetune.py [--tasks sst2 trec-coarse trec-fine wnut17 xquad] [--epochs N] [--seeds 1]

The Trainer is as its documents show it, everything else at its defaults: dynamic padding, the model's own dropout,
linear decay, float32. Questions are prepared as in transformers' question-answering example (windows of 384 tokens, a
stride of 128), words as in its token-classification example (the label at the first piece).

The clock: adverb's is that of the whole of `adverb.train`, with reading, evaluations on held-out rows, the choice of
the best epoch, calibration and the report; the Trainer's is that of tokenising and `train()` alone.

Both models then answer the same test rows, which neither saw, and one function scores both. "difference" is adverb's
score less the Trainer's with the interval that a paired bootstrap over the test rows gives (95%, 2,000 draws). Of TREC,
which has no held-out file, adverb sets a tenth aside by itself; the Trainer learns from all of it.
"""

from __future__ import annotations

import argparse
import json
import os
import tempfile
import time
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

os.environ.setdefault("TOKENIZERS_PARALLELISM", "true")
os.environ.setdefault("HF_HUB_OFFLINE", "1")

import numpy as np
import torch
import transformers
from datasets import Dataset, disable_progress_bars

import adverb
from adverb import recipe as recipes
from adverb.bert.checkpoint import locate
from adverb.data.labelled import load_labelled
from adverb.data.squad import load_questions
from adverb.data.tagged import load_tagged
from adverb.metrics.answers import answer_scores
from adverb.metrics.bootstrap import interval
from adverb.metrics.entities import entity_counts, entity_scores
from adverb.pipelines.answerer import find_answers
from adverb.pipelines.tagger import best_tags, word_logits

CHECKPOINT = "all-MiniLM-L6-v2"
QA_LENGTH, QA_STRIDE, QA_LONGEST, QA_BEST = 384, 128, 30, 20  # of the example of transformers
Counts = np.ndarray  # of each test row, float [N, K]: what a score is computed from


@dataclass
class Side:
    seconds: float
    counts: Counts


@dataclass
class Task:
    """What is trained on what, and how test rows are counted and scored."""

    recipe: str
    overrides: dict[str, Any]
    metric: str
    theirs: Callable[[Any], Side]
    ours: Callable[[Path], Counts]
    score: Callable[[Counts], float]


def arguments(spec: Any, seed: int) -> transformers.TrainingArguments:
    return transformers.TrainingArguments(
        tempfile.mkdtemp(), num_train_epochs=spec.train.epochs, learning_rate=spec.optim.lr,
        per_device_train_batch_size=spec.train.batch_size, seed=seed, use_cpu=True, report_to="none",
        save_strategy="no", logging_strategy="no", disable_tqdm=True,
    )  # fmt: skip


def fast_tokenizer() -> transformers.PreTrainedTokenizerBase:
    return transformers.AutoTokenizer.from_pretrained(locate(CHECKPOINT))


def trained(kind: type, rows: Dataset, collator: Any, spec: Any, seed: int, **config: Any) -> torch.nn.Module:
    transformers.set_seed(seed)  # of the new head, too
    model = kind.from_pretrained(locate(CHECKPOINT), **config)
    transformers.Trainer(model, arguments(spec, seed), collator, rows).train()
    return model.eval()


@torch.no_grad()
def logits_of(model: torch.nn.Module, rows: list[dict[str, Any]], collator: Any) -> list[Any]:
    """The model's outputs of each row, without padding, a batch of like lengths at a time."""
    found: list[Any] = [None] * len(rows)
    order = sorted(range(len(rows)), key=lambda i: len(rows[i]["input_ids"]))
    for start in range(0, len(order), 16):
        part = order[start : start + 16]
        outputs = model(**collator([rows[i] for i in part])).to_tuple()
        for place, i in enumerate(part):
            found[i] = [output[place].numpy() for output in outputs]
    return found


# -- classes


def classes_task(data: Path, label: str) -> Task:
    told = {"data.path": str(data / "train.tsv"), "data.label": label}
    test = load_labelled(data / "test.tsv", label=label)

    def theirs(spec: Any) -> Side:
        train = load_labelled(data / "train.tsv", label=label)
        start = time.perf_counter()
        tokenizer = fast_tokenizer()
        rows = Dataset.from_dict({"text": train.texts, "label": train.targets.tolist()})
        rows = rows.map(lambda batch: tokenizer(batch["text"], truncation=True), batched=True, remove_columns=["text"])
        collator = transformers.DataCollatorWithPadding(tokenizer)
        names = train.label_names
        model = trained(
            transformers.AutoModelForSequenceClassification, rows, collator, spec, spec.seed, num_labels=len(names)
        )
        seconds = time.perf_counter() - start
        inputs = [tokenizer(text, truncation=True) for text in test.texts]
        said = [names[output[0].argmax()] for output in logits_of(model, inputs, collator)]
        return Side(seconds, right(said))

    def ours(run: Path) -> Counts:
        return right([classes[0][0] for classes in adverb.load(run).classify(test.texts)])

    def right(said: list[str]) -> Counts:
        truth = [test.label_names[target] for target in test.targets]
        return np.array([[a == b] for a, b in zip(said, truth, strict=True)], float)

    return Task("classify", told, "accuracy", theirs, ours, lambda counts: 100 * float(counts.mean()))


# -- entities


def entities_task(data: Path) -> Task:
    test = load_tagged(data / "test.conll")

    def words_of(part: Any) -> list[list[str]]:
        return [[text[a:b] for a, b in spans] for text, spans in zip(part.texts, part.words, strict=True)]

    def prepared(tokenizer: Any, words: list[str]) -> tuple[dict[str, Any], dict[int, int]]:
        """The row, and the word that starts at a piece: {position: word}."""
        encoded = tokenizer(words, is_split_into_words=True, truncation=True)
        of = encoded.word_ids()
        first = {i: w for i, (w, before) in enumerate(zip(of, [None, *of], strict=False)) if w not in (None, before)}
        return dict(encoded), first

    def theirs(spec: Any) -> Side:
        train = load_tagged(data / "train.conll")
        names = sorted({tag for tags in train.tags for tag in tags})
        start = time.perf_counter()
        tokenizer, rows = fast_tokenizer(), []
        for words, tags in zip(words_of(train), train.tags, strict=True):
            row, first = prepared(tokenizer, words)
            row["labels"] = [names.index(tags[first[i]]) if i in first else -100 for i in range(len(row["input_ids"]))]
            rows.append(row)
        model = trained(
            transformers.AutoModelForTokenClassification, Dataset.from_list(rows),
            transformers.DataCollatorForTokenClassification(tokenizer), spec, spec.seed, num_labels=len(names),
        )  # fmt: skip
        seconds = time.perf_counter() - start
        inputs = [prepared(tokenizer, words) for words in words_of(test)]
        outputs = logits_of(model, [row for row, _ in inputs], transformers.DataCollatorWithPadding(tokenizer))
        said = [["O"] * len(tags) for tags in test.tags]
        for tags, (_, first), (logits,) in zip(said, inputs, outputs, strict=True):
            for position, word in first.items():
                tags[word] = names[logits[position].argmax()]
        return Side(seconds, entity_counts(test.tags, said).astype(float))

    def ours(run: Path) -> Counts:
        reader = adverb.load(run)
        model = reader.model.deciding()
        tagged = best_tags(model, word_logits(model, reader.tokenizer, test.texts, test.words))
        return entity_counts(test.tags, [[tag or "O" for tag in tags] for tags, _ in tagged]).astype(float)

    def score(counts: Counts) -> float:
        return 100 * entity_scores(counts.sum(0))["f1"]

    told = {"data.path": str(data / "train.conll"), "data.valid": str(data / "dev.conll")}
    return Task("tag", told, "entity F1", theirs, ours, score)


# -- answers


def parted(path: Path) -> list[Path]:
    """Files of SQuAD's kind with nine tenths of the articles, and with the last tenth."""
    whole = json.loads(path.read_text(encoding="utf-8"))
    articles, folder = whole["data"], Path(tempfile.mkdtemp())
    at = len(articles) - max(1, len(articles) // 10)
    files = [folder / "most.json", folder / "rest.json"]
    for file, part in zip(files, (articles[:at], articles[at:]), strict=True):
        file.write_text(json.dumps(whole | {"data": part}), encoding="utf-8")
    return files


def answers_task(data: Path) -> Task:
    train_file, valid_file = parted(data / "train.json")  # its dev.json, to choose the epoch by, is the test set here
    test = load_questions(data / "dev.json")
    truths = {name: [text for text, _ in answers] for name, answers in zip(test.ids, test.answers, strict=True)}
    contexts = [test.contexts[i] for i in test.context_of]

    def windows(tokenizer: Any, questions: list[str], passages: list[str]) -> Any:
        return tokenizer(
            questions, passages, truncation="only_second", max_length=QA_LENGTH, stride=QA_STRIDE,
            return_overflowing_tokens=True, return_offsets_mapping=True,
        )  # fmt: skip

    def theirs(spec: Any) -> Side:
        train = load_questions(train_file)
        start = time.perf_counter()
        tokenizer = fast_tokenizer()
        encoded = windows(tokenizer, train.questions, [train.contexts[i] for i in train.context_of])
        rows = []
        for i, question in enumerate(encoded["overflow_to_sample_mapping"]):
            text, begins = train.answers[question][0]
            inside = [n for n, part in enumerate(encoded.sequence_ids(i)) if part == 1]
            spans = encoded["offset_mapping"][i]
            fits = spans[inside[0]][0] <= begins and spans[inside[-1]][1] >= begins + len(text)
            first = max((n for n in inside if spans[n][0] <= begins), default=0) if fits else 0
            last = min((n for n in inside if spans[n][1] >= begins + len(text)), default=0) if fits else 0
            row = {key: encoded[key][i] for key in ("input_ids", "token_type_ids", "attention_mask")}
            rows.append(row | {"start_positions": first, "end_positions": last})
        collator = transformers.DataCollatorWithPadding(tokenizer)
        model = trained(transformers.AutoModelForQuestionAnswering, Dataset.from_list(rows), collator, spec, spec.seed)
        seconds = time.perf_counter() - start
        encoded = windows(tokenizer, test.questions, contexts)
        rows = [{key: encoded[key][i] for key in ("input_ids", "token_type_ids", "attention_mask")}
                for i in range(len(encoded["input_ids"]))]  # fmt: skip
        best: dict[int, tuple[float, str]] = {}
        for i, (begins, ends) in enumerate(logits_of(model, rows, collator)):
            question, spans = encoded["overflow_to_sample_mapping"][i], encoded["offset_mapping"][i]
            inside = {n for n, part in enumerate(encoded.sequence_ids(i)) if part == 1}
            for a in np.argsort(-begins)[:QA_BEST].tolist():
                for b in np.argsort(-ends)[:QA_BEST].tolist():
                    if a in inside and b in inside and a <= b < a + QA_LONGEST:
                        found = float(begins[a] + ends[b]), contexts[question][spans[a][0] : spans[b][1]]
                        best[question] = max(best.get(question, found), found)
        return Side(seconds, counted([best.get(i, (0.0, ""))[1] for i in range(len(test.ids))]))

    def ours(run: Path) -> Counts:
        reader = adverb.load(run)
        return counted([answers[0].text for answers in find_answers(
            reader.model.deciding(), reader.tokenizer, test.questions, contexts, 1)])  # fmt: skip

    def counted(said: list[str]) -> Counts:
        return np.array([[f1] for _, f1 in answer_scores(dict(zip(test.ids, said, strict=True)), truths).values()])

    told = {"data.path": str(train_file), "data.valid": str(valid_file), "data.max_length": QA_LENGTH}
    return Task("answer", told, "F1", theirs, ours, lambda counts: 100 * float(counts.mean()))


# -- both sides


def compare(name: str, task: Task, seed: int, epochs: float | None) -> dict[str, Any]:
    told = task.overrides | {"seed": seed} | ({} if epochs is None else {"train.epochs": epochs})
    spec = recipes.load(task.recipe, told | {"model.init": CHECKPOINT})
    folder = Path(tempfile.mkdtemp()) / "run"
    start = time.perf_counter()
    run = adverb.train(task.recipe, out=folder, **told)
    ours = Side(time.perf_counter() - start, task.ours(run.path))
    theirs = task.theirs(spec)
    low, high = interval(
        lambda rows: task.score(ours.counts[rows]) - task.score(theirs.counts[rows]), len(ours.counts), 2000
    )
    return {
        "task": name, "epochs": spec.train.epochs, "seed": seed, "metric": task.metric, "rows": len(ours.counts),
        "adverb": task.score(ours.counts), "trainer": task.score(theirs.counts), "low": low, "high": high,
        "adverb_seconds": ours.seconds, "trainer_seconds": theirs.seconds, "ratio": theirs.seconds / ours.seconds,
    }  # fmt: skip


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--data", type=Path, default=Path("../shared/data"))
    parser.add_argument("--tasks", nargs="+", choices=TASKS, default=list(TASKS))
    parser.add_argument("--epochs", type=float, help="of both sides; default: the recipe's")
    parser.add_argument("--seeds", type=int, default=1)
    parser.add_argument("--out", type=Path, help="a JSON file for the numbers")
    options = parser.parse_args()
    transformers.logging.set_verbosity_error()
    disable_progress_bars()
    rows = []
    print(
        f"{'':13s}{'':11s}{'adverb':>8s}{'Trainer':>9s}   difference (95%)      {'seconds':>8s}{'Trainer':>9s}   ratio"
    )
    for name in options.tasks:
        for seed in range(options.seeds):
            row = compare(name, TASKS[name](options.data), seed, options.epochs)
            rows.append(row)
            scores = f"{row['adverb']:8.2f}{row['trainer']:9.2f}   {row['adverb'] - row['trainer']:+5.2f}"
            seconds = f"{row['adverb_seconds']:8.0f}{row['trainer_seconds']:9.0f}   × {row['ratio']:.2f}"
            between = f"({row['low']:+.2f} to {row['high']:+.2f})"
            print(f"{name:13s}{row['metric']:11s}{scores} {between:18s}{seconds}", flush=True)
            if options.out:
                options.out.write_text(json.dumps(rows, indent=1))


TASKS: dict[str, Callable[[Path], Task]] = {
    "sst2": lambda data: classes_task(data / "sst2", "label"),
    "trec-coarse": lambda data: classes_task(data / "trec", "coarse"),
    "trec-fine": lambda data: classes_task(data / "trec", "fine"),
    "wnut17": lambda data: entities_task(data / "wnut17"),
    "xquad": lambda data: answers_task(data / "xquad-en"),
}

if __name__ == "__main__":
    main()
