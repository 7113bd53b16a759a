"""Files as lines of text, whatever their encoding: UTF-8, UTF-16, or an older one, judged line by line.

A line that is valid UTF-8 is UTF-8; a line that is not is read by the older encoding that explains it best. So files
put together from several sources come out right, and a stream needs no second look.
"""

from __future__ import annotations

import codecs
import gzip
import io
import sys
import zlib
from collections.abc import Iterator
from pathlib import Path

from adverb.data.encodings import judge
from adverb.errors import UserError

BLOCK = 1 << 20  # bytes read at a time
LONGEST_LINE = 1 << 26  # bytes: more is no text in lines
BOMS = (
    (codecs.BOM_UTF32_LE, "UTF-32"),
    (codecs.BOM_UTF32_BE, "UTF-32"),
    (codecs.BOM_UTF16_LE, "UTF-16"),
    (codecs.BOM_UTF16_BE, "UTF-16"),
)
GZIP = b"\x1f\x8b"
NO_TEXT = bytes(set(range(32)) - set(b"\t\n\v\f\r\x1b"))  # control characters
MAGIC = {
    b"PK\x03\x04": "a zip archive or a spreadsheet: unpack it, or save it as CSV",
    b"\xd0\xcf\x11\xe0": "an old spreadsheet or document: save it as CSV",
    b"PAR1": "a parquet file: call it .parquet",
    b"%PDF": "a PDF: extract its text first",
    b"\x28\xb5\x2f\xfd": "compressed with zstd: unpack it first",
    b"BZh": "compressed with bzip2: unpack it first",
    b"\xfd7zXZ": "compressed with xz: unpack it first",
    b"\x89PNG": "an image",
    b"SQLite format 3": "a database: export the table as CSV",
}


