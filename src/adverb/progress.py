"""What a person sees while it trains: one live line on a terminal, plain lines in a log file."""

from __future__ import annotations

import time

from rich.console import Console
from rich.markup import escape
from rich.progress import BarColumn, TextColumn
from rich.progress import Progress as Bar


class Progress:
    def __init__(self, console: Console | None = None, enabled: bool = True):
        self.console = console or Console()
        self.enabled = enabled
        self.live = enabled and self.console.is_terminal
        self.started_at: tuple[float, float] | None = None  # (progress, elapsed) of the first update here
        self.numbers = ""
        self.word = ""  # how the run is, where the objective says so
        self.last_plain = 0.0
        self.bar = Bar(
            TextColumn("{task.percentage:>3.0f}%"),
            BarColumn(bar_width=24),
            TextColumn("{task.fields[eta]}"),
            TextColumn("{task.fields[numbers]}"),
            console=self.console,
            disable=not self.live,
            transient=True,
        )
        self.task = self.bar.add_task("", total=1.0, eta="", numbers="")

    def __enter__(self):
        self.bar.start()
        return self

    def __exit__(self, *_):
        self.bar.stop()

    def update(self, progress: float, elapsed: float) -> None:
        """progress in [0, 1]; elapsed seconds."""
        if self.started_at is None:
            self.started_at = (progress, elapsed)
        done, since = progress - self.started_at[0], elapsed - self.started_at[1]
        eta = f"{duration(since / done * (1 - progress))} left" if done > 0 and since > 1 else ""
        self.bar.update(self.task, completed=progress, eta=eta)
        if self.enabled and not self.live and time.monotonic() - self.last_plain > 30 and self.numbers:
            self.console.print(f"{100 * progress:3.0f}%  {eta}  {self.numbers}", highlight=False)
            self.last_plain = time.monotonic()

    def show(self, row: dict[str, float], rate: float, unit: str, headline: tuple[str, ...]) -> None:
        """The numbers that matter, beside the bar."""
        parts = [f"{rate:,.0f} {unit}/s"] + [f"{name} {short(row[name])}" for name in headline if name in row]
        if "mfu" in row:
            parts.insert(1, f"{100 * row['mfu']:.0f}% of peak")
        if self.word:
            parts.insert(0, self.word)
        self.numbers = " · ".join(parts)
        self.bar.update(self.task, numbers=self.numbers)

    def note(self, text: str) -> None:
        self.bar.update(self.task, numbers=text)

    def say(self, step: int, text: str) -> None:
        """A line that stays."""
        if self.enabled:
            self.console.print(f"[dim]step {step:,}[/]  {escape(text)}", highlight=False)

    def evaluated(self, step: int, metrics: dict[str, float]) -> None:
        """A line that stays; a metric's floor stands in brackets behind it."""
        if not self.enabled:
            return
        parts = []
        for name, value in metrics.items():
            if name.endswith(("_floor", "_se", "_each")) or name == "samples":
                continue
            floor = metrics.get(f"{name}_floor")
            parts.append(f"{name} {short(value)}" + (f" ({short(floor)})" if floor is not None else ""))
        self.console.print(f"[dim]step {step:,}[/]  " + " · ".join(parts), highlight=False)


def short(value: float) -> str:
    """Three significant digits (two of small numbers), without exponents where they only confuse."""
    if abs(value) >= 1e5 or 0 < abs(value) < 1e-4:
        return f"{value:.1e}"
    if abs(value) >= 1000:
        return f"{value:,.0f}"
    return f"{value:.3g}" if abs(value) >= 0.01 else f"{value:.2g}"


def duration(seconds: float) -> str:
    minutes, seconds = divmod(int(seconds), 60)
    hours, minutes = divmod(minutes, 60)
    return f"{hours}h{minutes:02d}m" if hours else f"{minutes}m{seconds:02d}s" if minutes else f"{seconds}s"
