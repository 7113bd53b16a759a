"""What the pages' commands work on: small real data under the names that the pages use, and runs of a moment."""

from __future__ import annotations

import glob
import json
import shutil
from collections.abc import Callable
from dataclasses import replace
from fnmatch import fnmatch
from pathlib import Path

import numpy as np
import torch
from PIL import Image
from sklearn.datasets import load_digits

from adverb import recipe as recipes

REVIEWS = Path(recipes.__file__).parent / "data" / "reviews"
PHOTOS = 120
DIGITS = "zero one two three four five six seven eight nine".split()
MADE = {  # what a page may name without having made it
    "runs/image-gan-0001": "train image-gan --data photos/",
    "runs/vae-0001": "train vae --data photos/",
    "runs/text-to-image-0001": "train text-to-image --data captioned/",
    "runs/bert-fast-0001": "train bert-fast --data corpus/",
    "runs/bert-fast-0002": "train bert-fast --data corpus/ seed=1",
    "runs/classify-0001": "train classify --data tickets.csv",
    "runs/tag-0001": "train tag --data train.conll",
    "runs/answer-0001": "train answer --data squad.json",
    "runs/text-gan-0001": "train text-gan --data questions.csv",
    "runs/questions": "train classify --data tickets.csv",
    "runs/mnist": "train image-gan --data photos/",
}
SPOKEN = {  # what the pages call "RUN" or "MODEL"
    ("generate.md", "RUN"): "train image-gan --data photos/",
    ("text-to-image.md", "RUN"): "train text-to-image --data captioned/",
    ("export.md", "MODEL"): "train classify --data tickets.csv",
}


class Library:
    """Data and runs that more than one page names; each is made once, when it is first asked for.

    train: a command line's words and the folder to run it in.
    """

    def __init__(self, folder: Path, train: Callable[[list[str], Path], None]):
        self.folder, self.train = folder, train

    def lay_out(self, page: Path) -> None:
        """Links to all data in a page's folder."""
        for path in self.folder.iterdir():
            if path.name != "runs":
                (page / path.name).symlink_to(path)

    def provide(self, page: str, word: str, folder: Path) -> list[str]:
        """What a word of a command stands for: itself, or what bash makes of a pattern; runs are there afterwards."""
        path = word.rpartition("=")[2]
        pattern = path.replace("*", "000?")
        for name in MADE:
            if name == path or "*" in path and fnmatch(name, pattern):
                self._copy(name, MADE[name], folder)
        if (page, path) in SPOKEN:
            self._copy(path, SPOKEN[page, path], folder)
        found = sorted(glob.glob(path, root_dir=folder)) if "*" in path else []
        return found or [word]

    def _copy(self, name: str, words: str, folder: Path) -> None:
        if (folder / name).exists():
            return
        kept = self.folder / "runs" / words.replace("/", "").replace(" ", "_")
        if not kept.exists():
            self.train([*words.split(), "--out", str(kept)], self.folder)
        shutil.copytree(kept, folder / name)


def make_data(folder: Path, minilm: Path) -> None:
    """All files and folders of data that the pages name."""
    rows = [line.split("\t") for line in (REVIEWS / "train.tsv").read_text(encoding="utf-8").splitlines()[1:]]
    texts = [text for text, _ in rows]

    digits = load_digits()
    images, labels = np.uint8(digits.images[:PHOTOS] * 255 / 16), digits.target[:PHOTOS]
    for number, (image, label) in enumerate(zip(images, labels, strict=True)):
        for path in (f"photos/{label}/{number}.png", f"captioned/{number}.png"):
            (folder / path).parent.mkdir(parents=True, exist_ok=True)
            Image.fromarray(image).save(folder / path)
    captions = [{"file_name": f"{i}.png", "text": f"a scan of a {DIGITS[label]}"} for i, label in enumerate(labels)]
    write_lines(folder / "captioned" / "metadata.jsonl", map(json.dumps, captions))
    Image.fromarray(images[5]).resize((40, 40)).save(folder / "photo.png")

    teams = {"positive": "praise", "negative": "complaints"}
    write_table(folder / "tickets.csv", "body,team", [(text, teams[label]) for text, label in rows[:80]])
    write_table(folder / "few.csv", "text,label", rows[:24])
    for name, some in (
        ("new.csv", 20),
        ("reviews.csv", 20),
        ("captions.csv", 20),
        ("more.csv", 60),
        ("questions.csv", 200),
    ):
        write_table(folder / name, "text", [(text,) for text in texts[-some:]])
    for name, header in (("sst2", "sentence,label"), ("trec", "text,coarse")):
        (folder / name).mkdir()
        write_table(folder / name / "train.csv", header, rows[:80])
    write_table(folder / "pairs.csv", "text,pair", list(zip(texts[:80:2], texts[1:80:2], strict=True)))
    write_lines(folder / "posts.jsonl", (json.dumps({"body": text}) for text in texts[:20]))
    tagged = [
        [(word, "B-THING" if word in ("soup", "wine", "film") else "O") for word in text.split()] for text in texts
    ]
    write_lines(
        folder / "train.conll", ("\n".join(f"{w}\t{t}" for w, t in sentence) + "\n" for sentence in tagged[:80])
    )
    questions = [
        {"context": text, "qas": [{"id": str(i), "question": "What is first?",
                                   "answers": [{"text": text.split()[0], "answer_start": 0}]}]}
        for i, text in enumerate(texts[:40])
    ]  # fmt: skip
    squad = {"version": "1.1", "data": [{"title": "reviews", "paragraphs": questions}]}
    (folder / "squad.json").write_text(json.dumps(squad))
    (folder / "corpus").mkdir()
    documents = ["\n".join(texts[i : i + 2]) for i in range(0, len(texts), 2)]
    write_lines(folder / "corpus" / "reviews.txt", (document + "\n" for document in documents))

    small = small_encoder(minilm, folder / "all-MiniLM-L6-v2")
    for name in ("bert-base-uncased", "path/to/any-bert"):  # one with a head for masks
        small_masked_model(small, folder / name)


def write_table(path: Path, header: str, rows: list[tuple[str, ...]]) -> None:
    quoted = (",".join('"' + value.replace('"', '""') + '"' for value in row) for row in rows)
    write_lines(path, (header, *quoted))


def write_lines(path: Path, lines) -> None:
    path.write_text("\n".join(lines) + "\n", encoding="utf-8")


def small_encoder(minilm: Path, folder: Path) -> Path:
    """all-MiniLM-L6-v2 with its own vocabulary and limits, and few, random weights."""
    from adverb.bert.checkpoint import load_pretrained, save_pretrained
    from adverb.bert.heads import MODELS

    loaded = load_pretrained(minilm, "embedding")
    torch.manual_seed(0)
    config = replace(loaded.config, hidden_size=32, num_hidden_layers=2, num_attention_heads=2, intermediate_size=48)
    model = MODELS["embedding"](config).eval()
    model.max_length = loaded.model.max_length
    save_pretrained(model, loaded.tokenizer, folder)
    return folder


def small_masked_model(encoder: Path, folder: Path) -> None:
    from adverb.bert.checkpoint import load_pretrained, save_pretrained

    loaded = load_pretrained(encoder, "masked_lm")
    save_pretrained(loaded.model.eval(), loaded.tokenizer, folder)
