"""Where adverb keeps what it can compute again."""

from __future__ import annotations

import os
from pathlib import Path


def cache_folder() -> Path:
    """$ADVERB_CACHE, or ~/.cache/adverb."""
    return Path(os.environ.get("ADVERB_CACHE") or "~/.cache/adverb").expanduser()
