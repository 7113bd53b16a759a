"""Images from captions: a GAN whose label is what a BERT says of a caption.

A frozen BERT reads every caption once, before the training; a step then costs what one without captions does. The
generator draws from noise and a caption's features; the discriminator projects them on the image's (Miyato & Koyama
2018, eq. 3) and so judges two things, whether the image is real and whether it matches. That it must look at the
caption at all is taught by real images with the caption of another image, which count as fake (Reed et al. 2016,
"Generative adversarial text to image synthesis", §4.2). Losses, penalties and schedules are those of `gan.py`.
"""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import torch
from torch import Tensor, nn

from adverb.data.captions import UNCAPTIONED, captions_of
from adverb.data.image_set import ImageSet
from adverb.data.order import indices_of_batch
from adverb.errors import UserError
from adverb.gan.networks.common import CaptionMap, spread
from adverb.gan.probe import set_aside
from adverb.metrics.matching import match_metrics
from adverb.objectives.base import Draw
from adverb.objectives.gan import Gan
from adverb.objectives.images import Batch
from adverb.optim import ramp
from adverb.pipelines.reader import Reader
from adverb.pipelines.text_generator import TextGenerator
from adverb.schema.gan import TextToImageRecipe

ROWS, COLUMNS = 8, 8  # of the sample grid: captions, images of each
# Length of the noise on a caption's features over their own, from the start to the end (without noise 82 % of unseen
# wordings of MNIST were understood, with it 91 %; docs/text-to-image.md). It hides no caption: noise of 384 dimensions
# hardly lies along the line from one to another. As StackGAN's conditioning augmentation (Zhang et al. 2017, §3.2), but
# with a deviation that is not learnt, and grows, because noise slows the first steps down.
NOISE = (0.0, 0.5)


