"""Formats: what a microscope wrote, as frames."""