class Lines:
    """The lines of a file, or of standard input ("-"), as (number from 1, line with its end), in bounded memory.

    Only a line end "\\n" ends a line (or "\\r", where there is no other); "\\r\\n" is handed on as it is. gzip is
    unpacked. While it is read, `encoding` says what was decoded by, and `odd`, `damaged` and `nul` hold the numbers of
    lines in another encoding than most, with undecodable bytes (now U+FFFD), and with NUL characters (taken out).
    in_pieces: longer lines than BLOCK come in pieces. Raises UserError for a file that can't be read or is not text.
    """

    def __init__(self, path: str | Path, in_pieces: bool = False):
        self.longest = BLOCK if in_pieces else LONGEST_LINE
        self.in_pieces = in_pieces
        self.name = "standard input" if str(path) == "-" else str(path)
        self.damaged: list[int] = []
        self.nul: list[int] = []
        self._packed: _Unpacked | None = None
        self._wide: str | None = None  # UTF-16, UTF-32
        self._old: str | None = None  # what lines are in that are not UTF-8
        self._old_lines: list[int] = []
        self._utf8_lines: list[int] = []  # the first ones that are not ASCII
        self._utf8_count = 0
        self._file = self._open(path)
        self._lines = self._read()

    def __iter__(self) -> Iterator[tuple[int, str]]:
        return self._lines

    def __next__(self) -> tuple[int, str]:
        return next(self._lines)

    @property
    def encoding(self) -> str:
        if self._wide or not self._old:
            return self._wide or "UTF-8"
        return self._old if len(self._old_lines) >= self._utf8_count else "UTF-8"

    @property
    def odd(self) -> tuple[str, list[int]]:
        """An encoding, and the lines in it, which are fewer than those in `encoding`."""
        if self.encoding == "UTF-8":
            return self._old or "", self._old_lines
        return "UTF-8", self._utf8_lines

    @property
    def cut_off(self) -> bool:
        """Whether a compressed file ended too early."""
        return self._packed is not None and self._packed.cut_off

    def peek(self, size: int = 1 << 16) -> bytes:
        """The first bytes, unpacked, without reading on; only before the first line."""
        return self._head[:size]

    def _open(self, path: str | Path) -> io.BufferedReader:
        try:
            raw = sys.stdin.buffer if str(path) == "-" else open(path, "rb", buffering=BLOCK)
            if raw.peek(2)[:2] == GZIP:
                self._packed = _Unpacked(raw)
                raw = io.BufferedReader(self._packed, BLOCK)
            self._head = raw.peek(BLOCK)
        except OSError as error:
            raise UserError(f"can't read {self.name}: {_reason(error)}") from None
        head = self._head
        what = next((what for magic, what in MAGIC.items() if head.startswith(magic)), None)
        if what is not None:
            raise UserError(f"{self.name} is not text, but looks like {what}")
        self._wide = next((name for bom, name in BOMS if head.startswith(bom)), None) or _wide_without_bom(head[:4096])
        if self._wide is None and 20 * len(head[:4096].translate(None, NO_TEXT)) < 19 * len(head[:4096]):
            raise UserError(f"{self.name} is not text, but a binary file: it is full of control characters")
        if self._wide is None and head.startswith(codecs.BOM_UTF8):
            raw.read(3)
        return raw

    def _read(self) -> Iterator[tuple[int, str]]:
        number = 0
        try:
            for number, line in enumerate(self._decoded(), 1):  # noqa: B007
                if "\0" in line:
                    self.nul.append(number)
                    line = line.replace("\0", "")
                yield number, line
        except OSError as error:
            raise UserError(f"can't read {self.name} after line {number:,}: {_reason(error)}") from None
        finally:
            if self._file is not sys.stdin.buffer:
                self._file.close()

    def _decoded(self) -> Iterator[str]:
        end = "\r" if self._wide is None and b"\r" in self._head and b"\n" not in self._head else "\n"
        if self._wide or end == "\r":
            encoding = self._wide or ("utf-8" if _is_utf8(self._head) else self._older(self._head))
            with io.TextIOWrapper(self._file, encoding, errors="replace", newline=end) as file:
                while line := file.readline(self.longest):
                    yield line
            return
        number, rest = 0, b""
        while line := rest + self._file.readline(self.longest):
            number, rest = number + 1, b""
            if len(line) >= self.longest and line[-1:] != b"\n":
                if not self.in_pieces:
                    raise UserError(f"{self.name}:{number}: a line of over {LONGEST_LINE >> 20} MB is no text in lines")
                line, rest = _whole_characters(line)
            yield line.decode() if line.isascii() else self._of_bytes(line, number)

    def _of_bytes(self, line: bytes, number: int) -> str:
        try:
            text = line.decode()
            self._utf8_count += 1
            if len(self._utf8_lines) < 1000:
                self._utf8_lines.append(number)
            return text
        except UnicodeDecodeError:
            replaced = line.decode(errors="replace")
        broken = replaced.count("\ufffd")
        whole = sum(c > "\x7f" for c in replaced) - broken
        if whole >= 2 * broken or (whole >= broken and self._utf8_count):  # UTF-8 with a broken character
            self.damaged.append(number)
            return replaced
        self._old_lines.append(number)
        encoding = self._old or self._older(line + self._file.peek(BLOCK))
        text = line.decode(encoding, errors="replace")
        if "\ufffd" in text:
            self.damaged.append(number)
        return text

    def _older(self, sample: bytes) -> str:
        lines = sample.split(b"\n")[:-1] or [sample]
        self._old = judge(b"\n".join(line for line in lines if not line.isascii() and not _is_utf8(line)))
        return self._old


class _Unpacked(io.RawIOBase):
    """A gzip stream that ends where it is cut off or damaged."""

    def __init__(self, raw: io.BufferedReader):
        self.file = gzip.GzipFile(fileobj=raw)
        self.cut_off = False

    def readable(self) -> bool:
        return True

    def readinto(self, into) -> int:
        size = 0
        while size < len(into) and not self.cut_off:
            try:
                part = self.file.read1(len(into) - size)
            except (EOFError, zlib.error, gzip.BadGzipFile):
                self.cut_off = True
                break
            if not part:
                break
            into[size : size + len(part)] = part
            size += len(part)
        return size


def _wide_without_bom(head: bytes) -> str | None:
    half = len(head) // 2
    if half < 8:
        return None
    even, odd = head[0::2].count(0), head[1::2].count(0)
    if odd > 0.4 * half and even < 0.05 * half:
        return "UTF-16-LE"
    return "UTF-16-BE" if even > 0.4 * half and odd < 0.05 * half else None


def _whole_characters(data: bytes) -> tuple[bytes, bytes]:
    """(all but a character of UTF-8 that is cut at the end, its beginning)"""
    for back in range(1, 4):
        lead = data[-back]
        if lead >= 0xC0:
            whole = 2 if lead < 0xE0 else 3 if lead < 0xF0 else 4
            return (data[:-back], data[-back:]) if whole > back else (data, b"")
        if lead < 0x80:
            break
    return data, b""


def _is_utf8(data: bytes) -> bool:
    try:
        data.decode()
        return True
    except UnicodeDecodeError:
        return False


def _reason(error: Exception) -> str:
    return getattr(error, "strerror", None) or str(error) or type(error).__name__
