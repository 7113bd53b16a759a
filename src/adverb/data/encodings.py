"""Which encoding from before UTF-8 some bytes are in, judged by the letters they would spell."""

from __future__ import annotations

import re

# Letters outside ASCII by encoding, the frequent ones first.
WEST = "’éä“”üöàè–ßáíóñçêâîôûëïúåøæœÿã…„‘—€£°«»¿¡§´ÄÖÜÉÈÀÁÓÇÑÅØÆ•ìòùõ"
CYRILLIC = "оеаинтсрвлкмдпуяыьгзбчйхжшюцщэфъёіїє«»—–№ПСВНОКМДАИТРЕЛ"
LETTERS = {
    "cp1252": WEST,
    "cp1250": "ęąółáéőśżíčřšžćńěýůúďťňźűöüäăâîŁŚŻČŘŠŽĄĆŃÓŹ„”–’…",
    "cp1254": "ışğüçöİŞĞÇÖÜâî’“”",
    "cp1251": CYRILLIC,
    "koi8_r": CYRILLIC,
    "cp866": CYRILLIC,
    "cp1253": "αοιετσνηυρπκμλςάήίόύέώγδχθβξζφψωΑΕΗΙΚΟΠΤ«»",
    "cp1255": "יוהלאמרתבשנכםדקפעחטגצסזןךףץ",
    "cp1256": "اليمونرتبةعدسفهكقحجأشصىطخضذزثظغءإؤئآ،؟",
    "mac_roman": WEST,
    "cp850": WEST,
}
FINAL = "ךםןףץ"
LATIN = ("cp1252", "cp1250", "cp1254", "mac_roman", "cp850")
PAIRS = ("euc_kr", "shift_jis", "euc_jp", "gb18030", "big5")  # two bytes a character
COMMON = {"gb18030": range(0xB0, 0xD8), "big5": range(0xA4, 0xC7)}  # first bytes of the frequent ideographs

# A word of letters outside ASCII alone: the rule in Greek, hardly ever seen in the languages of LATIN.
ALONE = re.compile(r"(?<![^\W\d_])[^\W\d_a-zA-Z]{2,}(?![^\W\d_])")
# Letters outside ASCII beside some of ASCII: the other way round.
MIXED = re.compile(r"(?<=[a-zA-Z])[^\W\d_a-zA-Z]+|[^\W\d_a-zA-Z]+(?=[a-zA-Z])")


def judge(sample: bytes) -> str:
    """The most plausible encoding, as Python names it. sample: lines that are not UTF-8."""
    sample = sample[: 1 << 16]
    scores = {name: _share_of(sample, name, letters) for name, letters in LETTERS.items()}
    scores |= {name: _share_of_pairs(sample, name) for name in PAIRS}
    best = max(scores, key=scores.__getitem__)
    return best if scores[best] > scores["cp1252"] + 0.02 else "cp1252"


def _share_of(sample: bytes, encoding: str, letters: str) -> float:
    """How many of the characters outside ASCII are letters the encoding was made for, and stand where they may; the
    rare ones count a little less."""
    text = sample.decode(encoding, errors="replace")
    spread = 0.0 if encoding == "cp1255" else 0.4  # what is Hebrew shows by where its letters stand
    worth = {letter: 1 - spread * rank / len(letters) for rank, letter in enumerate(letters)}
    places = [i for i, c in enumerate(text) if c > "\x7f"]
    found = sum(worth.get(text[i], 0.0) for i in places if _may_stand(text, i))
    found -= sum(len(word) for word in (ALONE if encoding in LATIN else MIXED).findall(text))
    return found / max(1, len(places))


def _may_stand(text: str, i: int) -> bool:
    """Not so a capital after a small letter, and the final form of a Hebrew letter before another letter."""
    capital = text[i].isupper() and text[i - 1 : i].islower()
    return not capital and not (text[i] in FINAL and text[i + 1 : i + 2].isalpha())


def _share_of_pairs(sample: bytes, encoding: str) -> float:
    """The same for two bytes a character: Hangul, frequent ideographs, or kana with ideographs between them."""
    characters = [c for c in sample.decode(encoding, errors="replace") if c > "\x7f"]
    ideographs = [c for c in characters if "\u4e00" <= c <= "\u9fff"]
    marks = sum(c in "、。，「」！？" for c in characters)
    if encoding == "euc_kr":
        found = sum("\uac00" <= c <= "\ud7a3" for c in characters)
    elif encoding in COMMON:
        found = marks + sum(c.encode(encoding)[0] in COMMON[encoding] for c in ideographs)
    else:
        kana = sum("\u3040" <= c <= "\u30ff" for c in characters)
        found = marks + kana + min(len(ideographs), 4 * kana)
    return found / max(1, len(characters))
