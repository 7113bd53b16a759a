"""A small classifier of the user's own images, trained in seconds: the best judge there is for labelled data.

Features that tell the classes of a data set apart are features of that data set; an ImageNet network sees nothing
of note in 28×28 digits. A trained classifier is kept in the cache folder, under a fingerprint of the data and of this
file, so that the runs on one data set share one judge and their scores compare.
"""

from __future__ import annotations

import hashlib
import os
import tempfile
import warnings
from pathlib import Path

import numpy as np
import torch
from safetensors import SafetensorError, safe_open
from safetensors.torch import save_file
from torch import Tensor, nn
from torch.nn import functional as F

from adverb.metrics.images import as_float
from adverb.places import cache_folder

FEATURES = 96
MOST_IMAGES = 30_000  # trained on at most; accuracy is past the point where more images pay for their time
UPDATES = 600  # about: few epochs of many images, many epochs of few


class Classifier(nn.Module):
    """Images [N, C, H, W] in [-1, 1] to features [N, 96]; `head` takes those to logits [N, classes].

    Large images enter through a strided stem, so that the cost is that of a 32×32 image at any size.
    """

    def __init__(self, channels: int, height: int, width: int, classes: int):
        super().__init__()
        self.shape = (channels, height, width)
        side = min(height, width)
        stride = max(1, round(max(height, width) / 32))
        kernel = 3 if stride == 1 else 2 * stride - 1
        layers, inputs, side = [], channels, side // stride
        for outputs in (24, 48, 96, 96):
            layers.append(nn.Conv2d(inputs, outputs, kernel, stride, kernel // 2, bias=False))
            if side >= 6:
                layers.append(nn.MaxPool2d(2))  # before the norm, which then costs a quarter
                side //= 2
            layers += [nn.BatchNorm2d(outputs), nn.ReLU(inplace=True)]
            inputs, kernel, stride = outputs, 3, 1
        self.layers = nn.Sequential(*layers, nn.AdaptiveAvgPool2d(2), nn.Flatten())  # [N, 96 · 2 · 2]
        self.features = nn.Sequential(nn.Linear(4 * inputs, FEATURES, bias=False), nn.BatchNorm1d(FEATURES), nn.ReLU())
        self.head = nn.Linear(FEATURES, classes)

    def forward(self, images: Tensor) -> Tensor:
        return self.features(self.layers(images))


def trained_classifier(images: np.ndarray, labels: np.ndarray) -> tuple[Classifier, float]:
    """The classifier of `images` (uint8 [N, H, W, C]) with `labels` (integers [N] from 0), and its held-out accuracy.

    Read from the cache ($ADVERB_CACHE, or ~/.cache/adverb) if the same data was seen before, else trained on the CPU.
    """
    channels, classes = images.shape[3], int(labels.max()) + 1
    path = cache_folder() / f"classifier-{fingerprint(images, labels)}.safetensors"
    network = Classifier(channels, *images.shape[1:3], classes)
    try:
        with safe_open(path, framework="pt") as file:
            network.load_state_dict({name: file.get_tensor(name) for name in file.keys()})
            return network.eval(), float(file.metadata()["accuracy"])
    except (OSError, SafetensorError, RuntimeError, KeyError, TypeError):
        pass  # not there, or not whole: train it
    network, accuracy = train_classifier(images, labels)
    try:
        _write(network, accuracy, path)
    except OSError as error:
        warnings.warn(f"The classifier that judges images could not be kept in {path.parent}: {error}", stacklevel=2)
    return network, accuracy


def train_classifier(images: np.ndarray, labels: np.ndarray, seed: int = 0) -> tuple[Classifier, float]:
    """Train from scratch: shapes as in `trained_classifier`; returns the network in eval mode and held-out accuracy.

    AdamW, one cycle of the learning rate (Smith & Topin 2018), label smoothing 0.05, shifts by up to a tenth.
    """
    shuffle = np.random.Generator(np.random.PCG64(seed))
    order = shuffle.permutation(len(images))
    held_out, train = np.split(order[: MOST_IMAGES + 5000], [min(5000, len(order) // 6)])
    classes = int(labels.max()) + 1
    targets = torch.from_numpy(np.asarray(labels, dtype=np.int64))
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(seed)
        network = Classifier(images.shape[3], *images.shape[1:3], classes).to(memory_format=torch.channels_last)
    batch = 32 if len(train) < 5000 else 128
    epochs = max(3, min(30, round(UPDATES * batch / len(train))))
    total = epochs * (len(train) // batch)
    optimizer = torch.optim.AdamW(network.parameters(), weight_decay=1e-2)
    cycle = torch.optim.lr_scheduler.OneCycleLR(optimizer, max_lr=6e-3, total_steps=total, pct_start=0.25)
    network.train()
    with torch.enable_grad():
        for _ in range(epochs):
            order = shuffle.permutation(train)
            for start in range(0, len(order) - batch + 1, batch):
                rows = order[start : start + batch]
                logits = network.head(network(_shift(as_float(images[rows]), shuffle)))
                loss = F.cross_entropy(logits, targets[rows], label_smoothing=0.05)
                optimizer.zero_grad()
                loss.backward()
                optimizer.step()
                cycle.step()
    network.eval().requires_grad_(False)
    right = sum(
        (network.head(network(as_float(images[rows]))).argmax(1) == targets[rows]).sum().item()
        for rows in np.array_split(held_out, max(1, len(held_out) // 500))
    )
    return network, right / len(held_out)


def _shift(images: Tensor, shuffle: np.random.Generator) -> Tensor:
    """Move a batch [B, C, H, W], each quarter of it by its own amount, up to a tenth of its size; edges repeat."""
    height, width = images.shape[2:]
    most_down, most_right = max(1, height // 10), max(1, width // 10)
    padded = F.pad(images, (most_right, most_right, most_down, most_down), mode="replicate")
    moved = []
    for part in padded.chunk(4):
        down, right = shuffle.integers(2 * most_down + 1), shuffle.integers(2 * most_right + 1)
        moved.append(part[:, :, down : down + height, right : right + width])
    return torch.cat(moved).contiguous(memory_format=torch.channels_last)


def fingerprint(images: np.ndarray, labels: np.ndarray) -> str:
    """Changes with the data (shape, all labels, up to 512 images evenly spread) and with the code of this file."""
    digest = hashlib.blake2b(Path(__file__).read_bytes(), digest_size=10)
    digest.update(repr((images.shape, str(images.dtype))).encode())
    digest.update(np.ascontiguousarray(labels, dtype=np.int64).tobytes())
    for row in np.linspace(0, len(images) - 1, min(512, len(images))).astype(int):
        digest.update(np.ascontiguousarray(images[row]).tobytes())
    return digest.hexdigest()


def _write(network: Classifier, accuracy: float, path: Path) -> None:
    """Whole or not at all: written beside, then renamed."""
    path.parent.mkdir(parents=True, exist_ok=True)
    handle, beside = tempfile.mkstemp(dir=path.parent, prefix=path.stem, suffix=".tmp")
    os.close(handle)
    try:
        weights = {name: value.contiguous() for name, value in network.state_dict().items()}
        save_file(weights, beside, metadata={"accuracy": repr(accuracy)})
        with open(beside, "rb") as file:
            os.fsync(file.fileno())
        os.replace(beside, path)
    finally:
        Path(beside).unlink(missing_ok=True)
