"""Ctrl-C and SIGTERM end a run in order; the second one ends it at once."""

from __future__ import annotations

import contextlib
import signal
from collections.abc import Callable, Iterator


@contextlib.contextmanager
def first_signal(tell: Callable[[str], None]) -> Iterator[None]:
    """While entered, the first SIGINT or SIGTERM only calls `tell` with its name; the next does what it always does.

    Outside the main thread, which alone may handle signals, nothing changes.
    """

    def first(number, frame):
        tell(signal.Signals(number).name)
        signal.signal(number, signal.default_int_handler if number == signal.SIGINT else signal.SIG_DFL)

    try:
        old = {number: signal.signal(number, first) for number in (signal.SIGINT, signal.SIGTERM)}
    except ValueError:
        yield
        return
    try:
        yield
    finally:
        for number, handler in old.items():
            signal.signal(number, handler)
