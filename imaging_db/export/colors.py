"""The colour in which viewers show a channel: by its name, otherwise by its number."""

from __future__ import annotations

import re

Color = tuple[int, int, int]

WHITE: Color = (255, 255, 255)
_BLUE, _GREEN, _RED = (0, 0, 255), (0, 255, 0), (255, 0, 0)
_CYAN, _MAGENTA, _YELLOW = (0, 255, 255), (255, 0, 255), (255, 255, 0)
_BY_NUMBER = (_GREEN, _MAGENTA, _CYAN, _YELLOW, _BLUE, _RED)
# The first that a name holds counts.
_BY_NAME: tuple[tuple[re.Pattern[str], Color], ...] = tuple(
    (re.compile(words, re.IGNORECASE), color)
    for words, color in (
        (r"cy5|647|640|633|far.?red|a[f]?680|irfp", _MAGENTA),
        (r"dapi|hoechst|405|bfp|blue", _BLUE),
        (r"cfp|cerulean|turquoise|445|cyan", _CYAN),
        (r"gfp|fitc|488|green|gcamp|neon", _GREEN),
        (r"yfp|venus|citrine|514|yellow", _YELLOW),
        (r"rfp|cherry|tritc|texas|cy3|561|568|594|555|tomato|rhod|red", _RED),
        (r"phase|bright|bf|dic|trans|ret|pol|label.?free|gr[ae]y", WHITE),
    )
)


def channel_color(name: str | None, index: int, *, count: int) -> Color:
    """Return red, green and blue (0 to 255) of a channel of ``count``; a single one without name is white."""
    for words, color in _BY_NAME:
        if name and words.search(name):
            return color
    return WHITE if count == 1 else _BY_NUMBER[index % len(_BY_NUMBER)]
