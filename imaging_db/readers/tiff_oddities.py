"""Signs in a single list of tags that one of its tags was damaged: what no writer writes.

A reader of TIFF skips what it does not know. A flipped bit in the number or the type of a tag would so
hide the tag, and the file would mean something else without a sign.
"""

from __future__ import annotations

from collections.abc import Mapping

from imaging_db.readers import tiff_directory as ifd
from imaging_db.readers.tiff_directory import Field

_WHOLE = (1, 3, 4, 13, 16)
_TEXTS = (1, ifd.TEXT, 7)
_TOLD = (ifd.DESCRIPTION, ifd.MICRO_MANAGER)
# Tags that are found in healthy files beside the vital ones: they stand for themselves.
_COMMON = frozenset(
    (255, 263, 264, 265, 269, 271, 272, 274, 280, 281, 282, 283, 285, 286, 287, 288, 289, 296,
     297, 300, 301, 305, 306, 315, 316, 318, 319, 320, 321, 326, 327, 328, 332, 333, 334, 336, 337,
     ifd.EXTRA_SAMPLES, 340, 341, 342, 347, 512, 513, 514, 515, 517, 518, 519, 520, 521, 529, 530, 531, 532,
     700)
)  # fmt: skip
_NAMES = frozenset((269, 271, 272, 285, 305, 306, 315, 316, 333, 337))  # which are texts
_MOST_VALUES = 4


def oddity(fields: Mapping[int, Field]) -> str | None:
    """Return what is odd about the tags of a page, None where nothing is."""
    for code in _TOLD:
        if code in fields and fields[code].type not in _TEXTS:
            return f"its tag {code} should be text, and has type {fields[code].type}"
    known = ifd.VITAL | _COMMON
    for code in fields:
        if code in known and (code not in _NAMES or fields[code].type in _TEXTS):
            continue
        meant = _meant(code, fields)
        if meant is not None:
            return f"its tag {code} is unknown, and could be a damaged tag {meant}"
    if ifd.EXTRA_SAMPLES in fields and ifd.SAMPLES not in fields:
        return "it has extra samples, and does not say how many samples"
    if (ifd.TILE_WIDTH in fields) != (ifd.TILE_LENGTH in fields):
        return "it tells one of width and length of its tiles"
    return None


def _meant(code: int, fields: Mapping[int, Field]) -> int | None:
    """Return the tag that an unknown one may have been: absent, of such values, one bit or byte away."""
    field = fields[code]
    for other in ifd.VITAL - fields.keys():
        changed = code ^ other
        if changed & (changed - 1) and changed not in (0xFF, 0xFF00):
            continue
        if other in ifd.NUMBERS:
            fits = field.type in _WHOLE and 0 < field.number <= _MOST_VALUES
        else:
            fits = field.type in _TEXTS and field.number > _MOST_VALUES
        if fits:
            return other
    return None
