"""The reader of napari: frames of a dataset as layers.

Nothing here imports napari: layers are plain tuples, as its plugins return them.
"""

from imaging_db.napari.layer_data import LayerData, layers
from imaging_db.napari.reader import get_reader

__all__ = ["LayerData", "get_reader", "layers"]
