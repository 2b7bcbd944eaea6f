"""A progress bar on a terminal: frames, MB/s and the time left."""

from __future__ import annotations

import time

from rich.console import Console
from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn, TimeRemainingColumn


class ProgressBar:
    """Draws one bar for each dataset; satisfies `imaging_db.transfer.Progress`."""

    def __init__(self) -> None:
        self._bar: Progress | None = None
        self._started = 0.0
        self._bytes = 0

    def start(self, title: str, total: int) -> None:
        """Begin the bar of one dataset."""
        self._bar = Progress(
            TextColumn("{task.description}", markup=False),
            BarColumn(),
            MofNCompleteColumn(),
            TextColumn("{task.fields[rate]}"),
            TimeRemainingColumn(),
            console=Console(stderr=True),
            transient=True,
        )
        self._started, self._bytes = time.monotonic(), 0
        self._task = self._bar.add_task(title, total=total, rate="")
        self._bar.start()

    def advance(self, objects: int, nbr_bytes: int) -> None:
        """Draw that more is done."""
        if self._bar is None:
            return
        self._bytes += nbr_bytes
        seconds = max(time.monotonic() - self._started, 1e-6)
        rate = f"{self._bytes / seconds / 1e6:.0f} MB/s"
        self._bar.update(self._task, advance=objects, rate=rate)

    def finish(self) -> None:
        """Take the bar away."""
        if self._bar is not None:
            self._bar.stop()
            self._bar = None
