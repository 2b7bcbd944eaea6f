"""Quality of one frame: figures that tell a black, saturated or blurred frame without its pixels."""

from __future__ import annotations

from dataclasses import dataclass


@dataclass(frozen=True, slots=True)
class FrameQuality:
    """What was measured of a frame's samples, all channels of colour together.

    ``minimum``, ``maximum`` and ``mean`` are in the frame's own grey values. ``saturated`` is the share
    (0 to 1) of samples at the largest value of an integer type, None for other types. ``focus`` is the
    Brenner gradient: the mean squared difference of samples two columns apart, in grey values squared
    (Brenner et al., J Histochem Cytochem 24, 1976), of every fourth row from the first on, of frames
    under 64 rows of every row; None for frames narrower than three columns. ``p01`` and ``p99`` are the
    1st and the 99th percentile: of the samples of every sixteenth row from the first on, of frames under
    64 rows of every row, the grey values at the nearest rank below; None where they were not measured.
    """

    minimum: float
    maximum: float
    mean: float
    saturated: float | None
    focus: float | None
    p01: float | None = None
    p99: float | None = None

    @property
    def blank(self) -> bool:
        """True where every sample has the same value."""
        return self.minimum == self.maximum
