"""What is wrong with a request, in one sentence."""

from __future__ import annotations

import difflib
from collections.abc import Sequence
from typing import Any


def sentence(errors: Sequence[dict[str, Any]], known: Sequence[str] = ()) -> tuple[int, str]:
    """(413 or 422, a sentence about the first of pydantic's errors; a key that is not known says most).

    known: the keys that the route takes.
    """
    error = next((one for one in errors if one["type"] == "extra_forbidden"), errors[0])
    kind, place, context = error["type"], _place(error["loc"]), error.get("ctx", {})
    if kind == "json_invalid":
        at = error["loc"][-1]
        return 422, f"the body is not JSON: {context.get('error', 'it ends early')}, at character {at}"
    if not place:
        return 422, "the body must be a JSON object, sent with the header Content-Type: application/json"
    if kind == "missing":
        return 422, f"'{place}' is missing"
    if kind == "extra_forbidden":
        near = difflib.get_close_matches(place, known, n=1, cutoff=0.5)
        hint = f"did you mean '{near[0]}'?" if near else f"there are {', '.join(known)}"
        return 422, f"unknown key '{place}': {hint}"
    if kind == "string_too_long":
        return 413, f"{place} has more than {context['max_length']:,} characters: send a part of it"
    if kind == "too_long":
        return 413, f"{place} has more than {context['max_length']:,} entries: send them in several requests"
    if kind in ("too_short", "string_pattern_mismatch"):
        return 422, f"{place} is empty"
    if kind == "string_unicode":
        return 422, f"{place} holds half of a character, a lone surrogate"
    return 422, f"{place}: {error['msg'][0].lower()}{error['msg'][1:]}"


def _place(location: Sequence[str | int]) -> str:
    """("body", "texts", 3) to "texts[3]"; "" for the body itself."""
    names = location[1:] if location and location[0] in ("body", "path", "query") else location
    text = ""
    for name in names:
        text += f"[{name}]" if isinstance(name, int) else f".{name}" if text else str(name)
    return text