class TextToImage(Gan):
    headline = ("d_loss", "g_loss", "match_loss")

    def __init__(self, recipe: TextToImageRecipe, context, console):
        super().__init__(recipe, context, console)
        self.noise = 0.0  # on captions, over the length of their features
        self.data, self.held_out = set_aside(self.images.take(self.captions.rows))
        self.groups = self.captions.groups_of(self.data)  # int64 [N]
        if len(np.unique(self.groups)) < 2:
            raise UserError(f"{recipe.data.path}: too few images have a second caption to tell captions apart by")

    def read(self) -> ImageSet:
        images, spec = super().read(), self.recipe.data
        self.captions = captions_of(images, spec.held_out, spec.path, self.recipe.seed)
        self.reader = Reader.load(self.recipe.model.reader).to(self.context.device)
        self.features = torch.from_numpy(self.reader.embed(self.captions.texts))  # [T, E]
        self.deviation = spread(self.features) * self.features.shape[1] ** -0.5  # of noise as long as the features
        self.features_of = dict(zip(self.captions.texts, self.features.numpy(), strict=True))
        return images

    def make_networks(self) -> dict[str, nn.Module]:
        networks = super().make_networks()
        for network in networks.values():
            for part in network.modules():
                if isinstance(part, CaptionMap):
                    part.fit(self.features)
        return networks

    def network_config(self) -> dict[str, Any]:
        return super().network_config() | {"caption_size": self.features.shape[1]}

    # -- a training step

    def batch(self, index: int, start: int, stop: int) -> Batch:
        """Images uint8 [N, H, W, C], and of each the features of its caption and of a wrong one, float32 [N, 2, E]."""
        seed = self.recipe.seed
        rows = indices_of_batch(len(self.data), self.recipe.train.batch_size, seed, index)
        random = np.random.Generator(np.random.PCG64(np.random.SeedSequence([seed, index])))
        pairs = np.stack(self.captions.draw(self.groups[rows], self.groups, random), axis=1)  # [B, 2]
        return torch.from_numpy(self.data.batch(rows[start:stop])), self.features[pairs[start:stop]]

    def label_of(self, data: ImageSet, rows: np.ndarray) -> Tensor:
        """The features of a caption of each image, always the same one, float32 [n, E]."""
        return self.features[self.captions.first(self.captions.groups_of(data)[rows])]

    def discriminator_loss(self, batch: Batch, draw: Draw) -> tuple[Tensor, dict[str, Tensor]]:
        generator, discriminator = self.networks["generator"], self.networks["discriminator"]
        real, captions = self.real_images(batch, draw)
        captions = self.blurred(captions, draw)
        own = captions[:, 0]
        with torch.no_grad():
            fake = generator(draw.randn(self.recipe.model.latent_size), own).float()
        real.requires_grad_(self.r1 > 0)
        fake.requires_grad_(self.r2 > 0)
        judge = lambda images: discriminator(self.seen(images, draw), own).float()  # noqa: E731
        real_logits, wrong_logits = discriminator(self.seen(real, draw), captions).float().unbind(1)
        fake_logits = judge(fake)
        # Reed et al. 2016, algorithm 1, line 10: what is real and matches, against what is fake and what is wrong,
        # with equal weights there. A paired loss compares an image with its right caption and with its wrong one.
        adversarial = self.loss.discriminator(real_logits, fake_logits)
        matching = self.loss.discriminator(real_logits, wrong_logits)
        metrics = {
            "d_loss": adversarial,
            "match_loss": matching,
            "real_logit": real_logits.mean(),
            "fake_logit": fake_logits.mean(),
            "wrong_logit": wrong_logits.mean(),
        }
        loss = adversarial + self.recipe.loss.wrong_caption * matching
        loss = loss + self.penalties((real, real_logits), (fake, fake_logits), judge, draw, metrics)
        return loss, {name: value.detach() for name, value in metrics.items()}

    def generator_loss(self, batch: Batch, draw: Draw) -> tuple[Tensor, dict[str, Tensor]]:
        images, captions = batch
        return super().generator_loss((images, self.blurred(captions, draw)[:, 0]), draw)

    def blurred(self, captions: Tensor, draw: Draw) -> Tensor:
        """Features [N, 2, E] with noise: the networks are to know what lies around a caption, not only the caption."""
        return captions + self.noise * self.deviation * draw.randn(*captions.shape[1:])

    def schedule(self, progress: float, step: int) -> None:
        super().schedule(progress, step)
        self.noise = ramp(NOISE, self.burnt_in(progress))

    # -- judging and keeping

    def evaluate(self, networks: dict[str, nn.Module], folder: Path, step: int, final: bool) -> dict[str, float]:
        metrics = super().evaluate(networks, folder, step, final)
        judged = match_metrics(self._pipeline(networks), self.captions, self.images, self._judge.extractor)
        return metrics | judged

    def sheet(self, generator: TextGenerator) -> dict[str, Any]:
        """A row a caption: known ones, evenly over all of them."""
        texts = self.captions.texts
        chosen = [texts[i] for i in np.linspace(0, len(texts) - 1, min(ROWS, len(texts))).astype(int)]
        images = generator.generate(COLUMNS, seed=self.recipe.seed, text=chosen)
        return {"images": images, "columns": COLUMNS, "captions": chosen}

    def _pipeline(self, networks: dict[str, nn.Module]) -> TextGenerator:
        captions = self.captions
        labels = captions.groups if captions.made else None
        known = (captions.texts, captions.shares(), labels, self.features.mean(0).numpy())
        pipeline = TextGenerator(networks["generator"], self.saved_config(), self.reader, *known)
        pipeline.features_of = self.features_of  # nothing is read twice in a run
        return pipeline

    # -- in words

    def plan(self) -> dict[str, str]:
        captions = self.captions
        kept = f", {len(captions.unseen):,} more kept to measure on" if captions.unseen else ""
        source = "made from the labels, such as" if captions.made else "of the data, such as"
        some = captions.texts[len(captions.texts) // 2]
        without = int((captions.of_image == UNCAPTIONED).sum())
        kept += f", {without:,} images without one left out" if without else ""
        words = f"{len(captions.texts):,} {source} '{some}'{kept} · read by {self.recipe.model.reader}"
        return super().plan() | {"captions": words}
