"""`make demo`, the first command of README: from the words of the command line to what it leaves behind."""

from __future__ import annotations

from doc_files import small_encoder
from doc_shell import ROOT, Shell
from PIL import Image

from adverb.demo import SHADES


def test_the_demo_makes_reads_and_draws_what_it_is_told(tmp_path, minilm, small_recipes, monkeypatch):
    monkeypatch.setenv("COLUMNS", "120")
    small_encoder(minilm, tmp_path / "all-MiniLM-L6-v2")
    with Shell(tmp_path) as shell:
        words = ["demo", "--minutes", "0.02", "--text", "a seven"]
        status, said, wrong = shell.run("adverb", words, tmp_path)
    assert status == 0, said + wrong
    runs = tmp_path / "runs"
    assert Image.open(runs / "image-gan-0001" / "walk.gif").n_frames > 1
    assert (runs / "image-gan-0001" / "generated" / "grid.png").is_file()
    assert said.count("probabilities") == 3  # an answer to each of its questions
    assert "please write a three" not in said
    drawn = said.partition("\na seven\n")[2].splitlines()[:8]  # four digits of 8 × 8 pixels, each two characters
    assert [len(line) for line in drawn] == 8 * [4 * 2 * 8] and set().union(*drawn) <= set(SHADES)
    assert (runs / "text-to-image-0001" / "captions.png").is_file()


def test_make_demo_is_the_demo():
    with Shell(ROOT) as shell:
        status, said, _ = shell.run("make", ["demo"], ROOT)
    assert status == 0 and "adverb demo\n" in said
