"""Large sets: decoded once into a cache, memory-mapped, never half-written."""

from __future__ import annotations

import errno
import os
import subprocess
import sys

import numpy as np
import pytest

from adverb.data import cache, images
from adverb.data.image_set import Rows
from adverb.data.images import load_images
from adverb.errors import UserError


@pytest.fixture(autouse=True)
def everything_is_large(monkeypatch):
    monkeypatch.setattr(images, "IN_MEMORY", 100)


def decode_forbidden(monkeypatch):
    def never(*_):
        raise AssertionError("decoded again")

    monkeypatch.setattr(images, "decode", never)


def test_second_load_reads_the_cache_and_is_equal(folder, monkeypatch):
    root = folder(30, names="{label}/{i}")
    (root / "0" / "bad.png").write_bytes(b"")
    first = load_images(root)
    assert isinstance(first.images, np.memmap)
    decode_forbidden(monkeypatch)
    second = load_images(root)
    assert isinstance(second.images, np.memmap) and np.array_equal(first.images, second.images)
    assert second.report == first.report and second.names == first.names and second.label_names == first.label_names
    assert np.array_equal(second.labels, first.labels) and second.fingerprint() == first.fingerprint()
    monkeypatch.setattr(images, "IN_MEMORY", 10**9)
    in_memory = load_images(root)
    assert not isinstance(in_memory.images, np.memmap) and in_memory.fingerprint() == first.fingerprint()


def test_changed_files_and_settings_are_decoded_again(folder):
    root = folder(10)
    first = load_images(root)
    assert load_images(root, size=16).shape == (16, 16, 1)
    path = root / "0003.png"
    path.write_bytes((root / "0004.png").read_bytes())
    os.utime(path, (1, 1))
    assert load_images(root).fingerprint() != first.fingerprint()


def test_a_part_of_a_memory_mapped_set_stays_on_disk(folder):
    whole = load_images(folder(20))
    rest, held = whole.split(0.25)
    assert isinstance(held.images, Rows) and held.images.shape == (5, 8, 8, 1)
    expected = np.array([whole.images[whole.names.index(name)] for name in held.names])
    assert np.array_equal(np.asarray(held.images), expected)
    assert np.array_equal(held.batch([4, 0]), expected[[4, 0]])
    assert np.array_equal(held.take(np.array([2])).batch([0]), expected[[2]])


def test_slow_small_sets_are_cached_too(folder, monkeypatch):
    monkeypatch.setattr(images, "IN_MEMORY", 10**9)
    monkeypatch.setattr(images, "SLOW", -1.0)
    root = folder(10)
    first = load_images(root)
    decode_forbidden(monkeypatch)
    assert np.array_equal(load_images(root).images, first.images)


def test_a_damaged_cache_is_rebuilt(folder):
    root = folder(10)
    first = np.array(load_images(root).images)
    (stored,) = cache.cache_root().iterdir()
    with open(stored / "images.u8", "r+b") as file:
        file.truncate(100)
    assert np.array_equal(load_images(root).images, first)
    with open(stored / "images.u8", "ab") as file:
        file.write(b"more")
    assert np.array_equal(load_images(root).images, first) and (stored / "images.u8").stat().st_size == 640
    (stored / "set.json").write_text("{")
    assert np.array_equal(load_images(root).images, first)


def test_a_full_disk_is_said_and_leaves_nothing(folder, monkeypatch):
    root = folder(10)
    usage = cache.shutil.disk_usage(".")
    monkeypatch.setattr(cache.shutil, "disk_usage", lambda _: usage._replace(free=10))
    with pytest.raises(UserError, match="ADVERB_CACHE"):
        load_images(root)
    monkeypatch.setattr(cache.shutil, "disk_usage", lambda _: usage)

    def full(self, pixels):
        raise self._error(OSError(errno.ENOSPC, "No space left on device"))

    monkeypatch.setattr(cache.CacheWriter, "append", full)
    with pytest.raises(UserError, match="data.size or data.limit"):
        load_images(root)
    assert list(cache.cache_root().iterdir()) == []


def test_a_killed_process_leaves_no_half_set(folder, own_cache):
    root = folder(40)
    script = (
        "import sys, time; from adverb.data import images, cache\n"
        "images.IN_MEMORY = 1\n"
        "append = cache.CacheWriter.append\n"
        "def slow(self, pixels):\n"
        "    append(self, pixels); self.pixels.flush(); print('wrote', flush=True); time.sleep(30)\n"
        "cache.CacheWriter.append = slow\n"
        "images.load_images(sys.argv[1])\n"
    )
    process = subprocess.Popen([sys.executable, "-c", script, str(root)], stdout=subprocess.PIPE, env=dict(os.environ))
    assert process.stdout.readline() == b"wrote\n"
    process.kill()
    process.wait()
    process.stdout.close()
    (left,) = cache.cache_root().iterdir()
    assert left.name.startswith(".")
    assert len(load_images(root)) == 40
    (stored,) = cache.cache_root().iterdir()  # what the killed one left is swept
    assert not stored.name.startswith(".")


def test_progress_reaches_the_end(folder):
    seen = []
    load_images(folder(300), progress=lambda done, total: seen.append((done, total)))
    assert seen == [(256, 300), (300, 300)]
