"""Writing token by token: the probabilities are the model's, with and without kept keys and values."""

from __future__ import annotations

import itertools

import pytest
import torch

from adverb.bert.baselines import BaselineConfig, LeftToRight
from adverb.bert.sampling import Alphabet, log_probabilities, write

PAD, UNKNOWN, START, END, MASK, A, B, C = range(8)
ALPHABET = Alphabet(START, END, PAD, torch.tensor([PAD, UNKNOWN, START, MASK]))


def model(length: int = 6, seed: int = 0, dropout: float = 0.0) -> LeftToRight:
    torch.manual_seed(seed)
    config = BaselineConfig("gpt", 8, 16, 2, 2, 32, length, dropout, initializer_range=0.5)
    return LeftToRight(config).eval()


def all_texts(length: int) -> torch.Tensor:
    """Every row that can be written with up to `length` positions, int64 [N, length]."""
    rows = []
    for words in range(length - 1):
        for chosen in itertools.product((A, B, C), repeat=words):
            rows.append([START, *chosen, END, *[PAD] * (length - 2 - words)])
    return torch.tensor(rows)


def chances(one: LeftToRight, rows: torch.Tensor, temperature: float = 1.0) -> torch.Tensor:
    """The probability of each row, by whole passes over it: [N]."""
    with torch.no_grad():
        scores = ALPHABET.scores(one, one.states(rows[:, :-1])) / temperature
    log_p, targets, most = scores.log_softmax(-1), rows[:, 1:], one.config.max_position_embeddings
    total = torch.zeros(len(rows))
    for row, target in enumerate(targets.tolist()):
        for place, token in enumerate(target):
            if token == PAD or place == most - 2:  # the end at the last place is not drawn
                break
            total[row] += log_p[row, place, token]
    return total.exp()


def test_a_step_equals_a_whole_pass():
    one = model(9, dropout=0.5)
    rows = torch.randint(0, 8, (5, 9), generator=torch.Generator().manual_seed(1))
    whole, caches = one.states(rows), one.empty_caches(5, 9)
    for position in range(9):
        torch.testing.assert_close(one.step(rows[:, position], position, caches), whole[:, position])


@pytest.mark.parametrize("temperature", [1.0, 0.5])
def test_texts_are_as_frequent_as_the_model_says(temperature):
    one, rows = model(5), all_texts(5)
    expected = chances(one, rows, temperature)
    assert expected.sum() == pytest.approx(1.0, abs=1e-5)
    uniforms = torch.rand(40_000, 3, generator=torch.Generator().manual_seed(0))
    written = write(one, ALPHABET, uniforms, temperature)
    assert written.shape[1] == 5
    index = {tuple(row): i for i, row in enumerate(rows.tolist())}
    counts = torch.zeros(len(rows))
    for row in written.tolist():
        counts[index[tuple(row)]] += 1  # a row that can't be written is a KeyError
    error = (expected * (1 - expected) / 40_000).sqrt()
    assert ((counts / 40_000 - expected).abs() < 5 * error + 1e-4).all()


def test_a_row_depends_on_its_own_numbers_only():
    one, uniforms = model(12), torch.rand(64, 10, generator=torch.Generator().manual_seed(0))
    together = write(one, ALPHABET, uniforms)
    lengths = (together != PAD).sum(1)
    assert lengths.min() < lengths.max()  # some end early and are put away
    for row in range(0, 64, 7):
        alone = write(one, ALPHABET, uniforms[row : row + 1])[0]
        assert torch.equal(alone, together[row, : len(alone)]) and (together[row, len(alone) :] == PAD).all()


def test_log_probabilities_are_those_of_the_texts():
    one, rows = model(5), all_texts(5)
    chosen, drawn = log_probabilities(one, ALPHABET, rows, one.states(rows[:, :-1]), 5)
    torch.testing.assert_close(chosen.sum(1).exp(), chances(one, rows))
    assert drawn[-1].tolist() == [1, 1, 1, 0] and drawn[0].tolist() == [1, 0, 0, 0]
