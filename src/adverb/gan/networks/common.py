"""What the networks share: the grid sizes, how a label enters, and how a discriminator ends."""

from __future__ import annotations

import torch
from torch import Tensor, nn
from torch.nn.functional import leaky_relu
from torch.nn.utils import parametrizations

from adverb.errors import UserError

LABEL_DEVIATION = 0.2  # of the label's embedding beside a latent of deviation 1
CAPTION_HIDDEN = 512  # between a caption's features and what is made of them
SLOPE = 0.2  # of every leaky ReLU, as in DCGAN, StyleGAN and R3GAN


def stage_sizes(image_size: tuple[int, int]) -> list[tuple[int, int]]:
    """The grids of a network, coarsest first and the image's own last.

    Each grid is half the next one, rounded up, for as long as its shorter side is at least 4 pixels: the coarsest
    has 4 to 6 on that side (or the image's own where it is smaller).

    >>> stage_sizes((28, 28))
    [(4, 4), (7, 7), (14, 14), (28, 28)]
    """
    sizes = [tuple(image_size)]
    while (min(sizes[0]) + 1) // 2 >= 4:
        height, width = sizes[0]
        sizes.insert(0, ((height + 1) // 2, (width + 1) // 2))
    return sizes


def check_widths(widths, grids: list[tuple[int, int]], network: str) -> list[int]:
    """The widths as a list, or a UserError that counts the grids."""
    if len(widths) != len(grids):
        words = ", ".join(f"{height}×{width}" for height, width in grids)
        raise UserError(
            f"model.widths has {len(widths)} numbers, but {network} works on {len(grids)} grids here ({words}).\n"
            f"Give {len(grids)} widths, for the coarsest grid first, or leave them out."
        )
    return list(widths)


def _check_label(label: Tensor | None, classes: int, caption_size: int) -> None:
    if (label is None) == (classes > 0 or caption_size > 0):
        asked = "not drawn by label: pass none"
        if classes or caption_size:
            asked = (
                f"drawn by label ({classes} classes): pass one" if classes else "drawn by caption: pass its features"
            )
        raise UserError(f"This network is {asked}.")


def spread(features: Tensor) -> Tensor:
    """Root mean square distance of vectors, [T, E], from their mean: a number above 0."""
    return (features - features.mean(0)).square().sum(1).mean().sqrt().clamp(min=1e-6)


class CaptionMap(nn.Module):
    """From the features of captions to what a label's embedding is elsewhere: float32 [..., E] -> [..., out_features].

    A hidden layer, because different wordings of one thing are apart in the features of a BERT, and things that are
    apart share wordings. The features are centred and brought to length 1, on average over the captions of `fit`,
    and so are the hidden activations: with long vectors, Adam's steps, which are as large for every weight, would add
    up over 384 of them (the reasoning of Karras et al. 2018, §4.1).

    deviation: of the output's numbers, at the start.
    """

    def __init__(self, caption_size: int, out_features: int, deviation: float):
        super().__init__()
        self.expand = nn.Linear(caption_size, CAPTION_HIDDEN)
        self.contract = nn.Linear(CAPTION_HIDDEN, out_features)
        nn.init.normal_(self.expand.weight, std=nn.init.calculate_gain("leaky_relu", SLOPE))
        nn.init.normal_(self.contract.weight, std=deviation)
        nn.init.zeros_(self.expand.bias)
        nn.init.zeros_(self.contract.bias)
        self.register_buffer("centre", torch.zeros(caption_size))
        self.register_buffer("length", torch.ones(()))

    def fit(self, features: Tensor) -> None:
        """Take centre and length from the captions of a data set, float32 [T, E]; saved with the weights."""
        self.centre.copy_(features.mean(0))
        self.length.copy_(spread(features))

    def forward(self, features: Tensor) -> Tensor:
        x = leaky_relu(self.expand((features - self.centre) / self.length), SLOPE)  # [..., H]
        return self.contract(x * CAPTION_HIDDEN**-0.5)


def _embedding(classes: int, caption_size: int, out_features: int, deviation: float) -> nn.Module | None:
    """What a label, int64 [N], or the features of a caption, float32 [..., E], becomes: [..., out_features]."""
    if caption_size:
        return CaptionMap(caption_size, out_features, deviation)
    if not classes:
        return None
    embedding = nn.Embedding(classes, out_features)
    nn.init.normal_(embedding.weight, std=deviation)
    return embedding


class LatentInput(nn.Module):
    """Joins the label's embedding, if there are classes, to the latent: [N, Z], [N] -> [N, out_features].

    With captions, the label is a caption's features, float32 [N, E]. Both parts have the same size; the label starts
    with a twenty-fifth of the latent's variance. A label is learned from in any case, while with an equal say it
    drowns the latent early, and the images of a class are alike for good: recall 0.40 against 0.54 on MNIST after the
    same minutes.
    """

    def __init__(self, latent_size: int, classes: int, caption_size: int = 0):
        super().__init__()
        self.classes, self.caption_size, self.latent_size = classes, caption_size, latent_size
        self.embedding = _embedding(classes, caption_size, latent_size, LABEL_DEVIATION)
        self.out_features = latent_size * (1 if self.embedding is None else 2)

    def forward(self, latent: Tensor, label: Tensor | None) -> Tensor:
        _check_label(label, self.classes, self.caption_size)
        if self.embedding is None:
            return latent
        return torch.cat([latent, self.embedding(label).to(latent.dtype)], dim=1)  # [N, 2Z]


class ProjectionHead(nn.Module):
    """Features -> one logit, [N, F] -> [N], always in float32.

    With classes, the label's embedding is projected on the features: f(x, y) = v_y · φ(x) + ψ(φ(x)), Miyato &
    Koyama 2018, eq. 3; with captions, what their features become. bfloat16 would round a logit of 10 to the nearest
    1/16, and the losses live on differences.

    Several captions of each image, [N, K, E], are judged at once, [N, K]: φ(x) is most of the work, and is the same.
    """

    def __init__(self, in_features: int, classes: int, caption_size: int = 0):
        super().__init__()
        self.classes, self.caption_size = classes, caption_size
        self.linear = nn.Linear(in_features, 1)
        nn.init.normal_(self.linear.weight, std=in_features**-0.5)
        nn.init.zeros_(self.linear.bias)
        self.embedding = _embedding(classes, caption_size, in_features, in_features**-0.5)

    def forward(self, features: Tensor, label: Tensor | None) -> Tensor:
        _check_label(label, self.classes, self.caption_size)
        with torch.autocast(features.device.type, enabled=False):
            features = features.to(self.linear.weight.dtype)
            logits = self.linear(features).squeeze(1)  # [N, 1] -> [N]
            if self.embedding is not None:
                several = label.dim() == 3
                features, logits = (features[:, None], logits[:, None]) if several else (features, logits)
                logits = logits + (self.embedding(label) * features).sum(-1)
        return logits


def leaky_init_(weight: Tensor, scale: float = 1.0, leaky: bool = True) -> None:
    """Normal with variance scale² · gain² / fan_in: the layer keeps the variance of its input.

    leaky: the input comes out of a leaky ReLU (or the image of one is wanted), gain² = 2 / (1 + slope²) (He et al.
    2015, eq. 14); the gain lives in the weights, so that the activation is a plain leaky ReLU and costs one pass.
    """
    gain = nn.init.calculate_gain("leaky_relu", SLOPE) if leaky else 1.0
    nn.init.normal_(weight, std=scale * gain * weight[0].numel() ** -0.5)


def add_spectral_norm(module: nn.Module) -> None:
    """Divide the weight of every convolution, linear and embedding in `module` by its largest singular value.

    Miyato et al. 2018: makes the discriminator Lipschitz, the usual partner of the hinge loss. One power iteration a
    forward pass in training mode; none in eval mode. A convolution's weight counts as the matrix [out, in · k · k].
    The weights must not be zero: 0 / 0.
    """
    for layer in list(module.modules()):
        if isinstance(layer, nn.Linear | nn.Conv2d | nn.Embedding):
            parametrizations.spectral_norm(layer)
