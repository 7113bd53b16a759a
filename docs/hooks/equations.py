"""Equations as MathML, made while the site is built: browsers draw it themselves, without a script or a font."""

from __future__ import annotations

import html
import re

from latex2mathml.converter import convert

# What arithmatex leaves of $…$ and $$…$$.
INLINE = re.compile(r'<span class="arithmatex">\\\((.*?)\\\)</span>', re.S)
BLOCK = re.compile(r'<div class="arithmatex">\s*\\\[(.*?)\\\]\s*</div>', re.S)


def on_page_content(content: str, **_) -> str:
    """The page's HTML, with its equations drawn."""
    content = BLOCK.sub(lambda found: f'<div class="equation">{mathml(found[1], "block")}</div>', content)
    return INLINE.sub(lambda found: mathml(found[1], "inline"), content)


def mathml(latex: str, display: str) -> str:
    """<math> of one equation."""
    return convert(html.unescape(latex).strip(), display=display).replace("<mi>&#x0007E;</mi>", "<mo>&#x223C;</mo>")
