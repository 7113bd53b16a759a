"""Docstrings as Markdown: what they say of parameters, `name: …` line by line, becomes a list."""

from __future__ import annotations

import re

import griffe

NAMED = re.compile(r"^(\w+(?:, \w+)*): (?=\S)")


class Lists(griffe.Extension):
    def on_instance(self, *, obj: griffe.Object, **_) -> None:
        if obj.docstring is not None and obj.is_public:
            obj.docstring.value = as_markdown(obj.docstring.value, names_of(obj))


def names_of(obj: griffe.Object) -> set[str]:
    """What a docstring may describe: parameters, and a class's attributes."""
    if obj.is_function:
        return {parameter.name for parameter in obj.parameters}
    if obj.is_class:
        made = obj.members.get("__init__")
        return {*obj.members, *(parameter.name for parameter in (made.parameters if made else ()))}
    return set()


def as_markdown(text: str, names: set[str]) -> str:
    """`text` with a list item for each line that begins by names of parameters, and a paragraph for what follows.

    Indented lines go on with the item, as do others until a blank line or the next sentence that begins a line with
    a capital letter.
    """
    lines, listed = [], False
    for line in text.splitlines():
        found = NAMED.match(line)
        if found and set(found[1].split(", ")) <= names:
            if not listed:
                lines.append("")
            words = ", ".join(f"`{name}`" for name in found[1].split(", "))
            line, listed = f"- {words}: {line[found.end() :]}", True
        elif listed and (not line or line[0].isupper()):
            if line:
                lines.append("")
            listed = False
        elif listed:
            line = "  " + line.strip()
        lines.append(line)
    return "\n".join(lines)
