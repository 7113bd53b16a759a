"""From a saved generator to images: sampling, truncation, interpolation. No training code is imported."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import numpy as np
import torch
from torch import Tensor, nn

from adverb.errors import UserError

KIND = "adverb-generator"


class Generator:
    """A generator with what it needs to draw.

    network: forward(latent [N, Z], label [N] or None) -> images [N, C, H, W] in about [-1, 1].
    config: the arguments of `adverb.gan.networks.build`, and `label_names`.
    class_shares: float [classes], how often each label occurs in the training data; None when unconditional.
    """

    def __init__(self, network: nn.Module, config: dict[str, Any], class_shares: np.ndarray | None = None):
        self.network, self.config, self.class_shares = network, config, class_shares

    @property
    def label_names(self) -> list[str]:
        return self.config["label_names"]

    @property
    def device(self) -> torch.device:
        return next(self.network.parameters()).device

    @classmethod
    def load(cls, folder: str | Path) -> Generator:
        """Open what `save` wrote. Raises UserError where the folder holds something else."""
        from safetensors.torch import load_file

        from adverb.gan.networks import build

        folder = Path(folder)
        try:
            config = json.loads((folder / "config.json").read_text(encoding="utf-8"))
        except (OSError, ValueError):
            raise UserError(f"{folder} holds no generator: config.json is missing or damaged") from None
        if config.get("model_type") != KIND:
            raise UserError(f"{folder} holds a {config.get('model_type', 'model')}, not a generator")
        shares = config.pop("class_shares")
        network, _ = build(**{k: v for k, v in config.items() if k not in ("model_type", "label_names")})
        network.load_state_dict(load_file(folder / "model.safetensors"))
        network = network.to(memory_format=torch.channels_last).eval().requires_grad_(False)
        return cls(network, config, None if shares is None else np.asarray(shares))

    def save(self, folder: str | Path) -> None:
        """model.safetensors and config.json."""
        from safetensors.torch import save_file

        folder = Path(folder)
        folder.mkdir(parents=True, exist_ok=True)
        weights = {name: value.detach().cpu().contiguous() for name, value in self.network.state_dict().items()}
        save_file(weights, folder / "model.safetensors", metadata={"format": "pt"})
        shares = None if self.class_shares is None else [float(s) for s in self.class_shares]
        config = {"model_type": KIND, **self.config, "class_shares": shares}
        (folder / "config.json").write_text(json.dumps(config, indent=2), encoding="utf-8")

    # -- drawing

    def latents(self, n: int, seed: int, truncation: float = 1.0) -> Tensor:
        """Standard normal [n, Z]. truncation < 1 draws again what lies outside ±2·truncation: typical, less varied."""
        if not 0 < truncation <= 1:
            raise UserError(f"truncation={truncation:g}: expected a number above 0 and up to 1")
        generator = torch.Generator().manual_seed(seed)
        latent = torch.randn(n, self.config["latent_size"], generator=generator)
        if truncation < 1:
            while (outside := latent.abs() > 2 * truncation).any():
                latent[outside] = torch.randn(int(outside.sum()), generator=generator)
        return latent

    def generate(
        self,
        n: int = 1,
        *,
        seed: int = 0,
        label: str | int | np.ndarray | None = None,
        truncation: float = 1.0,
        with_labels: bool = False,
    ) -> np.ndarray | tuple[np.ndarray, np.ndarray | None]:
        """n images, uint8 [n, H, W, C]; the same for the same seed.

        label: a class name or index, or one index per image; None draws labels as often as the training data has
            them. Raises UserError for a label the model does not know.
        with_labels: also return int64 [n], None when unconditional.
        """
        labels = self._labels(n, seed, label)
        images = self.draw(self.latents(n, seed, truncation), labels)
        return (images, labels) if with_labels else images

    def interpolate(self, n: int, frames: int, *, seed: int = 0, label: str | int | None = None) -> np.ndarray:
        """A closed walk through n latents on the sphere: uint8 [n * frames, H, W, C], the last meets the first."""
        points = self.latents(n, seed)
        label = label if label is not None or not self.label_names else int(np.argmax(self.class_shares))
        walk = torch.cat([slerp(points[i], points[(i + 1) % n], frames) for i in range(n)])
        return self.draw(walk, self._labels(len(walk), seed, label))

    @torch.no_grad()
    def draw(self, latent: Tensor, labels: np.ndarray | None, batch_size: int = 256) -> np.ndarray:
        """Images of the given latents [N, Z] and labels int64 [N]: uint8 [N, H, W, C]."""
        pieces = []
        for i in range(0, len(latent), batch_size):
            label = None if labels is None else torch.from_numpy(labels[i : i + batch_size]).to(self.device)
            pieces.append(to_uint8(self.network(latent[i : i + batch_size].to(self.device), label)))
        return np.concatenate(pieces)

    def _labels(self, n: int, seed: int, label) -> np.ndarray | None:
        names = self.label_names
        if not names:
            if label is not None:
                raise UserError("this generator was trained without labels: leave --label out")
            return None
        if label is None:
            random = np.random.Generator(np.random.PCG64(seed))
            return random.choice(len(names), size=n, p=self.class_shares / self.class_shares.sum()).astype(np.int64)
        if isinstance(label, np.ndarray):
            return label.astype(np.int64)
        if str(label) in names:
            index = names.index(str(label))
        elif str(label).isdigit() and int(label) < len(names):
            index = int(label)
        else:
            import difflib

            near = difflib.get_close_matches(str(label), names, n=1)
            hint = (
                f"did you mean '{near[0]}'?" if near else f"it knows {', '.join(names[:12])}" + " …" * (len(names) > 12)
            )
            raise UserError(f"unknown label '{label}': {hint}")
        return np.full(n, index, dtype=np.int64)


def to_uint8(images: Tensor) -> np.ndarray:
    """[N, C, H, W] in [-1, 1] to uint8 [N, H, W, C]; what lies outside is clipped."""
    return ((images.float() + 1) * 127.5).round().clamp(0, 255).to(torch.uint8).permute(0, 2, 3, 1).cpu().numpy()


def slerp(a: Tensor, b: Tensor, n: int) -> Tensor:
    """n points [n, Z] on the great circle from a (included) to b (left out), radii interpolated (Shoemake 1985)."""
    t = torch.linspace(0, 1, n + 1)[:-1, None]
    radius_a, radius_b = a.norm(), b.norm()
    cosine = torch.clamp(torch.dot(a / radius_a, b / radius_b), -1, 1)
    angle = torch.arccos(cosine)
    if angle < 1e-4:
        return a + t * (b - a)
    direction = (torch.sin((1 - t) * angle) * a / radius_a + torch.sin(t * angle) * b / radius_b) / torch.sin(angle)
    return direction * (radius_a + t * (radius_b - radius_a))
