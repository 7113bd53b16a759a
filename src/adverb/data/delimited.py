"""CSV and its kin: the separator, the quotes and the header found out, rows as they stream by.

Quotes are read as RFC 4180 has them, with sense where a file does not: a quote that never closes in its row is taken
for a character of the text, so that a torn row costs itself and not the rows after it.
"""

from __future__ import annotations

import re
from collections import deque
from collections.abc import Callable, Iterator
from itertools import islice

from adverb.data.decoding import Lines

SEPARATORS = {",": "comma", "\t": "tab", ";": "semicolon", "|": "bar"}
SAMPLE = 500  # lines looked at before the first row
LONGEST_FIELD = 1 << 20  # characters of a quoted field: more, and its quote is a mistake
EVIDENCE = 8  # separators in their places: fewer may be the text's own
ROWS = 0.9  # share of the lines in quotes that are rows: with more, the quotes enclose nothing
NUMBER = re.compile(r"\s*[-+]?(\d+([.,]\d*)?|[.,]\d+)([eE][-+]?\d+)?\s*")
IDENTIFIER = re.compile(r"\s*[^\W\d][\w .#/()%-]{0,40}\s*")
HEADER_NAMES = frozenset(
    "text sentence label labels class category target sentiment intent id idx index review comment content title "
    "question answer context premise hypothesis sentence1 sentence2 question1 question2 score rating tweet message "
    "body description word words token tokens tag tags coarse fine topic emotion stars language date user author "
    "source split name query document passage anchor positive negative summary subject".split()
)


class Delimited:
    """The rows of a delimited file as (number of the first line, {column: value}).

    columns: from the header, or "0", "1", … where there is none. skip(line, reason) is told of rows left out: those
    with another number of columns, and a last one that is cut off.
    """

    def __init__(self, lines: Lines, skip: Callable[[int, str], None], separator: str | None = None):
        self.lines, self.skip = lines, skip
        self.notes: list[str] = []
        self._waiting: deque[tuple[int, str]] = deque(islice(lines, SAMPLE))
        begun = len(self._waiting) == SAMPLE  # else it is the whole file
        while begun and next(records(iter([*self._waiting]), separator or ",", True, begun), None) is None:
            self._waiting.extend(more := list(islice(lines, SAMPLE)))  # the first row is longer than the sample
            begun = len(more) == SAMPLE
        while self._waiting and not self._waiting[0][1].strip("\ufeff\r\n "):
            self._waiting.popleft()
        if self._waiting and (told := re.fullmatch(r"sep=(.)\s*", self._waiting[0][1])):  # Excel's own hint
            separator = told[1]
            self._waiting.popleft()
        sample = [line for _, line in self._waiting]
        self.separator, self.quotes = _choose(sample, separator, begun)
        rows = records(iter(list(self._waiting)), self.separator, self.quotes, begun=begun)
        first = [fields for _, fields, _ in islice(rows, 200)]
        self.has_header = bool(first) and _is_header(first[0], first[1:])
        self.columns = self._columns(first[0] if first else [])
        self._width = len(first[0]) if first else 0
        if first and not self.has_header:
            self.notes.append(
                f"there is no header: the first row is data, the columns are called 0 … {len(self.columns) - 1}"
            )

    def _columns(self, first: list[str]) -> list[str]:
        if not self.has_header:
            return [str(i) for i in range(len(first))]
        names: list[str] = []
        for i, cell in enumerate(first):
            name = cell.strip() or f"column {i}"
            if name in names:
                other = next(f"{name}.{n}" for n in range(2, len(first) + 2) if f"{name}.{n}" not in names)
                self.notes.append(f"two columns are called '{name}': the second one is '{other}' here")
                name = other
            names.append(name)
        while len(names) > 1 and not first[len(names) - 1].strip():  # separators at the ends of lines
            names.pop()
        return names

    def __iter__(self) -> Iterator[tuple[int, dict[str, str]]]:
        rows = records(self._all_lines(), self.separator, self.quotes, width=self._width)
        header = next(rows, (0, None, False))[1] if self.has_header else None
        columns, width = self.columns, len(self.columns)
        for line, fields, ended in rows:
            if len(fields) > width and fields != header and not any(field.strip() for field in fields[width:]):
                fields = fields[:width]
            if fields == header:
                self.skip(line, "the header again")
            elif len(fields) == width:
                yield line, dict(zip(columns, fields, strict=True))
            elif not ended:
                self.skip(line, "cut off: the file ends within this row")
            else:
                self.skip(line, f"{len(fields)} columns instead of {width}")

    def _all_lines(self) -> Iterator[tuple[int, str]]:
        while self._waiting:
            yield self._waiting.popleft()
        yield from self.lines


def records(
    lines: Iterator[tuple[int, str]], separator: str, quotes: bool, begun: bool = False, width: int = 0
) -> Iterator[tuple[int, list[str], bool]]:
    """(number of the first line, fields, whether the row ends in a line end). Empty lines are passed over.

    begun: the lines are those at the beginning of a file: a row that is open at their end is not told. width: fields
    of a row, where it is known: a quote that encloses rows is a character.
    """
    pushed: deque[tuple[int, str]] = deque()
    while pushed or (pushed := deque(islice(lines, 1))):
        number, text = pushed.popleft()
        if not text.strip("\r\n "):
            continue
        ended = text.endswith(("\n", "\r"))
        if not quotes or '"' not in text:
            yield number, _plain(text, separator), ended
            continue
        fields = _quoted(text, separator)
        if fields is not None:
            yield number, fields, ended
            continue
        more, size = [], len(text)  # a quote is open: go on until it closes, or proves to be none
        while fields is None and size < LONGEST_FIELD:
            following = pushed.popleft() if pushed else next(lines, None)
            if following is None and begun:
                return
            if following is None:
                break
            more.append(following)
            size += len(following[1])
            if '"' not in following[1]:
                continue
            whole = text + "".join(line for _, line in more)
            fields = _quoted(whole, separator)
            if fields == []:
                break
        if fields and not _are_rows([text, *(line for _, line in more)], separator, width):
            yield number, fields, more[-1][1].endswith(("\n", "\r"))
        else:
            pushed.extendleft(reversed(more))
            yield number, _quoted(text, separator, lenient=True), ended


