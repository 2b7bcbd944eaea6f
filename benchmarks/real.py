"""Real frames: those of the sample files that our readers take."""

from __future__ import annotations

import os
from collections.abc import Iterator
from itertools import islice
from pathlib import Path
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    import numpy.typing as npt

VARIABLE = "BENCH_DATA"
_OWN = Path(__file__).resolve().parent.parent / "tests" / "data"
_FROM_EACH = 16  # frames of one source at most, so that no source outweighs the others
_SMALLEST = 128  # pixels a side: below it a call costs more than its pixels


def real_frames(dtype: str) -> list[npt.NDArray[Any]]:
    """Return real frames ``(Y, X)`` or ``(Y, X, S)`` of a dtype, a few of each source in a folder.

    The folder is ``BENCH_DATA``, else the project's own ``tests/data``. Damaged samples are passed over.
    """
    root = Path(os.environ.get(VARIABLE) or _OWN)
    return [
        pixels
        for folder in sorted(path for path in root.iterdir() if path.is_dir())
        for pixels in islice(_frames_of_one(folder, dtype), _FROM_EACH)
    ]


def _frames_of_one(folder: Path, dtype: str) -> Iterator[npt.NDArray[Any]]:
    """Give the frames of the first source in a folder that is read and has such frames."""
    from imaging_db.errors import ImagingDBError
    from imaging_db.readers import registry
    from imaging_db.readers.base import ReaderOptions

    inside = sorted(
        p for p in folder.iterdir() if p.is_dir() or p.suffix.lower().startswith(".tif")
    )
    for source in (folder, *inside):
        try:
            with registry.find(source).open(source, ReaderOptions()) as reader:
                found = reader.acquisition
                side = min(found.height or 0, found.width or 0)  # None where frames differ
                if found.dtype == dtype and side >= _SMALLEST:
                    yield from (reader.read(frame) for frame in reader.frames())
                    return
        except ImagingDBError:
            continue  # a sample that is damaged on purpose
