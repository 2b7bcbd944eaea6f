"""OME-XML for tests, and files that carry it."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt
import tifffile

NAMESPACE = "http://www.openmicroscopy.org/Schemas/OME/2016-06"


def tiff_data(
    ifd: int | None = None,
    *,
    c: int | None = None,
    z: int | None = None,
    t: int | None = None,
    count: int | None = None,
    uuid: str | None = None,
    file: str | None = None,
    count_name: str = "PlaneCount",
) -> str:
    """One TiffData element; what is None is left out."""
    named = {"IFD": ifd, "FirstC": c, "FirstZ": z, "FirstT": t, count_name: count}
    attributes = " ".join(f'{key}="{value}"' for key, value in named.items() if value is not None)
    name = f' FileName="{file}"' if file else ""
    inner = f"<UUID{name}>{uuid or ''}</UUID>" if uuid or file else ""
    return f"<TiffData {attributes}>{inner}</TiffData>"


def ome_image(
    pixels: str,
    *,
    x: int = 6,
    y: int = 5,
    c: int = 1,
    z: int = 1,
    t: int = 1,
    order: str = "XYZCT",
    kind: str = "uint16",
    name: str = "Pos0",
    channels: str = "",
    more: str = "",
    inside: str = "",
) -> str:
    """One Image with one Pixels element around ``pixels``."""
    sizes = f'SizeX="{x}" SizeY="{y}" SizeC="{c}" SizeZ="{z}" SizeT="{t}"'
    opened = f'<Pixels ID="Pixels:0" DimensionOrder="{order}" Type="{kind}" {sizes} {more}>'
    return f'<Image ID="Image:0" Name="{name}">{inside}{opened}{channels}{pixels}</Pixels></Image>'


def ome(*images: str, uuid: str | None = None, namespace: str = NAMESPACE, more: str = "") -> str:
    """A whole document."""
    own = f' UUID="urn:uuid:{uuid}"' if uuid else ""
    start = '<?xml version="1.0" encoding="UTF-8"?>'
    return f'{start}<OME xmlns="{namespace}"{own}>{"".join(images)}{more}</OME>'


def planes(
    count: int, *, shape: tuple[int, ...] = (5, 6), dtype: str = "uint16"
) -> npt.NDArray[Any]:
    """Planes that differ from each other in every pixel."""
    size = int(np.prod(shape))
    return (np.arange(count * size) % 251).astype(dtype).reshape(count, *shape)


def write_pages(
    path: Path, pages: Sequence[npt.NDArray[Any]], description: str = "", **options: Any
) -> Path:
    """Write one page an image, the description (UTF-8) on the first."""
    with tifffile.TiffWriter(
        path, **{k: options.pop(k) for k in ("bigtiff", "byteorder") if k in options}
    ) as out:
        for number, page in enumerate(pages):
            text = description.encode() if number == 0 and description else None
            out.write(page, description=text, metadata=None, contiguous=False, **options)
    return path
