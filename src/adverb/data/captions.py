"""What images are called: the captions of a data set, or captions made from its labels in many wordings.

Some are kept from training, to measure on: where captions are made from labels, some wordings of every label; where
the data has its own, some of the captions, with their images.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from adverb.data.image_set import ImageSet
from adverb.data.order import epoch_order
from adverb.errors import UserError

NUMBERS = ("zero", "one", "two", "three", "four", "five", "six", "seven", "eight", "nine", "ten")
DIGITS = tuple(str(digit) for digit in range(10))
UNCAPTIONED = -1
FEWEST_UNSEEN = 16  # captions of the data, below which none are kept from training: they would say little

# {digit} 7, {word} seven, {a_word} a seven, {before} six, {after} eight
DIGIT_WORDINGS = (
    "{digit}",
    "{word}",
    "{a_word}",
    "{a_digit}",
    "digit {digit}",
    "the digit {word}",
    "number {digit}",
    "the number {word}",
    "a picture of {a_word}",
    "a handwritten {word}",
    "a handwritten {digit}",
    "draw {a_word}",
    "write the number {digit}",
    "please draw the digit {digit}",
    "the number after {before}",
    "the digit that follows {before}",
    "{before} plus one",
    "one more than {before}",
    "the number before {after}",
    "one less than {after}",
)
UNSEEN_DIGIT_WORDINGS = (
    "an image of {a_word}",
    "the figure {digit}",
    "please write {a_word}",
    "{a_word}, written by hand",
    "draw me the number {digit}",
    "a scan of the digit {word}",
    "the number that comes after {before}",
    "what comes right after {before}",
    "the digit just before {after}",
)
NAME_WORDINGS = ("{name}", "{a_name}", "the {name}", "a picture of {a_name}", "a photo of {a_name}", "draw {a_name}")
UNSEEN_NAME_WORDINGS = ("an image of {a_name}", "one {name}", "please paint {a_name}")


@dataclass(frozen=True)
class Captions:
    """The captions of a data set. Captions of one group mean the same: a label, or one text of the data's own.

    texts: those to train on, by ascending group. groups: int64 [T], of each text.
    unseen: those to measure on. unseen_groups: int64 [U].
    of_image: int64 [N], the group of each image of the set, UNCAPTIONED where it has no caption.
    rows: int64 [n], the images to train on, ascending: those with captions, but for the unseen ones.
    made: whether they were made from the labels; a group is then a label.
    """

    texts: list[str]
    groups: np.ndarray
    unseen: list[str]
    unseen_groups: np.ndarray
    of_image: np.ndarray
    rows: np.ndarray
    made: bool

    def draw(
        self, groups: np.ndarray, population: np.ndarray, random: np.random.Generator
    ) -> tuple[np.ndarray, np.ndarray]:
        """For images of some groups, int64 [n], a caption of its own each, and one that means something else.

        population: the groups of all images to train on, int64 [N], two different ones at least; the wrong captions
        are as frequent as there. Returns indices into `texts`, int64 [n] both.
        """
        others, same = np.empty(len(groups), dtype=np.int64), np.arange(len(groups))
        while len(same):
            others[same] = population[(random.random(len(same)) * len(population)).astype(np.int64)]
            same = np.flatnonzero(others == groups)
        return self._one_of(groups, random), self._one_of(others, random)

    def _one_of(self, groups: np.ndarray, random: np.random.Generator) -> np.ndarray:
        first, end = (np.searchsorted(self.groups, groups, side) for side in ("left", "right"))
        return first + (random.random(len(groups)) * (end - first)).astype(np.int64)

    def groups_of(self, images: ImageSet) -> np.ndarray:
        """The group of each image of some part of the set, int64 [n]."""
        if self.made:
            return images.labels
        known = dict(zip([*self.texts, *self.unseen], [*self.groups, *self.unseen_groups], strict=True))
        return np.array([known.get(_plain(caption), UNCAPTIONED) for caption in images.captions], dtype=np.int64)

    def first(self, groups: np.ndarray) -> np.ndarray:
        """The first caption of each group, indices into `texts`, int64 [n]."""
        return np.searchsorted(self.groups, groups)

    def shares(self) -> np.ndarray:
        """How often training meets each of `texts`, float64 [T], summing to 1."""
        size = int(max(self.groups.max(), self.of_image.max())) + 1
        images = np.bincount(self.of_image[self.rows], minlength=size)[self.groups]
        share = images / np.bincount(self.groups, minlength=size)[self.groups]
        return share / share.sum()


def captions_of(images: ImageSet, held_out: float, where: str, seed: int = 0) -> Captions:
    """The captions of the data, or captions made from its labels where it has none.

    held_out: share of the data's own captions kept from training with their images, where these are FEWEST_UNSEEN or
        more. where: the data, as an error names it. seed: of their choice.
    Raises UserError where there are neither captions nor labels, and where all mean the same.
    """
    if images.captions is not None and (images.labels is None or any(map(_plain, images.captions))):
        return _given(images, held_out, where, seed)
    if images.labels is None:
        raise UserError(
            f"{where} has no captions: put a metadata.jsonl or metadata.csv with file_name and text beside the images, "
            "or sort them into class folders, of which captions are made"
        )
    present = np.unique(images.labels)
    if len(present) < 2:
        only = images.label_names[present[0]]
        raise UserError(f"{where} has no captions to learn from: all images are of one class, '{only}'")
    seen, unseen = wordings([images.label_names[c] for c in present])
    return Captions(
        texts=[text for several in seen for text in several],
        groups=np.repeat(present, [len(several) for several in seen]),
        unseen=[text for several in unseen for text in several],
        unseen_groups=np.repeat(present, [len(several) for several in unseen]),
        of_image=images.labels,
        rows=np.arange(len(images)),
        made=True,
    )


def _given(images: ImageSet, held_out: float, where: str, seed: int) -> Captions:
    captions = np.array([_plain(caption) for caption in images.captions], dtype=object)  # else all are padded
    captioned = captions != ""
    of_image = np.full(len(captions), UNCAPTIONED)
    texts, of_image[captioned] = np.unique(captions[captioned], return_inverse=True)
    if len(texts) < 2:
        said = f"all images have the same caption, '{texts[0]}'" if len(texts) else "all are empty"
        raise UserError(f"{where} has no captions to learn from: {said}")
    count = round(held_out * len(texts))
    count = count if count >= FEWEST_UNSEEN else 0
    order = epoch_order(len(texts), seed, 0)
    unseen, seen = np.sort(order[:count]), np.sort(order[count:])
    return Captions(
        texts=[str(texts[i]) for i in seen],
        groups=seen,
        unseen=[str(texts[i]) for i in unseen],
        unseen_groups=unseen,
        of_image=of_image,
        rows=np.flatnonzero(captioned & ~np.isin(of_image, unseen)),
        made=False,
    )


def _plain(caption: str) -> str:
    return " ".join(caption.split())


def wordings(names: list[str]) -> tuple[list[list[str]], list[list[str]]]:
    """The captions made of each label: those to train on, and those to measure on, which no training sees.

    Digits are spelled in words and reckoned with ("the number after six"); other names are put into phrases.
    """
    if all(name in DIGITS for name in names):
        seen, unseen, values = DIGIT_WORDINGS, UNSEEN_DIGIT_WORDINGS, [_digit(int(name)) for name in names]
    else:
        plain = [_plain(name.replace("_", " ").replace("-", " ")) for name in names]
        seen, unseen = NAME_WORDINGS, UNSEEN_NAME_WORDINGS
        values = [{"name": name, "a_name": with_article(name)} for name in plain]
    return tuple([_filled(several, value) for value in values] for several in (seen, unseen))


def _digit(digit: int) -> dict[str, str]:
    values = {"digit": str(digit), "word": NUMBERS[digit], "after": NUMBERS[digit + 1]}
    if digit:
        values["before"] = NUMBERS[digit - 1]
    return values | {"a_word": with_article(values["word"]), "a_digit": with_article(values["digit"])}


def _filled(templates: tuple[str, ...], values: dict[str, str]) -> list[str]:
    """The templates whose fields there are values for: nothing comes before zero."""
    return [text.format(**values) for text in templates if "{before}" not in text or "before" in values]


def with_article(word: str) -> str:
    """ "a seven", "an eight", "an 8", "a one"."""
    vowel = word[:1].lower() in tuple("aeiou8") and not word.lower().startswith(("one", "eu", "uni", "use"))
    return f"{'an' if vowel else 'a'} {word}"
