"""From a saved generator to images, and what else can be asked of it. No training code is imported."""

from __future__ import annotations

import json
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
import torch
from torch import Tensor, nn

from adverb.data.grid import as_pixels
from adverb.errors import UserError
from adverb.pipelines.labels import EACH, labels_for
from adverb.pipelines.latents import closed_walk, normal, slerp

if TYPE_CHECKING:
    from adverb.pipelines.neighbours import Neighbours
    from adverb.pipelines.projection import Projection

KIND = "adverb-generator"
STEPS = (-3.0, -2.0, -1.0, 0.0, 1.0, 2.0, 3.0)  # along a direction, in standard deviations
ABOUT_DATA = ("label_names", "class_shares", "captions")  # in a config, and not for `build`


class Generator:
    """A generator with what it needs to draw.

    network: forward(latent [N, Z], label [N] or None) -> images [N, C, H, W] in about [-1, 1].
    config: the arguments of `adverb.gan.networks.build`, and `label_names`.
    class_shares: float [classes], how often each label occurs in the training data; None when unconditional.
    folder: where it was loaded from, if it was.
    """

    def __init__(
        self,
        network: nn.Module,
        config: dict[str, Any],
        class_shares: np.ndarray | None = None,
        folder: Path | None = None,
    ):
        self.network, self.config, self.class_shares, self.folder = network, config, class_shares, folder

    @property
    def label_names(self) -> list[str]:
        return self.config["label_names"]

    @property
    def device(self) -> torch.device:
        return next(self.network.parameters()).device

    @classmethod
    def load(cls, folder: str | Path) -> Generator:
        """Open what `save` wrote. Raises UserError where the folder holds something else."""
        network, config = load_network(folder, KIND)
        shares = config.pop("class_shares")
        return cls(network, config, None if shares is None else np.asarray(shares), Path(folder))

    def save(self, folder: str | Path) -> None:
        """model.safetensors and config.json."""
        shares = None if self.class_shares is None else [float(s) for s in self.class_shares]
        save_network(self.network, {"model_type": KIND, **self.config, "class_shares": shares}, folder)

    # -- drawing

    def latents(self, n: int, seed: int | Sequence[int] = 0, truncation: float = 1.0) -> Tensor:
        """Float32 [n, Z], see `adverb.pipelines.latents`; of several seeds one each, whatever n."""
        return normal(n, self.config["latent_size"], seed, truncation)

    def generate(
        self,
        n: int = 1,
        *,
        seed: int | Sequence[int] = 0,
        label: str | int | np.ndarray | None = None,
        truncation: float = 1.0,
        with_labels: bool = False,
    ) -> np.ndarray | tuple[np.ndarray, np.ndarray | None]:
        """n images, uint8 [n, H, W, C], the same for the same seed; of several seeds the first image of each.

        label: a class name or index, or one index per image; None draws labels as often as the training data has
            them; "each" takes all classes in turn, and one latent for all of them before the next.
        truncation: in (0, 1]; below 1, images are more typical and less varied.
        with_labels: also return int64 [n], None when unconditional.
        Raises UserError for a label the model does not know.
        """
        latents, labels = self._samples(n, seed, label, truncation)
        images = self.draw(latents, labels)
        return (images, labels) if with_labels else images

    def _samples(self, n, seed, label, truncation) -> tuple[Tensor, np.ndarray | None]:
        """Latents [n, Z] and labels int64 [n] of what `generate` draws."""
        n = n if isinstance(seed, int) else len(seed)
        labels = self.labels_for(n, seed, label)
        latents = self.latents(n, seed, truncation)
        if isinstance(label, str) and label == EACH:
            latents = latents.repeat_interleave(len(self.label_names), dim=0)[:n]
        return latents, labels

    def interpolate(
        self,
        n: int = 4,
        frames: int = 10,
        *,
        seed: int | Sequence[int] = 0,
        label: str | int | None = None,
        truncation: float = 1.0,
    ) -> np.ndarray:
        """A closed walk through n latents on the sphere, or through those of the seeds: uint8 [n * frames, H, W, C].

        frames: from one latent to the next. label: None is the most frequent class.
        """
        walk = closed_walk(self.latents(n, seed, truncation), frames)
        return self.draw(walk, self.labels_for(len(walk), 0, self._one_label(label)))

    def walk(
        self,
        first: int,
        second: int,
        frames: int,
        *,
        n: int,
        seed: int | Sequence[int] = 0,
        label: str | int | np.ndarray | None = None,
        truncation: float = 1.0,
        with_labels: bool = False,
    ) -> np.ndarray | tuple[np.ndarray, np.ndarray | None]:
        """The way from one of the images `generate(n, seed=…, …)` to another, both included: uint8 [frames, H, W, C].

        On the sphere of latents. Where the two have different labels, it changes halfway. frames: at least 2.
        """
        latent, labels = self._samples(n, seed, label, truncation)
        points = torch.cat([slerp(latent[first], latent[second], frames - 1), latent[second, None]])  # [frames, Z]
        if labels is not None:
            labels = np.where(np.arange(frames) < frames / 2, labels[first], labels[second])
        images = self.draw(points, labels)
        return (images, labels) if with_labels else images

    def directions(self, n: int = 5) -> Tensor:
        """The n directions of the latent that change images most, unit vectors, float32 [n, Z], the strongest first.

        Found without labels by closed-form factorisation (SeFa), see `adverb.pipelines.directions`.
        """
        from adverb.pipelines.directions import factorise

        return factorise(self.network.latent_map(), n)

    def traverse(
        self,
        directions: Tensor,
        steps: Sequence[float] = STEPS,
        *,
        seed: int = 0,
        label: str | int | None = None,
        truncation: float = 1.0,
        start: Projection | None = None,
    ) -> np.ndarray:
        """The first image of a seed, or a projected image, moved along directions: uint8 [n, steps, H, W, C].

        directions: [n, Z]. steps: how far, in standard deviations of the latent; 0 is the image itself.
        """
        origin = self.latents(1, seed, truncation) if start is None else start.latents[:1]
        moved = origin + torch.tensor(steps)[None, :, None] * directions[:, None]  # [n, steps, Z]
        if start is not None and start.classes is not None:
            from adverb.pipelines.projection import draw_blended

            images = draw_blended(self, moved.flatten(0, 1), start.classes[:1].expand(len(directions) * len(steps), -1))
        else:
            labels = self.labels_for(len(directions) * len(steps), 0, self._one_label(label))
            images = self.draw(moved.flatten(0, 1), labels)
        return images.reshape(*moved.shape[:2], *images.shape[1:])

    def project(
        self,
        image: str | Path | np.ndarray,
        *,
        restarts: int = 4,
        steps: int = 300,
        seed: int = 0,
        label: str | int | None = None,
    ) -> Projection:
        """The latents whose images are nearest to an image, see `adverb.pipelines.projection`.

        image: a file, brought to size and channels as training would, or uint8 [H, W, C] in the generator's own.
        restarts: descents from different latents, of which the nearest comes first. label: None searches for it too,
        as a blend of classes. Raises UserError for a file that can't be read.
        """
        from adverb.pipelines.projection import project, read_image

        target = read_image(image, tuple(self.config["image_size"]), self.config["channels"])
        return project(self, target, restarts=restarts, steps=steps, seed=seed, label=label)

    def neighbours(self, images: np.ndarray, k: int = 5, *, data: str | Path | None = None) -> Neighbours:
        """The k training images nearest to each of `images`, uint8 [n, H, W, C].

        data: where the training images are; None: where the run says. In the run's own features where those are of
        a trained network, else in an untrained one's; a class is not told from another, but a copy from an original.
        Raises UserError where the data isn't known, or is gone.
        """
        from adverb.pipelines.neighbours import find_neighbours, real_images

        found, spec = real_images(self, data)
        features = spec.evaluate.features if spec is not None else "random"
        if not features.startswith(("inception:", "dinov2:")):
            features = "random"
        return find_neighbours(images, found, k, features=features, mirrored=spec is not None and spec.data.flip)

    @torch.no_grad()
    def draw(self, latent: Tensor, labels: np.ndarray | None, batch_size: int = 256) -> np.ndarray:
        """Images of the given latents [N, Z] and labels int64 [N]: uint8 [N, H, W, C]."""
        pieces = []
        for i in range(0, len(latent), batch_size):
            label = None if labels is None else torch.from_numpy(labels[i : i + batch_size]).to(self.device)
            pieces.append(as_pixels(self.network(latent[i : i + batch_size].to(self.device), label)))
        return np.concatenate(pieces)

    def labels_for(self, n: int, seed: int | Sequence[int], label: str | int | np.ndarray | None) -> np.ndarray | None:
        """Labels of n images as `generate` takes them, int64 [n]; None when unconditional."""
        return labels_for(self.label_names, self.class_shares, n, seed, label)

    def _one_label(self, label: str | int | None) -> str | int | None:
        """The label of an image that is looked at from several sides: by default the most frequent one."""
        if label == EACH:
            raise UserError("--label each is for samples: name one class here")
        return label if label is not None or not self.label_names else int(np.argmax(self.class_shares))


