"""What this machine can do, measured once and remembered: matrix-multiply peaks and whether bf16 profits."""

from __future__ import annotations

import json
import os
import platform
import shutil
import time
from dataclasses import dataclass
from pathlib import Path

import torch

from adverb.errors import UserError
from adverb.places import cache_folder


@dataclass(frozen=True)
class Peaks:
    """Matrix-multiply throughput in FLOP/s, square matrices."""

    fp32: float
    bf16: float

    @property
    def bf16_profits(self) -> bool:
        """bf16 has to win clearly: autocast's casts cost a part of the gain."""
        return self.bf16 > 1.3 * self.fp32


def pick_device(wanted: str) -> torch.device:
    """`train.device` as torch names it. Raises UserError where this machine has no such device."""
    there = {"cuda": torch.cuda.is_available, "mps": torch.backends.mps.is_available}
    if wanted in there and not there[wanted]():
        raise UserError(f"train.device={wanted}: torch finds none here. train.device=auto takes what there is")
    if wanted != "auto":
        return torch.device(wanted)
    if torch.cuda.is_available():
        return torch.device("cuda", torch.cuda.current_device())
    return torch.device("mps" if torch.backends.mps.is_available() else "cpu")


def device_name(device: torch.device) -> str:
    """The device in words: a GPU's name, or the processor's and how many threads compute."""
    if device.type == "cuda":
        return torch.cuda.get_device_name(device)
    if device.type != "cpu":
        return device.type
    name = platform.processor() or platform.machine()
    try:
        lines = Path("/proc/cpuinfo").read_text().splitlines()
        name = next((line.partition(":")[2].strip() for line in lines if line.startswith("model name")), name)
    except OSError:
        pass
    threads = torch.get_num_threads()
    return f"{name}, {threads} thread{'s' * (threads != 1)}"


def has_compiler(device: torch.device) -> bool:
    """Whether torch.compile can build kernels here: a C++ compiler on the CPU, Triton on CUDA."""
    if device.type == "cuda":
        try:
            import triton  # noqa: F401
        except ImportError:
            return False
        return True
    return device.type == "cpu" and any(shutil.which(c) for c in (os.environ.get("CXX") or "g++", "clang++"))


def peaks(device: torch.device) -> Peaks:
    """The device's peaks: from the cache, or measured in about half a second and cached."""
    name = torch.cuda.get_device_name(device) if device.type == "cuda" else _processor()
    key = f"{device.type} | {name} | {torch.get_num_threads()} threads | torch {torch.__version__}"
    path = cache_folder() / "machine.json"
    try:
        known = json.loads(path.read_text())
    except (OSError, ValueError):
        known = {}
    if key not in known:
        known[key] = {"fp32": _gemm(device, torch.float32), "bf16": _gemm(device, torch.bfloat16)}
        try:
            path.parent.mkdir(parents=True, exist_ok=True)
            beside = path.with_suffix(f".{os.getpid()}")
            beside.write_text(json.dumps(known, indent=1))
            beside.replace(path)
        except OSError:
            pass  # a cache that can't be written costs half a second next time
    return Peaks(**known[key])


def _processor() -> str:
    try:
        for line in Path("/proc/cpuinfo").read_text().splitlines():
            if line.startswith("flags") and "bf16" in line:
                return f"{platform.machine()} with bf16"
    except OSError:
        pass
    return platform.processor() or platform.machine()


def _gemm(device: torch.device, dtype: torch.dtype) -> float:
    """Best of a few timings: the peak is what the machine does when nothing disturbs it."""
    n = 1024 if device.type == "cpu" else 4096
    a, b = (torch.randn(n, n, device=device).to(dtype) for _ in range(2))
    best = float("inf")
    try:
        for _ in range(8):
            start = time.perf_counter()
            a @ b
            if device.type == "cuda":
                torch.cuda.synchronize(device)
            elif device.type == "mps":
                torch.mps.synchronize()
            best = min(best, time.perf_counter() - start)
    except RuntimeError:  # a device without this dtype
        return 0.0
    return 2 * n**3 / best
