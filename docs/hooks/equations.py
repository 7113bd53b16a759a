"""Equations as MathML, made while the site is built: browsers draw it themselves, without a script or a font."""

from __future__ import annotations

import html
import re

from latex2mathml.converter import convert

# What arithmatex leaves of $…$ and $$…$$.
INLINE = re.compile(r'<span class="arithmatex">\\\((.*?)\\\)</span>', re.S)
BLOCK = re.compile(r'<div class="arithmatex">\s*\\\[(.*?)\\\]\s*</div>', re.S)
NAME = r"<mi>[A-Za-z]{2,}</mi>"  # log, softmax, …
THIN = '<mspace width="0.167em" />'


def on_page_content(content: str, **_) -> str:
    """The page's HTML, with its equations drawn."""
    content = BLOCK.sub(lambda found: f'<div class="equation">{mathml(found[1], "block")}</div>', content)
    return INLINE.sub(lambda found: mathml(found[1], "inline"), content)


def mathml(latex: str, display: str) -> str:
    """<math> of one equation."""
    made = convert(html.unescape(latex).strip(), display=display).replace("<mi>&#x0007E;</mi>", "<mo>&#x223C;</mo>")
    made = re.sub(r"<mo>([A-Za-z]{2,})</mo>", r"<mi>\1</mi>", made)  # a function is no sign between two operands
    made = re.sub(rf"(</m(?:i|n|sub|sup|frac)>)(?={NAME})", rf"\1{THIN}", made)
    return re.sub(rf"(?<!<msub>)(?<!<munder>)({NAME})(?=<m(?:i|n|sub|sup|frac|over)>)", rf"\1{THIN}", made)
