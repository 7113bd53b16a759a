"""Rows in JSON: one object a line, an array of objects, or an object with one list of them."""

from __future__ import annotations

import json
from collections.abc import Callable, Iterator
from typing import Any

from adverb.errors import UserError

BLOCK = 1 << 18  # characters of an array parsed at a time
TORN = 4096  # bytes that a pipe gives at a time: a line may go on behind them
Skip = Callable[[int, str], None]
Numbered = Iterator[tuple[int, dict[str, Any]]]


def is_jsonl(head: bytes, least: int = 1) -> bool:
    """Whether the first line is a JSON object of its own, and the next one (there must be `least`) begins another.

    Of a line that is longer than `head`, its beginning decides, where it need not have a next one.
    """
    first, end, rest = head.partition(b"\n")
    if not end and least < 2 and len(head) >= TORN and head.startswith(b'{"'):
        return True
    try:
        return isinstance(json.loads(first), dict) and (rest.lstrip()[:1] == b"{" or not rest.strip() and least < 2)
    except ValueError:
        return False


def line_rows(lines: Iterator[tuple[int, str]], skip: Skip) -> Numbered:
    """(line, object) of JSONL."""
    for number, line in lines:
        if not line.strip():
            continue
        try:
            row = json.loads(line)
        except (ValueError, RecursionError) as error:
            cut = not line.endswith("\n")
            skip(number, "cut off: the file ends within this row" if cut else f"not JSON: {_reason(error)}")
            continue
        if isinstance(row, dict):
            yield number, row
        else:
            skip(number, _no_object(row))


def array_rows(lines: Iterator[tuple[int, str]], skip: Skip) -> Numbered:
    """(line on which it begins, object) of an array, parsed a block at a time."""
    array = _Array(lines)
    array.mark()
    array.position += 1  # [
    while (mark := array.mark()) not in ("]", ""):
        if mark == ",":
            array.position += 1
            continue
        line = array.line()
        try:
            row = array.value()
        except (ValueError, RecursionError) as error:
            skip(line, f"from here on the file is not JSON, or cut off: {_reason(error)}")
            return
        if isinstance(row, dict):
            yield line, row
        else:
            skip(line, _no_object(row))
    if mark == "":
        skip(array.line(), "cut off: the list does not end")


class _Array:
    """A window on the text of a JSON array."""

    def __init__(self, lines: Iterator[tuple[int, str]]):
        self.lines = lines
        self.decoder = json.JSONDecoder()
        self.buffer, self.position, self.ended = "", 0, False
        self.number, self.counted = 1, 0  # the line at `counted` in the buffer

    def fill(self) -> None:
        """Drop what is parsed and read on: as much again as is left, so that no object is begun too often."""
        self.line()
        parts = [self.buffer[self.position :]]
        wanted = max(BLOCK, len(parts[0]))
        while wanted > 0:
            following = next(self.lines, None)
            if following is None:
                self.ended = True
                break
            parts.append(following[1])
            wanted -= len(following[1])
        self.buffer, self.position, self.counted = "".join(parts), 0, 0

    def mark(self) -> str:
        """Pass white space; the character that stands there, "" at the end."""
        while True:
            while self.position < len(self.buffer) and self.buffer[self.position].isspace():
                self.position += 1
            if self.position < len(self.buffer) or self.ended:
                return self.buffer[self.position : self.position + 1]
            self.fill()

    def line(self) -> int:
        """The line at the position."""
        self.number += self.buffer.count("\n", self.counted, self.position)
        self.counted = self.position
        return self.number

    def value(self) -> Any:
        while True:
            try:
                value, end = self.decoder.raw_decode(self.buffer, self.position)
                if end < len(self.buffer) or self.ended:  # else a number could go on
                    self.position = end
                    return value
            except ValueError:
                if self.ended:
                    raise
            self.fill()


def member_rows(text: str, name: str, skip: Skip) -> tuple[str, Numbered]:
    """The member of an object that lists its rows, and (number, row) of them. Raises UserError where none does."""
    whole = parse_json(text, name)
    if isinstance(whole, list):  # in an encoding by which its first bytes did not say so
        whole = {"rows": whole}
    if not isinstance(whole, dict):
        raise UserError(f"{name}: no rows, but a single JSON value: write one object a line, or a list of them")
    lists = {k: v for k, v in whole.items() if isinstance(v, list) and v and isinstance(v[0], dict)}
    if len(lists) != 1:
        has = f"it has {', '.join(map(str, whole))}" if len(whole) <= 20 else f"it has {len(whole)} members"
        raise UserError(f"{name}: one JSON object, but not one list of rows in it ({has}): write one row a line")
    member, rows = next(iter(lists.items()))

    def numbered() -> Numbered:
        for number, row in enumerate(rows, 1):
            if isinstance(row, dict):
                yield number, row
            else:
                skip(number, _no_object(row))

    return member, numbered()


def parse_json(text: str, name: str) -> Any:
    """Raises UserError with line and column."""
    try:
        return json.loads(text)
    except json.JSONDecodeError as error:
        raise UserError(f"{name}:{error.lineno}:{error.colno}: not JSON: {error.msg}") from None
    except RecursionError:
        raise UserError(f"{name}: JSON nested too deep") from None


def _no_object(value: Any) -> str:
    names = {list: "a list", str: "a string", int: "a number", float: "a number", bool: "true or false"}
    return f"not an object with columns, but {names.get(type(value), 'null')}"


def _reason(error: Exception) -> str:
    return f"{error.msg}, column {error.colno}" if isinstance(error, json.JSONDecodeError) else str(error)[:100]
