"""Every command of README and docs, run as a reader would: by bash, in a folder with real data, in the page's order.

Training is of two steps, benchmarks only take their words, and servers answer once; everything else is done.
"""

from __future__ import annotations

import ast
import json
import os
import shlex
from pathlib import Path

import pytest
from doc_files import Library, make_data
from doc_pages import LEFT_OUT, Block, Command, blocks_of, variants
from doc_shell import ROOT, Shell, known_words

PAGES = [ROOT / "README.md", *sorted((ROOT / "docs").rglob("*.md"))]
WRONG = ("error: ", '{"error":')  # a line that begins so is compared to the letter
TO_THE_LETTER = ("adverb data ", "adverb recipes")
ELSEWHERE = "../shared/data"


@pytest.fixture(scope="session")
def library(tmp_path_factory, minilm) -> Library:
    folder = tmp_path_factory.mktemp("library")
    make_data(folder, minilm)

    def train(words: list[str], where: Path) -> None:
        with Shell(where) as shell:
            code, out, err = shell.run("adverb", words, where)
        assert code == 0, out + err

    return Library(folder, train)


@pytest.mark.parametrize("page", PAGES, ids=lambda page: str(page.relative_to(ROOT)))
def test_the_commands_of_a_page(page, tmp_path, library, small_recipes, monkeypatch):
    monkeypatch.setenv("COLUMNS", "120")
    folder = tmp_path / "here"
    folder.mkdir()
    (tmp_path / "shared").symlink_to(ROOT.parent / "shared")
    library.lay_out(folder)
    if left_out := run_page(page, folder, library):
        pytest.skip(f"needs {ELSEWHERE}: {', '.join(left_out)}")


@pytest.mark.parametrize(
    "text",
    [
        "```\nadverb recipe\n```",
        "```\nadverb recipes --all\n```",
        "```\nadvreb recipes\n```",
        "```\nadverb recipes …\n```",
        "```ruby\nputs 1\n```",
        "See `adverb recipes mlp-gam`.",
        "See `adverb train … --al`.",
        "`python benchmarks/gan_speed.py --round 3 --secs 5`",
        "`python other/script.py`",
        "`pip install 'adverb[everything]'`",
        "`make everything`",
        "```\n$ adverb recipes mlp-gam\nerror: no recipe 'mlp-gam': did you mean it?\n```",
        "```\n$ adverb recipes\n mlp-gan        something else\n```",
        "```python\n1 + 1\n# [3]\n```",
    ],
)
def test_what_is_wrong_in_a_page_is_found(text, tmp_path):
    page = tmp_path / "page.md"
    page.write_text(text)
    with pytest.raises((AssertionError, ValueError)):
        run_page(page, tmp_path, Library(tmp_path, None))


def run_page(page: Path, folder: Path, library: Library) -> list[str]:
    """Run all commands of a page in a folder. Returns the places of those that need data which is not there."""
    left_out, names = [], {}
    with Shell(folder, lambda word: library.provide(page.name, word, folder)) as shell:
        for block in blocks_of(page):
            for command in block.commands:
                where = f"{page.name}:{command.line}"
                if ELSEWHERE in command.text and not (folder / ELSEWHERE).is_dir():
                    left_out.append(where)
                elif block.language == "python":
                    run_python(command.text, where, shell, names)
                else:
                    run_command(command, block, where, shell)
    return left_out


def run_command(command: Command, block: Block, where: str, shell: Shell) -> None:
    bare = len(command.text.split()) == 2 and command.text.startswith("adverb ")  # `adverb evaluate`, in a sentence
    if block.language == "mention" and (LEFT_OUT in command.text or bare):
        known_words(command.text)
        return
    words = shlex.split(command.text, comments=True)
    assert not any(LEFT_OUT in word for word in words), f"{where}: a command that can't be copied"
    for text in variants(command.text):
        status, printed = shell.bash(text)
        wrong = any(line.startswith("error: ") for line in command.shown)
        assert (status != 0) == wrong, f"{where}: {text}\n{printed}"
        check_answer(command, printed, where)


def check_answer(command: Command, printed: str, where: str) -> None:
    """Errors, recipes and data are shown to the letter; of JSON, which has other numbers after two steps, the keys."""
    answers = [line.rstrip() for line in printed.splitlines()]
    for line in command.shown:
        if line.startswith(WRONG) or command.text.startswith(TO_THE_LETTER):
            assert line in answers, f"{where} shows\n{line}\nbut the answer is\n{printed}"
        elif line.startswith("{") and LEFT_OUT not in line and line.endswith("}"):
            keys = [list(json.loads(answer)) for answer in answers if answer.startswith("{")]
            assert list(json.loads(line)) in keys, f"{where} shows\n{line}\nbut the answer is\n{printed}"


def run_python(code: str, where: str, shell: Shell, names: dict) -> None:
    """A fence of Python; names stay for the page. A comment below an expression is what it is equal to."""
    import adverb

    names.setdefault("adverb", adverb)
    for constant in ast.walk(ast.parse(code)):
        if isinstance(constant, ast.Constant) and isinstance(constant.value, str):
            shell.provide(constant.value)
    before = Path.cwd()
    os.chdir(shell.folder)
    try:
        if "model." in code and "model =" not in code and "model" not in names:
            shell.provide("RUN")
            names["model"] = adverb.load("RUN")
        lines = code.splitlines()
        for node in ast.parse(code).body:
            source = ast.get_source_segment(code, node)
            after = lines[node.end_lineno] if node.end_lineno < len(lines) else ""
            if isinstance(node, ast.Expr) and after.startswith("# ["):
                assert eval(source, names) == ast.literal_eval(after[2:]), f"{where}: {source}"
            else:
                exec(compile(source, where, "exec"), names)
    finally:
        os.chdir(before)
