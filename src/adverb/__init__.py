"""adverb: ADVersarial nets + bERt. BERTs read, GANs make.

    run = adverb.train("image-gan", data="photos/", train={"minutes": 30})
    model = adverb.load(run.path)
    model.generate(64, seed=1)

Names are imported when they are first used, so that `import adverb` costs nothing.
"""

from __future__ import annotations

__version__ = "0.1.0"
__all__ = ["Run", "UserError", "load", "train"]

_HOMES = {
    "Run": "adverb.run",
    "UserError": "adverb.errors",
    "load": "adverb.pipelines",
    "train": "adverb.training",
}


def __getattr__(name: str):
    if name not in _HOMES:
        raise AttributeError(f"module 'adverb' has no attribute '{name}'")
    import importlib

    return getattr(importlib.import_module(_HOMES[name]), name)
