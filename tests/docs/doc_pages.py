"""The commands of a Markdown page: what stands in its fences, and in `code` within its sentences."""

from __future__ import annotations

import re
from dataclasses import dataclass, field
from pathlib import Path

PROGRAMS = ("adverb", "python", "pip", "make", "torchrun")
LEFT_OUT = "…"  # in a command: the rest is the reader's


@dataclass
class Command:
    """text: for bash, may have several lines. shown: what the page says that it answers, line by line."""

    line: int
    text: str
    shown: list[str] = field(default_factory=list)


@dataclass
class Block:
    """language: "shell", "python", or "mention" for `code` in a sentence, of which there is one command."""

    line: int
    language: str
    commands: list[Command]


def blocks_of(page: Path) -> list[Block]:
    """In the page's order. A fence without a language is for a shell; "text" and "yaml" are not run.

    Raises ValueError for another language, so that nothing is passed over by a slip.
    """
    found: list[Block] = []
    fence: list[str] | None = None
    for number, line in enumerate(page.read_text(encoding="utf-8").splitlines(), 1):
        if line.lstrip().startswith("```"):
            if fence is None:
                fence, start, language = [], number, line.strip().removeprefix("```").strip()
                continue
            if language == "python":
                found.append(Block(start, "python", [Command(start + 1, "\n".join(fence))]))
            elif language == "":
                found.append(Block(start, "shell", commands_of(fence, start + 1)))
            elif language not in ("text", "yaml"):
                raise ValueError(f"{page}:{start}: a fence in {language!r}, which no test knows how to run")
            fence = None
        elif fence is not None:
            fence.append(line)
        else:
            for code in re.findall(r"(?<!`)`([^`]+)`(?!`)", line):
                if is_command(code):
                    found.append(Block(number, "mention", [Command(number, code)]))
    return found


def is_command(code: str) -> bool:
    return re.match(rf"(\w+=\S+ )?({'|'.join(PROGRAMS)}) ", code) is not None


def commands_of(lines: list[str], start: int) -> list[Command]:
    """A fence whose lines begin with `$ ` shows answers too; any other is a script."""
    if not any(line.startswith("$ ") for line in lines):
        return [Command(start, "\n".join(lines))]
    commands: list[Command] = []
    for number, line in enumerate(lines, start):
        if line.startswith("$ "):
            commands.append(Command(number, line[2:]))
        elif commands[-1].text.endswith("\\"):
            commands[-1].text += "\n" + line
        else:
            commands[-1].shown.append(line)
    return commands


def variants(text: str) -> list[str]:
    """A synopsis as the commands that it stands for: `[--x y]` is given, `a | b` are tried one after the other.

    Each writes the folder anew that is named by --out.
    """
    text = re.sub(r"\[(--[^\]]+)\]", r"\1", text)
    choice = re.search(r"(--\w+ )([\w-]+(?: \| [\w-]+)+)", text)
    if choice is None:
        return [text]
    out = re.search(r"--out (\S+)", text)
    before = f"rm -rf {out[1]}; " if out else ""
    return [before + text[: choice.start(2)] + one + text[choice.end(2) :] for one in choice[2].split(" | ")]