def _are_rows(lines: list[str], separator: str, width: int) -> bool:
    """Whether the lines of a quoted field are rows by themselves, the first and the last one too. Texts that have the
    separator in each line fail there: what begins or ends them has those of its row as well."""
    if (width - 1) * len(lines) < EVIDENCE:
        return False
    rows = [len(_quoted(line, separator, lenient=True)) == width for line in lines]
    return rows[0] and rows[-1] and sum(rows) >= ROWS * len(rows)


def _plain(text: str, separator: str) -> list[str]:
    text = text.rstrip("\r\n")
    return text.split(separator) if separator else [text]


def _quoted(text: str, separator: str, lenient: bool = False) -> list[str] | None:
    """The fields of a row; None where a quote is open at its end, [] where that quote can't be one.

    lenient: an open quote is a character.
    """
    fields, position, end = [], 0, len(text.rstrip("\r\n"))
    while True:
        start = position
        while start < end and text[start] == " ":
            start += 1
        if start < end and text[start] == '"':
            value, after = _closing(text, start + 1, end, separator)
            if after >= 0:
                fields.append(value)
                if after >= end:
                    return fields
                position = after + 1
                continue
            if not lenient:
                return None if after == OPEN else [] if "\n" in text[:end] else _quoted(text, separator, lenient=True)
        after = text.find(separator, position, end) if separator else -1
        fields.append(text[position : after if after >= 0 else end])
        if after < 0:
            return fields
        position = after + 1


OPEN, TORN = -1, -2


def _closing(text: str, start: int, end: int, separator: str) -> tuple[str, int]:
    """What a quote at start - 1 encloses, and the place of the separator after it (or end); or OPEN, or TORN."""
    position, stray = start, False
    while True:
        quote = text.find('"', position, end)
        if quote < 0:
            return "", TORN if stray else OPEN
        if text[quote + 1 : quote + 2] == '"' and quote + 1 < end:
            position = quote + 2
            continue
        after = quote + 1
        while after < end and text[after] == " ":
            after += 1
        if after >= end or text[after] == separator:
            if stray and "\n" in text[start:quote]:
                return "", TORN
            return text[start:quote].replace('""', '"'), min(after, end)
        if quote > start and text[quote - 1] in (separator, "\n"):
            return "", TORN  # the quote that opens another field
        stray = True
        position = quote + 1


def _choose(sample: list[str], told: str | None, begun: bool) -> tuple[str, bool]:
    """(separator, whether quotes mean something): the ones with which most rows have as many fields as the first.

    told: the separator that the file's name promises; it wins where others do no better. begun: as in `records`.
    """
    best, best_score = ("", True), (0.5, False, 0, False)
    others = [told] if told and told not in SEPARATORS else []
    for separator in (*SEPARATORS, *others):
        enclosing = separator != "\t" or _quotes_enclose(sample, separator)
        for quotes in (True, False):
            widths = [len(fields) for _, fields, _ in records(iter(enumerate(sample, 1)), separator, quotes, begun)]
            if widths and widths[0] > 1:
                share = sum(width == widths[0] for width in widths) / len(widths)
                score = (share, separator == told, widths[0], quotes == enclosing)
                if score > best_score:
                    best, best_score = (separator, quotes), score
    return best


def _quotes_enclose(sample: list[str], separator: str) -> bool:
    """Whether every field that begins with a quote also ends with one: else quotes are characters of the text."""
    for line in sample:
        for field in line.rstrip("\r\n").split(separator):
            if field.startswith('"') and not re.fullmatch(r'"([^"]|"")*" *', field):
                return False
    return True


def _is_header(first: list[str], rows: list[list[str]]) -> bool:
    """Whether the first row names the columns, by its words and by how it differs from the rows below."""
    cells = [cell.strip() for cell in first]
    columns = [[row[i].strip() for row in rows if len(row) == len(first) and row != first] for i in range(len(cells))]
    for cell, column in zip(cells, columns, strict=True):
        if cell and cell in column and len(set(column)) <= max(2, len(column) / 2):
            return False  # a label that occurs again
    if any(cell.lower() in HEADER_NAMES for cell in cells):
        return True
    if any(NUMBER.fullmatch(cell) for cell in cells) or len(set(cells)) < len(cells):
        return False
    named = all(IDENTIFIER.fullmatch(cell) for cell in cells if cell)
    if not columns[0]:
        return named
    if any(cell and all(map(NUMBER.fullmatch, column)) for cell, column in zip(cells, columns, strict=True)):
        return True
    if any(len(column) >= 5 and 3 * len(set(column)) <= len(column) for column in columns):
        return True  # a column of labels, and the first one is none of them
    longest = max(range(len(cells)), key=lambda i: sum(map(len, columns[i])))
    typical = sorted(map(len, columns[longest]))[len(columns[longest]) // 2]
    return named and len(cells[longest]) < max(12, typical / 2)
