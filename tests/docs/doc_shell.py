"""Bash, in which the programs that the pages name are doors back into this process: `adverb` need not start anew for
each command. What bash itself does (loops, globs, pipes, `$(…)`) is done by bash.
"""

from __future__ import annotations

import argparse
import contextlib
import csv
import io
import json
import os
import re
import runpy
import shlex
import shutil
import signal
import socket
import subprocess
import sys
import tempfile
import tomllib
import urllib.request
from collections.abc import Callable
from pathlib import Path

from PIL import Image

ROOT = Path(__file__).resolve().parents[2]
DOOR = f"""#!{sys.executable} -SE
import json, os, socket, sys
door = socket.socket(socket.AF_UNIX)
door.connect(os.environ["DOCS_DOOR"])
typed = "" if sys.stdin.isatty() else sys.stdin.read()
name = os.path.basename(sys.argv[0])
door.sendall(json.dumps([name, sys.argv[1:], os.getcwd(), typed]).encode())
door.shutdown(socket.SHUT_WR)
code, out, err = json.loads(b"".join(iter(lambda: door.recv(65536), b"")))
sys.stdout.write(out)
sys.stderr.write(err)
sys.exit(code)
"""


class Parsed(Exception):
    """A script's own parser has taken its words."""


class Shell:
    """One working folder. Use as a context manager: servers that were started are stopped at its end.

    provide: makes what a word of a command names, where it is not there, and returns what the word stands for.
    """

    def __init__(self, folder: Path, provide: Callable[[str], list[str]] = lambda word: [word]):
        self.folder, self.provide = folder, provide
        self.private = Path(tempfile.mkdtemp())  # a socket's path must be short
        self.servers: list[tuple[subprocess.Popen, int]] = []
        for name in (n.removeprefix("run_") for n in dir(self) if n.startswith("run_")):
            door = self.private / name
            door.write_text(DOOR)
            door.chmod(0o700)

    def __enter__(self) -> Shell:
        self.listening = socket.socket(socket.AF_UNIX)
        self.listening.bind(str(self.private / "door"))
        self.listening.listen()
        self.listening.settimeout(0.05)
        return self

    def __exit__(self, *_) -> None:
        self.listening.close()
        for process, _ in self.servers:
            process.send_signal(signal.SIGTERM)
            assert process.wait(timeout=60) == 0, "a server did not leave in good order"
        shutil.rmtree(self.private)

    def bash(self, script: str) -> tuple[int, str]:
        """(exit status, what was printed, errors too)."""
        environment = os.environ | {
            "PATH": f"{self.private}:{os.environ['PATH']}",
            "DOCS_DOOR": str(self.private / "door"),
        }
        with tempfile.TemporaryFile("w+") as printed:
            process = subprocess.Popen(
                ["bash", "-euo", "pipefail", "-c", script],
                cwd=self.folder, env=environment, stdin=subprocess.DEVNULL, stdout=printed, stderr=printed,
            )  # fmt: skip
            while process.poll() is None:
                with contextlib.suppress(TimeoutError):
                    self.answer(self.listening.accept()[0])
            printed.seek(0)
            return process.returncode, printed.read()

    def answer(self, door: socket.socket) -> None:
        with door:
            door.settimeout(None)
            asked = b"".join(iter(lambda: door.recv(65536), b""))
            name, words, folder, typed = json.loads(asked)
            door.sendall(json.dumps(self.run(name, words, Path(folder), typed)).encode())

    def run(self, name: str, words: list[str], folder: Path, typed: str = "") -> tuple[int, str, str]:
        """(exit status, standard output, standard error) of one program in a folder."""
        before, standard_input = Path.cwd(), sys.stdin
        out, err = (io.TextIOWrapper(io.BytesIO(), encoding="utf-8", write_through=True) for _ in range(2))
        os.chdir(folder)
        sys.stdin = io.TextIOWrapper(io.BytesIO(typed.encode()), encoding="utf-8")
        try:
            with contextlib.redirect_stdout(out), contextlib.redirect_stderr(err):
                code = getattr(self, f"run_{name}")(words) or 0
        except SystemExit as left:
            code = left.code if isinstance(left.code, int) else 0 if left.code is None else 1
        finally:
            os.chdir(before)
            sys.stdin = standard_input
        return code, *(stream.buffer.getvalue().decode() for stream in (out, err))

    # -- the programs

    def run_adverb(self, words: list[str]) -> None:
        """The command line as it is; recipes are made small elsewhere."""
        from adverb.cli import main

        words = [found for word in words for found in self.provide(word)]
        if words[:1] == ["serve"]:
            return self.serve(words[1:])
        if words[:1] == ["evaluate"] and "--samples" not in words:
            words = [*words, "--samples", "60"]
        if "--seeds" in words:
            words[words.index("--seeds") + 1] = "2"
        before, sys.argv = sys.argv, ["adverb", *words]
        try:
            main()
        finally:
            sys.argv = before
            if words[:1] == ["label-next"] and (made := Path(words[words.index("--out") + 1])).is_file():
                fill_in(made)

    def serve(self, words: list[str]) -> None:
        """A server of its own, at a free port, asked once; it stays for `curl` until the page ends."""
        process = subprocess.Popen(
            [sys.executable, "-m", "adverb", "serve", *words, "--port", "0"],
            stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True, env=os.environ | {"PYTHONUNBUFFERED": "1"},
        )  # fmt: skip
        said = []
        for line in process.stdout:
            said.append(line)
            if found := re.match(r"http://[\w.]+:(\d+)", line):
                self.servers.append((process, int(found[1])))
                with urllib.request.urlopen(f"http://127.0.0.1:{found[1]}/models") as models:
                    print(models.read().decode())
                return
        raise SystemExit("".join(said))

    def run_curl(self, words: list[str]) -> int:
        """curl itself, asking the last server that was started."""
        words = [re.sub(r"^localhost:8000", f"127.0.0.1:{self.servers[-1][1]}", word) for word in words]
        done = subprocess.run(["curl", *words], capture_output=True, text=True)
        print(done.stdout, end="")
        return done.returncode

    def run_python(self, words: list[str]) -> int:
        """Benchmarks take minutes: here a script must be there, start, and take its words by its own parser."""
        script, *words = words
        assert re.fullmatch(r"benchmarks/\w+\.py", script), f"no test knows how to run python {script}"
        parse = argparse.ArgumentParser.parse_args

        def parse_alone(parser, *arguments, **named):
            parse(parser, *arguments, **named)
            raise Parsed

        before, sys.argv = (sys.argv, [*sys.path]), [script, *words]
        argparse.ArgumentParser.parse_args = parse_alone
        sys.path.insert(0, str(ROOT / "benchmarks"))
        try:
            runpy.run_path(str(ROOT / script), run_name="__main__")
        except Parsed:
            return 0
        finally:
            argparse.ArgumentParser.parse_args = parse
            sys.argv, sys.path[:] = before
        return 1

    def run_make(self, words: list[str]) -> int:
        """What a target would do, without doing it."""
        done = subprocess.run(["make", "--dry-run", *words], cwd=ROOT, capture_output=True, text=True)
        print(done.stdout + done.stderr)
        return done.returncode

    def run_pip(self, words: list[str]) -> None:
        """What is to be installed is known to pyproject.toml, or pinned by constraints.txt."""
        project = tomllib.loads((ROOT / "pyproject.toml").read_text())["project"]
        extras = project["optional-dependencies"]
        pinned = (ROOT / "constraints.txt").read_text().splitlines()
        packages = {re.split(r"[<>=\[]", wanted)[0] for extra in extras.values() for wanted in extra}
        assert words[0] == "install"
        for word in words[1:]:
            if found := re.fullmatch(r"(?:adverb|\.)\[(\w+)\]", word):
                assert found[1] in extras, f"no extra '{found[1]}'"
            elif word not in ("-e", "."):
                assert word in pinned or word in packages, f"pip install {word}: who needs it?"

    def run_torchrun(self, words: list[str]) -> None:
        """The launcher's own parser takes its words; what it launches runs once. Two workers: see test_cli."""
        from torch.distributed.run import get_args_parser

        asked = get_args_parser().parse_args(words)
        assert asked.module and asked.training_script == "adverb"
        self.run_adverb(asked.training_script_args)

    def run_srun(self, words: list[str]) -> None:
        assert words[0] == "torchrun"
        self.run_torchrun(words[1:])

    def run_file(self, words: list[str]) -> None:
        for word in words:
            image = Image.open(word)
            print(f"{word}: {image.format} image data, {image.width} x {image.height}")


def fill_in(path: Path) -> None:
    """What a person does with a list of texts to label."""
    with path.open(newline="", encoding="utf-8") as file:
        header, *rows = csv.reader(file)
    place = header.index("label")
    rows = [[*row[:place], ("positive", "negative")[i % 2], *row[place + 1 :]] for i, row in enumerate(rows)]
    with path.open("w", newline="", encoding="utf-8") as file:
        csv.writer(file).writerows([header, *rows])


def known_words(text: str) -> None:
    """A command of which only a part is said: it and its options exist. Raises AssertionError where they don't."""
    import typer

    from adverb.cli import app

    words = [word for word in shlex.split(text.replace("…", "")) if not re.match(r"\w+=", word)]
    if words[0] == "torchrun":
        words = words[words.index("-m") + 1 :]
    assert words[0] == "adverb", text
    commands = typer.main.get_command(app).commands
    assert words[1] in commands, f"{text}: no command '{words[1]}'"
    options = {name for parameter in commands[words[1]].params for name in parameter.opts}
    for word in words[2:]:
        assert not word.startswith("-") or word in options, f"{text}: no option '{word}'"
