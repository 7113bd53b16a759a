"""Similarity search: exact, by matrix products over blocks of vectors; those of a file are kept in the cache."""

from __future__ import annotations

import os
import time
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from rich.console import Console

from adverb.errors import UserError
from adverb.pipelines.batching import ahead
from adverb.pipelines.reader import Reader
from adverb.pipelines.stream import Columns, Row, chunks, count_lines, lock, read_rows, stamp
from adverb.places import cache_folder
from adverb.progress import Progress

BLOCK = 1 << 15  # vectors compared at a time
QUERIES = 1 << 10  # queries at a time


@dataclass(frozen=True)
class Hit:
    """index: of the text, from 0; score: the cosine of the angle between it and the query, in [-1, 1]."""

    index: int
    text: str
    score: float
    line: int | None = None
    id: Any = None


def search(reader: Reader, queries: Sequence[str], texts: Sequence[str], top_k: int = 5) -> list[list[Hit]]:
    """The `top_k` texts most similar to each query, best first; of equals the one that comes first."""
    texts = list(texts)
    scores, indices = nearest(reader.embed(list(queries)), blocks_of(reader.embed(texts)), top_k)
    return [
        [Hit(i, texts[i], score) for i, score in zip(*found, strict=True)]
        for found in zip(indices.tolist(), scores.tolist(), strict=True)
    ]


def search_file(
    reader: Reader,
    folder: Path,
    queries: Sequence[str],
    file: Path,
    *,
    text: str | None = None,
    top_k: int = 5,
    console: Console,
) -> list[list[Hit]]:
    """As `search`, over the rows of a file of any size: memory holds a block of vectors, the disk all of them.

    folder: the reader's, which with the file's name, size and time says which vectors of the cache are these.
    Raises UserError for a file without rows to search in.
    """
    vectors = file_vectors(reader, folder, file, text, console)
    scores, indices = nearest(reader.embed(list(queries)), blocks_of(vectors), top_k)
    wanted, found = set(indices.ravel().tolist()), {}
    for index, row in enumerate(_texts(file, text)):
        if index in wanted:
            found[index] = row
            if len(found) == len(wanted):
                break
    return [
        [Hit(i, found[i].text, score, found[i].line, found[i].id) for i, score in zip(*hits, strict=True)]
        for hits in zip(indices.tolist(), scores.tolist(), strict=True)
    ]


def nearest(queries: np.ndarray, blocks: Iterable[np.ndarray], top_k: int) -> tuple[np.ndarray, np.ndarray]:
    """(cosines float32 [Q, k], rows int64 [Q, k]) of queries [Q, H] among all rows of blocks [B, H], best first.

    k is top_k, or the number of rows where there are fewer.
    """
    queries = _unit(queries)
    scores = [np.empty(0, np.float32) for _ in queries]
    rows = [np.empty(0, np.int64) for _ in queries]
    start = 0
    for block in blocks:
        block = _unit(block)
        for first in range(0, len(queries), QUERIES):
            for number, row in enumerate(queries[first : first + QUERIES] @ block.T, first):
                floor = scores[number][-1] if len(scores[number]) == top_k else -np.inf
                better = np.flatnonzero(row > floor)
                both = np.concatenate([scores[number], row[better]])
                order = np.argsort(-both, kind="stable")[:top_k]
                scores[number] = both[order]
                rows[number] = np.concatenate([rows[number], start + better])[order]
        start += len(block)
    return np.array(scores, np.float32).reshape(len(queries), -1), np.array(rows, np.int64).reshape(len(queries), -1)


def blocks_of(vectors: np.ndarray) -> Iterator[np.ndarray]:
    return (vectors[start : start + BLOCK] for start in range(0, len(vectors), BLOCK))


def _unit(vectors: np.ndarray) -> np.ndarray:
    length = np.linalg.norm(vectors, axis=1, keepdims=True)
    return vectors / np.maximum(length, np.finfo(np.float32).tiny)


def file_vectors(reader: Reader, folder: Path, file: Path, text: str | None, console: Console) -> np.ndarray:
    """The vectors of all rows that have a text, float32 [N, H], mapped from the cache; made where they are not there.

    A file of vectors that was begun and not finished is gone on with.
    """
    if not file.is_file():
        raise UserError(f"can't search {file}: there is no such file")
    size = reader.model.config.hidden_size
    path = cache_folder() / "vectors" / f"{stamp(folder, file, text)}.f32"
    if not path.is_file():
        begun = path.with_suffix(".part")
        try:
            begun.parent.mkdir(parents=True, exist_ok=True)
            with open(begun, "ab") as out:
                lock(out)  # another process may be making the same: then it has made them
                if not path.is_file():
                    _write(reader, _texts(file, text), out, 4 * size, count_lines(file), console)
                    os.replace(begun, path)
        except OSError as error:
            raise UserError(f"can't keep vectors in {path.parent}: {error.strerror}. Set ADVERB_CACHE to another folder") from None  # fmt: skip  # noqa: E501
    if path.stat().st_size == 0:
        path.unlink()
        raise UserError(f"{file} has no rows to search in")
    return np.memmap(path, np.float32, "r").reshape(-1, size)


def _write(reader: Reader, rows: Iterable[Row], out, width: int, total: int | None, console: Console) -> None:
    """Append the vectors, `width` bytes each, of the rows that are not there yet."""
    done, start, began = out.tell() // width, 0, time.monotonic()
    with Progress(console) as progress:
        for chunk in ahead(chunks(rows)):
            if start + len(chunk) > done:
                out.truncate(start * width)
                out.write(reader.embed([row.text for row in chunk]).tobytes())
                out.flush()
                progress.note("embedding, once")
                progress.update(min(1.0, chunk[-1].line / total) if total else 0.0, time.monotonic() - began)
            start += len(chunk)


def _texts(file: Path, text: str | None) -> Iterator[Row]:
    return (row for row in read_rows(file, Columns(text)) if row.error is None)
