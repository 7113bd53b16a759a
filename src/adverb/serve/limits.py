"""How much the server takes on, and how it says no."""

from __future__ import annotations

from dataclasses import dataclass

TEXTS = 256  # of a request
CHARACTERS = 100_000  # of one text
WORDS = 200  # of a text to explain: each is left out once
CAPTION = 1_000  # characters of what to draw
MASKS = 16  # of a text: each but the first makes the model read it dozens of times


@dataclass(frozen=True)
class Limits:
    """Tokens are those of the model's tokenizer; an image counts as `work.IMAGE_TOKENS` of them."""

    body: int = 8 << 20  # bytes of a request, and characters that it makes a model read, with what it repeats
    batch: int = 4096  # tokens that a model gets at once; it cuts them to its own batches, sorted by length
    queue: int = 1 << 18  # tokens waiting; a request beyond that is refused, unless nothing waits
    upload: float = 10.0  # seconds for a body to arrive
    answer: float = 30.0  # seconds from there to the answer


class Refused(Exception):
    """An answer that is an error: a status, one plain sentence, headers."""

    def __init__(self, status: int, sentence: str, **headers: str):
        super().__init__(sentence)
        self.status, self.sentence = status, sentence
        self.headers = {name.replace("_", "-"): value for name, value in headers.items()}
