"""Readers of tile and volume sources: frames that are told by arithmetic, not listed."""
