"""Print how many frames an OME-Zarr holds at full size and the sum of their pixels: nothing is left out.

Run by the interpreter of the peer's own environment: ``zarr_sum.py TARGET``.
"""

import sys
from collections.abc import Iterator
from typing import Any

import numpy as np
import zarr


def arrays(group: Any) -> Iterator[Any]:
    """Give the arrays named 0, which are the full size, in all groups below one."""
    for name in group:
        item = group[name]
        if not hasattr(item, "shape"):
            yield from arrays(item)
        elif name == "0":
            yield item


def main(target: str) -> None:
    """Add up frame by frame."""
    count, total = 0, 0
    for array in arrays(zarr.open_group(target, mode="r")):
        for place in np.ndindex(array.shape[:-2]):
            count += 1
            total += int(np.asarray(array[place]).sum(dtype=np.uint64))
    print(count, total)


if __name__ == "__main__":
    main(sys.argv[1])
