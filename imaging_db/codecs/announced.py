"""How large a picture says it is: compared before memory is taken, because a store may lie."""

from __future__ import annotations

MOST_BYTES = 2 * 2**30
"""What is allowed where nothing is known of a frame; readers refuse larger ones by default, too."""


def check_announced(announced: int, most_bytes: int) -> None:
    """Let pass a picture whose header announces no more than ``most_bytes`` bytes of pixels.

    Raises
    ------
    ValueError
        It announces more.
    """
    if announced > most_bytes:
        raise ValueError(f"it announces {announced} bytes of pixels, {most_bytes} are expected")
