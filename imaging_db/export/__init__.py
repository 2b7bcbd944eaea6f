"""What others can open: OME-Zarr, OME-TIFF, folders of TIFF files, packs to publish, and pictures."""
