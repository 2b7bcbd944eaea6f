"""Convert an OME-TIFF to OME-Zarr with bioio, timepoint by timepoint: the way its documentation shows.

Run by the interpreter of the peer's own environment: ``bioio_to_zarr.py SOURCE TARGET``.
"""

import sys

import bioio_ome_tiff
from bioio import BioImage
from bioio_ome_zarr.writers import OMEZarrWriter


def main(source: str, target: str) -> None:
    """Write the image lazily, a chunk for each frame."""
    image = BioImage(source, reader=bioio_ome_tiff.Reader)
    data = image.dask_data  # (T, C, Z, Y, X)
    chunk = (1, 1, 1, *data.shape[3:])
    writer = OMEZarrWriter(
        target, data.shape, data.dtype, chunk_shape=chunk, axes_names=list("tczyx")
    )
    writer.write_full_volume(data)


if __name__ == "__main__":
    main(sys.argv[1], sys.argv[2])
