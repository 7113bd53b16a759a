"""The networks of image GANs, and the one place that knows their names.

Every generator: `forward(latent [N, Z], label [N] int64 or None) -> images [N, C, H, W]`, float32, in about [-1, 1],
RGBA with premultiplied alpha; `.latent_map() -> [F, Z]`, the linear map that a latent goes through first.
Every discriminator: `forward(images, label or None) -> logits [N]`, float32, and `.features(images) -> [N, F]`.
Label is None exactly when the networks have no classes. Networks that draw captions take a caption's features,
float32 [N, E], as the label; their discriminators also several of each image, [N, K, E], and return [N, K].
"""

from __future__ import annotations

from collections.abc import Sequence

from torch import nn

from adverb.errors import UserError
from adverb.gan.networks.common import stage_sizes
from adverb.gan.networks.dcgan import DcganDiscriminator, DcganGenerator
from adverb.gan.networks.mlp import MlpDiscriminator, MlpGenerator
from adverb.gan.networks.residual import ResidualDiscriminator, ResidualGenerator, patched_stage_sizes

NETWORKS = ("residual", "dcgan", "mlp")

__all__ = ["NETWORKS", "build", "default_widths", "stage_sizes"]


def default_widths(network: str, image_size: tuple[int, int], patch: int = 1) -> list[int]:
    """Channels per grid, coarsest first: small enough to train on a few CPU cores.

    Finest grid 32 (residual) or 64 (dcgan) channels, doubling with every halving up to 128 or 256; mlp: one hidden
    layer of 128.
    """
    if network == "mlp":
        return [128]
    finest, most = (32, 128) if network == "residual" else (64, 256)
    grids = len(patched_stage_sizes(image_size, patch)) - (network == "dcgan")
    return [min(finest << i, most) for i in range(grids)][::-1]


def build(
    network: str,
    image_size: tuple[int, int],
    channels: int,
    latent_size: int,
    classes: int = 0,
    caption_size: int = 0,
    *,
    widths: Sequence[int] | None = None,
    spectral_norm: bool = False,
    blocks: int = 1,
    group_width: int = 16,
    expansion: int = 2,
    patch: int = 1,
    upsample: str = "transposed",
    discriminator_norm: str | None = None,
) -> tuple[nn.Module, nn.Module]:
    """(generator, discriminator), float32, freshly initialised from torch's global generator.

    network: residual, dcgan or mlp. image_size: (H, W). channels: 1, 3 or 4. classes: 0 for networks without labels.
    caption_size: E of the captions' features that stand in the labels' place, with classes=0; 0 for none.
    widths: empty for `default_widths`; both networks take the same. spectral_norm: of the discriminator.
    blocks, group_width, expansion, patch are read by residual only; upsample, discriminator_norm by dcgan only.

    Raises UserError for an unknown name, for widths that do not fit the image, for an image too small.
    """
    if network not in NETWORKS:
        raise UserError(f"There is no network {network!r}.\nChoose model.network from: {', '.join(NETWORKS)}.")
    image_size = tuple(image_size)
    widths = default_widths(network, image_size, patch) if widths is None else list(widths)
    common = {"image_size": image_size, "channels": channels, "widths": widths, "classes": classes}
    common["caption_size"] = caption_size
    if network == "mlp":
        return MlpGenerator(latent_size=latent_size, **common), MlpDiscriminator(spectral_norm=spectral_norm, **common)
    if network == "dcgan":
        return (
            DcganGenerator(latent_size=latent_size, upsample=upsample, **common),
            DcganDiscriminator(norm=discriminator_norm, spectral_norm=spectral_norm, **common),
        )
    common |= {"blocks": blocks, "group_width": group_width, "expansion": expansion, "patch": patch}
    return (
        ResidualGenerator(latent_size=latent_size, **common),
        ResidualDiscriminator(spectral_norm=spectral_norm, **common),
    )