def load_network(folder: str | Path, kind: str) -> tuple[nn.Module, dict[str, Any]]:
    """A generator's network, in eval mode, and its config as saved, without `model_type`, which must be `kind`."""
    from safetensors.torch import load_file

    from adverb.gan.networks import build

    folder = Path(folder)
    try:
        config = json.loads((folder / "config.json").read_text(encoding="utf-8"))
    except (OSError, ValueError):
        raise UserError(f"{folder} holds no generator: config.json is missing or damaged") from None
    if (found := config.pop("model_type", "model")) != kind:
        raise UserError(f"{folder} holds a {found}, not a generator")
    network, _ = build(**{k: v for k, v in config.items() if k not in ABOUT_DATA})
    network.load_state_dict(load_file(folder / "model.safetensors"))
    return network.to(memory_format=torch.channels_last).eval().requires_grad_(False), config


def save_network(network: nn.Module, config: dict[str, Any], folder: str | Path) -> None:
    """What `load_network` opens: model.safetensors and config.json."""
    from safetensors.torch import save_file

    folder = Path(folder)
    folder.mkdir(parents=True, exist_ok=True)
    weights = {name: value.detach().cpu().contiguous() for name, value in network.state_dict().items()}
    save_file(weights, folder / "model.safetensors", metadata={"format": "pt"})
    (folder / "config.json").write_text(json.dumps(config, indent=2, ensure_ascii=False), encoding="utf-8")
