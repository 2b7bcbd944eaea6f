"""The reader of napari: frames of a dataset as layers."""
