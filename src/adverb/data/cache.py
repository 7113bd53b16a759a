"""Decoded images on disk, so that a large set is decoded once and never has to fit into memory.

A cached set is a folder `<key>/` with the pixels (`images.u8`, raw) and `set.json` (names, labels, report). It is
written beside and renamed when complete: a killed process leaves no half set that would be read.
"""

from __future__ import annotations

import errno
import json
import os
import shutil
import socket
from pathlib import Path
from typing import Any

import numpy as np

from adverb.errors import UserError
from adverb.places import cache_folder

FORMAT = 1  # raise when decoding changes, so that older caches aren't read


def cache_root() -> Path:
    """$ADVERB_CACHE/images, else ~/.cache/adverb/images."""
    return cache_folder() / "images"


def open_cached(key: str) -> tuple[np.ndarray, dict[str, Any]] | None:
    """The pixels (uint8 [N, H, W, C], memory-mapped, read-only) and the description of a cached set, if it is there."""
    folder = cache_root() / key
    try:
        about = json.loads((folder / "set.json").read_text(encoding="utf-8"))
        shape = tuple(about["shape"])
        if (folder / "images.u8").stat().st_size != int(np.prod(shape)):
            return None
        return np.memmap(folder / "images.u8", dtype=np.uint8, mode="r", shape=shape), about
    except (OSError, ValueError, KeyError):
        return None


class CacheWriter:
    """Writes one set: `append` its images in order, then `commit` its description; `close` forgets what's incomplete.

    bytes_needed: what the pixels will take at most. Raises UserError where the disk has not that much room, or
    can't be written.
    """

    def __init__(self, key: str, bytes_needed: int):
        self.final = cache_root() / key
        self.bytes_needed = bytes_needed
        try:
            self.folder = scratch_folder(self.final)
            if shutil.disk_usage(cache_root()).free < bytes_needed:
                self.folder.rmdir()
                raise OSError(errno.ENOSPC, "full")
            self.pixels = open(self.folder / "images.u8", "wb")
        except OSError as error:
            raise self._error(error) from None

    def append(self, images: np.ndarray) -> None:
        """uint8 [n, H, W, C]. Plain writes: on a memory map, a full disk would kill the process with SIGBUS."""
        try:
            self.pixels.write(np.ascontiguousarray(images))
        except OSError as error:
            raise self._error(error) from None

    def commit(self, about: dict[str, Any]) -> None:
        """Make the set visible under its key; `about` needs `shape`, the [N, H, W, C] of what was appended."""
        try:
            self.pixels.flush()
            os.fsync(self.pixels.fileno())
            self.pixels.close()
            (self.folder / "set.json").write_text(json.dumps(about), encoding="utf-8")
            if open_cached(self.final.name) is None:  # another process may have been faster; a damaged set goes
                shutil.rmtree(self.final, ignore_errors=True)
                os.replace(self.folder, self.final)
        except OSError as error:
            raise self._error(error) from None
        finally:
            self.close()

    def close(self) -> None:
        try:
            self.pixels.close()
        except OSError:  # what was buffered doesn't fit either
            pass
        shutil.rmtree(self.folder, ignore_errors=True)

    def _error(self, error: OSError) -> UserError:
        if error.errno not in (errno.ENOSPC, errno.EDQUOT):
            where = f"the image cache {cache_root()}: {error.strerror}"
            return UserError(f"can't write {where}. Set ADVERB_CACHE to another folder")
        free = shutil.disk_usage(cache_root()).free
        return UserError(
            f"the decoded images take {self.bytes_needed / 1e9:.1f} GB, {cache_root()} has {free / 1e9:.1f} GB free. "
            "Use a smaller data.size or data.limit, or set ADVERB_CACHE to a folder on a larger disk"
        )


def scratch_folder(final: Path) -> Path:
    """A new hidden folder beside `final`, to be renamed to it when complete. What other processes of this machine left
    there when they were killed is deleted. Raises OSError."""
    final.parent.mkdir(parents=True, exist_ok=True)
    _sweep(final.parent)
    folder = final.parent / f".{final.name}.{socket.gethostname()}.{os.getpid()}"
    shutil.rmtree(folder, ignore_errors=True)
    folder.mkdir()
    return folder


def _sweep(root: Path) -> None:
    for folder in root.glob(f".*.{socket.gethostname()}.*"):
        try:
            os.kill(int(folder.name.rsplit(".", 1)[1]), 0)
        except ProcessLookupError:
            shutil.rmtree(folder, ignore_errors=True)
        except (ValueError, PermissionError):
            pass
