"""CoNLL and its kin: a word a line, its tags in further columns, an empty line after a sentence."""

from __future__ import annotations

import re
from collections import Counter
from collections.abc import Callable, Iterable
from pathlib import Path

from adverb.data.decoding import Lines
from adverb.data.records import Report, find_column, suffix_of, tell_encoding
from adverb.errors import UserError

SEPARATORS = {"\t": "\t", " ": r"[ \t]+", ",": ",", ";": ";", "|": r"\|"}
HEADER_WORDS = frozenset(
    "word words token tokens form text id tag tags ner ner_tag ner_tags label pos upos xpos chunk lemma".split()
)
SAMPLE = 1000  # lines looked at to find the separator

Words = list[tuple[int, int]]  # (start, end) of each in the text


def read_conll(
    path: Path, word: str | int | None, tag: str | int | None
) -> tuple[list[str], list[Words], list[list[str]], list[list[int]], Report]:
    """(texts, words, tags, lines of the words, what was found): words joined by one space.

    word, tag: columns by number or by name; the first and the last where they are None, of CoNLL-U the form and the
    part of speech, and of its lines those of whole words. A line with another number of columns than most is left out;
    -DOCSTART- and comments (#) are passed over. A word is what stands between the separators, so it may hold spaces
    where tabs separate. Raises UserError for a file without columns, and for a column that is not there.
    """
    report = Report(str(path))
    lines = Lines(path)
    numbered = [(number, line.rstrip("\r\n")) for number, line in lines]
    tell_encoding(report, lines)
    cut, width = find_columns([line for _, line in numbered], str(path))
    names, first = _header(numbered, cut, width)
    universal = suffix_of(path) == ".conllu" and width == 10
    at_word = _place(word, 1 if universal else 0, names, str(path), "data.word")
    at_tag = _place(tag, 3 if universal else width - 1, names, str(path), "data.tag")
    if at_word == at_tag:
        raise UserError(f"{path}: column {at_word} can't be both the word and the tag (data.word, data.tag)")
    report.columns = {"word": names[at_word], "tag": names[at_tag]}
    texts, words, tags, places = [], [], [], []
    sentence: list[tuple[int, str, str]] = []  # line, word, tag
    rows = [(number, line, cut(line)) for number, line in [*numbered[first:], (0, "")]]
    known = {"O"} | {cells[at_tag] for _, line, cells in rows if len(cells) == width and line[:2] != "# "}
    for number, line, cells in rows:
        if not line.strip() or (len(cells) == width and not cells[at_word].strip()):
            if sentence:
                numbers, found, marks = map(list, zip(*sentence, strict=True))
                text, ends = join(found)
                texts.append(text)
                words.append(ends)
                tags.append(marks)
                places.append(numbers)
                sentence = []
        elif line.startswith("-DOCSTART-") or (universal and len(cells) == width and not cells[0].isdecimal()):
            continue
        elif len(cells) != width:
            if not line.startswith("#"):
                report.skipped.append((number, f"{len(cells)} columns instead of {width}"))
        elif not sentence and line[:2] == "# " and cells[at_tag] not in known:
            continue  # a comment with as many words as there are columns; the word # would have a tag
        elif not cells[at_tag].strip():
            report.skipped.append((number, "no tag"))
        else:
            sentence.append((number, cells[at_word].strip(), cells[at_tag].strip()))
    return texts, words, tags, places, report


def join(words: Iterable[str]) -> tuple[str, Words]:
    """Words joined by one space, and where each is."""
    words, places, position = list(words), [], 0
    for word in words:
        places.append((position, position + len(word)))
        position += len(word) + 1
    return " ".join(words), places


def find_columns(lines: list[str], path: str) -> tuple[Callable[[str], list[str]], int]:
    """How a line is cut, and into how many columns: by the separator that gives most lines the same number.
    Raises UserError where none does."""
    sample = [line for line in lines if line.strip() and not line.startswith(("#", "-DOCSTART-"))][:SAMPLE]
    best, width, most = "", 0, 0.0
    for name, pattern in SEPARATORS.items():
        counts = Counter(len(re.split(pattern, line.strip() if name == " " else line)) for line in sample)
        counts.pop(1, None)
        if counts and counts.most_common(1)[0][1] > most * 1.02:
            best, (width, most) = name, counts.most_common(1)[0]
    if 2 * most <= len(sample):
        raise UserError(f"{path} has no columns of words and tags: expected a word and its tag on each line")
    split = re.compile(SEPARATORS[best]).split
    return (lambda line: split(line.strip(" \t"))) if best == " " else split, width


def _header(numbered: list[tuple[int, str]], cut: Callable[[str], list[str]], width: int) -> tuple[list[str], int]:
    """Names of the columns, and the index of the first line after them; numbers where there is no header."""
    for i, (_, line) in enumerate(numbered):
        if not line.strip() or line.startswith("-DOCSTART-"):
            continue
        cells = [cell.strip() for cell in cut(line.removeprefix("# "))]
        if len(cells) == width and sum(cell.lower() in HEADER_WORDS for cell in cells) >= 2:
            return cells, i + 1
        break
    return [str(i) for i in range(width)], 0


def _place(asked: str | int | None, default: int, names: list[str], path: str, key: str) -> int:
    if asked is None:
        return default
    if str(asked) not in names and re.fullmatch(r"-?\d+", str(asked)):
        if not -len(names) <= int(asked) < len(names):
            raise UserError(f"{path} has {len(names)} columns, 0 … {len(names) - 1}: there is no {key}={asked}")
        return int(asked) % len(names)
    return names.index(find_column(asked, names, path, key))
