"""Sizes as people write them: ``2147483648``, ``2 GiB``, ``500MB``."""

from __future__ import annotations

import re
from decimal import Decimal

_SIZE = re.compile(r"\s*(\d{1,15}(?:\.\d{1,9})?)\s*(?:([kmgt])(i?))?b?\s*", re.IGNORECASE)
_POWERS = {"k": 1, "m": 2, "g": 3, "t": 4}


def size_in_bytes(text: str) -> int:
    """Return how many bytes a text means: ``kB`` is 1000 of them, ``KiB`` 1024.

    Raises
    ------
    ValueError
        It is no size, or less than a byte.
    """
    found = _SIZE.fullmatch(text)
    if found is None:
        raise ValueError(f"{text!r} is no size such as 2147483648, 500 MB or 2 GiB")
    base = 1024 if found[3] else 1000
    size = int(Decimal(found[1]) * base ** _POWERS.get((found[2] or "").lower(), 0))
    if size < 1:
        raise ValueError(f"{text!r} is less than a byte")
    return size
