"""Learning WordPiece's vocabulary: words are counted in bounded memory, then cut into the pieces that serve best."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable, Iterator

import tokenizers
from tokenizers.trainers import WordPieceTrainer

from adverb.errors import UserError

MOST_WORDS = 5_000_000  # of training a vocabulary
LOOK_EVERY = 1 << 24  # characters: then it is time to see whether the words take much room
# As in the trainers of others: enough for alphabets, rare symbols become [UNK]. Of scripts with thousands of letters,
# each of which is a word of its own, half the vocabulary may be letters.
MOST_LETTERS = 1000


def learn_vocabulary(
    backend: tokenizers.Tokenizer, texts: Iterable[str], vocab_size: int, specials: list[str]
) -> dict[str, int]:
    """Piece -> number, `vocab_size` at most; the same ones each time from the same texts.

    backend: normalises and cuts into words; it is trained. specials: come first. Raises UserError where there is no
    text.
    """
    counts = count_words(backend, texts)
    # The trainer numbers letters in the order of a hash map, which differs from run to run and decides ties.
    # Given as tokens that exist already, they have an order.
    letters, inner = _alphabet(counts, max(MOST_LETTERS, vocab_size // 2), vocab_size - len(specials))
    if not letters:
        raise UserError("There is no text to learn a vocabulary from.")
    trainer = WordPieceTrainer(
        vocab_size=vocab_size,
        special_tokens=[*specials, *(f"##{letter}" for letter in inner)],
        initial_alphabet=letters,
        limit_alphabet=len(letters),
        show_progress=False,
    )
    backend.train_from_iterator(_repeated(counts), trainer)
    return backend.get_vocab()


def count_words(backend: tokenizers.Tokenizer, texts: Iterable[str]) -> Counter[str]:
    """How often each word was seen, as the pre-tokenizer cuts them.

    What stands between spaces is counted first and cut once: ten times faster where it repeats. In scripts without
    spaces it is a paragraph and does not, so it is cut when it takes too much room.
    """
    words: Counter[str] = Counter()
    written: Counter[str] = Counter()
    size = 0  # characters read since the last look
    for text in texts:
        written.update(text.split())
        size += len(text)
        if size >= LOOK_EVERY:
            size = 0
            if sum(map(len, written)) >= LOOK_EVERY:
                _cut(backend, written, words)
                written.clear()
                _forget_rare(words)
    _cut(backend, written, words)
    return words


def _cut(backend: tokenizers.Tokenizer, written: Counter[str], words: Counter[str]) -> None:
    for text, count in written.items():
        for word, _ in backend.pre_tokenizer.pre_tokenize_str(backend.normalizer.normalize_str(text)):
            words[word] += count


def _forget_rare(words: Counter[str]) -> None:
    """Where there are too many, leave the more frequent half at most, so that it is not soon too much again."""
    least = 1
    while len(words) > (MOST_WORDS // 2 if least > 1 else MOST_WORDS):
        least += 1
        for word in [word for word, count in words.items() if count < least]:
            del words[word]


def _alphabet(counts: Counter[str], most: int, room: int) -> tuple[list[str], list[str]]:
    """The most frequent letters, sorted; and those of them that stand inside words; `room` at most, both together."""
    frequency: Counter[str] = Counter()
    inside: set[str] = set()
    for word, count in counts.items():
        for letter in word:
            frequency[letter] += count
        inside.update(word[1:])
    kept: list[str] = []
    for letter in sorted(frequency, key=lambda letter: (-frequency[letter], letter))[:most]:
        room -= 2 if letter in inside else 1
        if room < 0:
            break
        kept.append(letter)
    kept.sort()
    return kept, [letter for letter in kept if letter in inside]


def _repeated(counts: Counter[str]) -> Iterator[str]:
    """Each word as often as it was seen, in lines of bounded length."""
    for word, count in counts.items():
        for start in range(0, count, 1000):
            yield " ".join([word] * min(1000, count - start))
