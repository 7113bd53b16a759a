"""From a saved generator to images, and what else can be asked of it. No training code is imported."""

from __future__ import annotations

import json
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
import torch
from torch import nn

from adverb.errors import UserError
from adverb.pipelines import GENERATORS
from adverb.pipelines.directions import factorise
from adverb.pipelines.sampler import Sampler

if TYPE_CHECKING:
    from adverb.pipelines.projection import Projection

KIND = GENERATORS[0]
ABOUT_DATA = ("label_names", "class_shares", "captions")  # in a config, and not for `build`


class Generator(Sampler):
    """A generator with what it needs to draw.

    network: forward(latent [N, Z], label [N] or None) -> images [N, C, H, W] in about [-1, 1].
    config, class_shares, folder: see `Sampler`.
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
    def device(self) -> torch.device:
        return next(self.network.parameters()).device

    @classmethod
    def load(cls, folder: str | Path) -> Generator:
        """Open what `save` wrote. Raises UserError where the folder holds something else."""
        network, config = load_network(folder, KIND)
        shares = config.pop("class_shares", None)
        if shares is None and config["label_names"]:
            raise UserError(f"{folder}: config.json lacks class_shares: export or train it again")
        return cls(network, config, None if shares is None else np.asarray(shares), Path(folder))

    def save(self, folder: str | Path) -> None:
        """model.safetensors and config.json."""
        save_network(self.network, {"model_type": KIND, **self.saved_config()}, folder)

    def saved_config(self) -> dict[str, Any]:
        """What config.json says, but for the kind of model."""
        shares = None if self.class_shares is None else [float(share) for share in self.class_shares]
        return {**self.config, "class_shares": shares}

    @torch.no_grad()
    def images(self, latents: np.ndarray, labels: np.ndarray | None) -> np.ndarray:
        label = None if labels is None else torch.from_numpy(labels).to(self.device)
        return self.network(torch.from_numpy(latents).to(self.device), label).float().cpu().numpy()

    @property
    def all_directions(self) -> np.ndarray:
        return factorise(self.network.latent_map().detach().float().cpu().numpy())

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


def load_network(folder: str | Path, kind: str) -> tuple[nn.Module, dict[str, Any]]:
    """A generator's network, in eval mode, and its config as saved, without `model_type`, which must be `kind`.

    Raises UserError where the folder holds something else, or a part of it.
    """
    from safetensors import SafetensorError
    from safetensors.torch import load_file

    from adverb.gan.networks import build

    folder = Path(folder)
    try:
        config = json.loads((folder / "config.json").read_text(encoding="utf-8"))
    except (OSError, ValueError):
        raise UserError(f"{folder} holds no generator: config.json is missing or damaged") from None
    if (found := config.pop("model_type", "model")) != kind:
        raise UserError(f"{folder} holds a {found}, not a generator")
    try:
        network, _ = build(**{k: v for k, v in config.items() if k not in ABOUT_DATA})
        network.load_state_dict(load_file(folder / "model.safetensors"))
    except FileNotFoundError:
        raise UserError(f"{folder} holds no generator: model.safetensors is missing") from None
    except SafetensorError as error:
        raise UserError(f"{folder}: model.safetensors is damaged: {error}") from None
    except (RuntimeError, TypeError, KeyError, ValueError) as error:
        reason = str(error).strip().splitlines()[-1].strip()
        raise UserError(f"{folder}: config.json and model.safetensors are not of one generator ({reason})") from None
    return network.to(memory_format=torch.channels_last).eval().requires_grad_(False), config


def save_network(network: nn.Module, config: dict[str, Any], folder: str | Path) -> None:
    """What `load_network` opens: model.safetensors and config.json."""
    from safetensors.torch import save_file

    folder = Path(folder)
    folder.mkdir(parents=True, exist_ok=True)
    weights = {name: value.detach().cpu().contiguous() for name, value in network.state_dict().items()}
    save_file(weights, folder / "model.safetensors", metadata={"format": "pt"})
    (folder / "config.json").write_text(json.dumps(config, indent=2, ensure_ascii=False), encoding="utf-8")
