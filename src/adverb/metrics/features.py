"""Features in which images are compared. A distance between images means what its features mean, so each extractor
says in words what it is."""

from __future__ import annotations

import math
from pathlib import Path

import numpy as np
import torch
from torch import Tensor, nn
from torch.nn import functional as F

from adverb.errors import UserError
from adverb.metrics.images import Images, as_float, as_rgb

IMAGES_PER_CLASS = 50  # on average, before a classifier is worth training


class FeatureExtractor:
    """Images to features, in batches, without gradients, the same every time.

    kind: `classifier`, `random`, `inception` or `dinov2`.
    name: what it is, in words, to be shown beside every number taken with it.
    """

    def __init__(self, kind: str, name: str, network: nn.Module, batch: int = 256, rgb: bool = False):
        self.kind, self.name, self.batch, self.rgb = kind, name, batch, rgb
        self.network = network.eval().requires_grad_(False).to(memory_format=torch.channels_last)
        self.device = torch.device("cpu")

    def to(self, device: torch.device | str) -> FeatureExtractor:
        """Run on `device` from now on. Features always come back on the CPU."""
        self.device = torch.device(device)
        self.network.to(self.device)
        return self

    def __call__(self, images: Images) -> Tensor:
        """Images (uint8 array [N, H, W, C], or float tensor [N, C, H, W] in [-1, 1]) to float32 [N, D], on the CPU."""
        return self._in_batches(images, self.network)

    def classify(self, images: Images) -> Tensor:
        """Logits, float32 [N, classes], on the CPU. UserError if this is not a classifier of the data's own labels."""
        if self.kind != "classifier":
            raise UserError(f"This needs a classifier of the data's labels; the judge is a {self.name}.")
        return self._in_batches(images, lambda x: self.network.head(self.network(x)))

    @torch.no_grad()
    def _in_batches(self, images: Images, function) -> Tensor:
        expected = getattr(self.network, "shape", None)
        outputs = []
        for start in range(0, len(images), self.batch):
            x = as_float(images[start : start + self.batch])
            if expected is not None and tuple(x.shape[1:]) != expected:
                made, wanted = ("×".join(map(str, (h, w, c))) for c, h, w in (x.shape[1:], expected))
                raise UserError(f"The judge was made for images of {wanted} (height, width, channels), not {made}.")
            x = as_rgb(x) if self.rgb else x
            x = x.to(self.device).contiguous(memory_format=torch.channels_last)
            outputs.append(function(x).float().cpu())
        return torch.cat(outputs)


class RandomFeatures(nn.Module):
    """A convolutional network that was never trained: images [N, C, H, W] to [N, levels · 64].

    Random filters are a fair judge of small images (Naeem et al. 2020, section 3.4): each level of a pyramid tells
    how much of which local pattern is where, from strokes and noise at full size to the layout at 4×4.
    Filters sum to 0 so that edges, not brightness, decide; brightness enters through one plain average.
    """

    def __init__(self, channels: int, height: int, width: int, seed: int = 0):
        super().__init__()
        self.shape = (channels, height, width)
        generator = torch.Generator().manual_seed(seed)
        levels = max(1, min(4, int(math.log2(max(4, min(height, width)))) - 1))
        inputs = channels
        for level in range(levels):
            outputs = 32 if level == 0 else 64
            filters = torch.randn(outputs, inputs, 3, 3, generator=generator)
            filters -= filters.mean(dim=(2, 3), keepdim=True)
            self.register_buffer(f"filters{level}", filters / filters.flatten(1).norm(dim=1)[:, None, None, None])
            mix = torch.randn(outputs * 16, 64, generator=generator) / math.sqrt(outputs * 16)
            self.register_buffer(f"mix{level}", mix)
            inputs = outputs
        self.levels = levels

    def forward(self, x: Tensor) -> Tensor:
        features = [F.adaptive_avg_pool2d(x, 4).flatten(1)]  # [N, C · 16]
        for level in range(self.levels):
            x = F.pad(x, (1, 1, 1, 1), mode="replicate")
            x = F.leaky_relu(F.conv2d(x, getattr(self, f"filters{level}")), 0.2) * 2
            features.append(F.adaptive_avg_pool2d(x, 4).flatten(1) @ getattr(self, f"mix{level}"))  # [N, 64]
            x = F.avg_pool2d(x, 2)
        return torch.cat(features, dim=1)


def extractor_for(spec: str, images: np.ndarray, labels: np.ndarray | None = None) -> FeatureExtractor:
    """The judge for a data set: `images` uint8 [N, H, W, C], `labels` integers [N] from 0, or None.

    spec: `auto` (a classifier where there are at least two classes with fifty images each on average, else random
    features), `classifier`, `random`, `inception:FILE`, or `dinov2:FOLDER` or `dinov2:HUB_NAME`.
    Raises UserError for an unknown spec, labels that cannot be used, and files that are missing or wrong.
    """
    kind, _, where = spec.partition(":")
    if kind == "auto":
        kind = "classifier" if _too_few(labels) is None else "random"
    if kind == "classifier":
        from adverb.metrics.classifier import trained_classifier

        if reason := _too_few(labels):
            raise UserError(f"metrics: a classifier cannot be trained: {reason}. Use `random`, or label the images.")
        network, accuracy = trained_classifier(images, np.asarray(labels))
        return FeatureExtractor(
            "classifier", f"classifier trained on the labelled data (held-out accuracy {accuracy:.1%})", network
        )
    if kind == "random":
        _, height, width, channels = images.shape
        return FeatureExtractor(
            "random",
            "seeded random-weight network: only good for comparing runs on the same data",
            RandomFeatures(channels, height, width),
        )
    if kind == "inception" and where:
        from adverb.metrics.inception import load_inception

        return FeatureExtractor("inception", f"Inception-v3 from {where}", load_inception(where), batch=50, rgb=True)
    if kind == "dinov2" and where:
        from adverb.metrics.dinov2 import load_dinov2

        return FeatureExtractor("dinov2", f"DINOv2 from {where}", load_dinov2(_folder(where)), batch=50, rgb=True)
    raise UserError(
        f"Unknown image features {spec!r}.\n"
        "Use auto, classifier, random, inception:FILE, or dinov2:FOLDER (or a hub name such as "
        "dinov2:facebook/dinov2-small)."
    )


def _too_few(labels: np.ndarray | None) -> str | None:
    """Why no classifier can be trained on these labels, or None if one can."""
    if labels is None:
        return "the images have no labels"
    classes = len(np.unique(labels))
    if classes < 2:
        return "there is only one class"
    if len(labels) < IMAGES_PER_CLASS * classes:
        return f"{len(labels)} images of {classes} classes are fewer than {IMAGES_PER_CLASS} for each"
    return None


def _folder(where: str) -> Path:
    """A local folder as it is; a hub name by way of the hub's cache."""
    if Path(where).is_dir():
        return Path(where)
    if where.count("/") != 1 or where.startswith((".", "/", "~")):
        raise UserError(f"No folder {where}: give one with a Dinov2Model saved by transformers, or a hub name.")
    from huggingface_hub import snapshot_download

    try:
        return Path(snapshot_download(where, allow_patterns=["config.json", "model.safetensors"]))
    except Exception as error:
        reason = str(error).splitlines()[0] if str(error) else type(error).__name__
        raise UserError(f"{where} is neither a folder nor a model that could be had from the hub: {reason}") from error
