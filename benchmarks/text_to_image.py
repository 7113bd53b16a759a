"""Do images match their captions? The recipe text-to-image on digits, MNIST or emoji, and without its parts.

    python benchmarks/text_to_image.py digits --steps 3000
    python benchmarks/text_to_image.py ../shared/data/mnist --minutes 8 --size 28
    python benchmarks/text_to_image.py ../shared/data/emoji --minutes 5 --size 24 --channels 3
    python benchmarks/text_to_image.py digits --steps 3000 --set loss.wrong_caption=0

Labelled images: captions are made of the labels, and a classifier trained on the labels says what the generated
images show, for the wordings that training used and for those it has never seen. Images with captions of their own: a
tenth of the captions is kept from training with its images, and an image generated for such a caption counts as right
when the image of that caption is among the k nearest of all that were kept, which guessing would bring about in
`chance` of the cases. Then the same with captions stronger than they are (`adverb generate --strength`).
"""

from __future__ import annotations

import argparse
import tempfile
from pathlib import Path

import numpy as np
import torch

import adverb
from adverb import recipe as recipes
from adverb.data.captions import captions_of
from adverb.data.images import load_images
from adverb.gan.networks.common import spread
from adverb.metrics.judge import Judge
from adverb.metrics.matching import AT, match_metrics
from adverb.objectives.text_to_image import NOISE

SAMPLES = 2000  # of known captions
EACH = 20  # images of every unseen caption, for the table of wordings
STRENGTHS = (1.0, 1.25, 1.5, 2.0)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("data", nargs="?", default="digits")
    parser.add_argument("--minutes", type=float)
    parser.add_argument("--steps", type=int)
    parser.add_argument("--size", type=int)
    parser.add_argument("--channels", type=int)
    parser.add_argument("--set", nargs="*", default=[], metavar="KEY=VALUE", help="other values for the recipe")
    parser.add_argument("--out", type=Path, help="the run folder")
    options = parser.parse_args()
    budget = {"train.steps": options.steps} if options.steps else {"train.minutes": options.minutes or 2}
    run = adverb.train(
        "text-to-image",
        data=options.data,
        out=options.out or Path(tempfile.mkdtemp()) / "run",
        quiet=False,
        **{"data.size": options.size, "data.channels": options.channels, "train.evaluations": 2},
        **budget,
        **recipes.parse_overrides(options.set),
    )
    model, spec = adverb.load(run.path), run.recipe()
    images = load_images(options.data, size=options.size, channels=options.channels)
    captions = captions_of(images, spec["data"]["held_out"], options.data, spec["seed"])
    judge = Judge(images, spec["evaluate"]["features"], SAMPLES)
    metrics = judge(model) | match_metrics(model, captions, images, judge.extractor)
    last = run.metrics()[-1]
    print(f"{options.data}, {last['step']:,} steps in {last['seconds'] / 60:.1f} minutes, judged by {judge.name}")
    for name in ("frechet", "precision", "recall", "coverage"):
        print(f"{name:10s} {metrics[name]:6.3f}, floor {metrics[f'{name}_floor']:6.3f}")
    strengths(model, captions, images, judge)
    if not captions.made:
        for k in AT:
            print(f"retrieved among {k:2d}: {metrics[f'recall_{k}']:6.1%}, chance {metrics[f'recall_{k}_floor']:6.1%}")
        return
    print(f"shows the class of its caption, known wordings   {metrics['label_agreement']:6.1%}")
    print(f"shows the class of its caption, unseen wordings  {metrics['unseen_agreement']:6.1%}")
    for name, share in named_by_embeddings(captions, model).items():
        print(f"  unseen wordings named by {name:21s} {share:6.1%}")
    latents = model.latents(EACH * len(captions.unseen), seed=3)
    made = model.draw(latents, model.read(np.repeat(captions.unseen, EACH).tolist()))
    seen = judge.extractor.classify(made).argmax(1).numpy().reshape(-1, EACH)
    right = (seen == captions.unseen_groups[:, None]).mean(1)  # of each unseen caption
    reckoned = np.array([" after " in text or " before " in text for text in captions.unseen])
    for kind, chosen in (("such as", ~reckoned), ("reckoned, such as", reckoned)):
        if chosen.any():
            example = captions.unseen[int(np.flatnonzero(chosen)[-1])]
            print(f"  {f'{kind} {example!r}':47s} {right[chosen].mean():6.1%}")


def strengths(model, captions, images, judge: Judge) -> None:
    shown = ("label_agreement", "unseen_agreement") if captions.made else tuple(f"recall_{k}" for k in AT)
    print("strength  " + "".join(f"{name:>18s}" for name in (*shown, "frechet", "precision", "recall")))
    for strength in STRENGTHS:
        told = model.with_strength(strength)
        found = judge(told) | match_metrics(told, captions, images, judge.extractor)
        shares = "".join(f"{found[name]:18.1%}" for name in shown)
        print(f"{strength:<10g}{shares}{found['frechet']:18.3f}{found['precision']:18.3f}{found['recall']:18.3f}")


def named_by_embeddings(captions, model) -> dict[str, float]:
    """How many unseen captions a classifier of the known ones' embeddings names right: what there is to be learned."""
    from sklearn.linear_model import LogisticRegression
    from sklearn.neural_network import MLPClassifier

    known, unseen = (model.read(texts) * 384**0.5 for texts in (captions.texts, captions.unseen))
    blurred = np.repeat(known, 20, axis=0)
    deviation = NOISE[1] * float(spread(torch.from_numpy(known))) * 384**-0.5  # as in training, at its end
    blurred += np.random.default_rng(0).normal(scale=deviation, size=blurred.shape)
    layer = MLPClassifier((64,), alpha=1e-3, max_iter=400, random_state=0)
    found = {}
    for name, classifier, taught in (
        ("a linear classifier", LogisticRegression(max_iter=3000), known),
        ("one hidden layer", layer, known),
        ("the same, with noise", layer, blurred),
    ):
        classifier.fit(taught, np.repeat(captions.groups, len(taught) // len(known)))
        found[name] = float(classifier.score(unseen, captions.unseen_groups))
    return found


if __name__ == "__main__":
    main()
