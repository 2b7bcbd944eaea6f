"""OME/METADATA.ome.xml of a collection: the names, sizes and planes of its images, without pixels."""

from __future__ import annotations

import uuid
from dataclasses import replace
from pathlib import Path
from xml.etree import ElementTree

from imaging_db.export.frame_source import FrameSource
from imaging_db.export.ome_document import ome_file
from imaging_db.export.ome_xml import NAMESPACE, ome_xml, pixel_type
from imaging_db.export.part import written_to
from imaging_db.export.plan import ExportPlan
from imaging_db.export.report import ExportOptions

_NAME = "METADATA.ome.xml"


def write_series(
    folder: Path, plan: ExportPlan, source: FrameSource, *, options: ExportOptions
) -> None:
    """Write the OME-XML that readers list the images of a collection by.

    A type of pixels that OME has no name for is left to the arrays; the group OME lists the images too.
    """
    if pixel_type(plan.require_alike().dtype) is None:
        return
    identity = str(uuid.uuid5(uuid.NAMESPACE_OID, plan.fingerprint))
    described = replace(ome_file(plan, source, _NAME, options), uuid=identity)
    with written_to(folder):
        folder.joinpath(_NAME).write_bytes(_without_pixels(ome_xml(described)))


def _without_pixels(xml: bytes) -> bytes:
    """Return OME-XML that says no more where planes lie in a file."""
    ElementTree.register_namespace("", NAMESPACE)
    root = ElementTree.fromstring(xml)  # noqa: S314 - we wrote it a line before
    for pixels in root.iter(f"{{{NAMESPACE}}}Pixels"):
        for place, element in enumerate(pixels):
            if element.tag == f"{{{NAMESPACE}}}TiffData":
                pixels[place] = ElementTree.Element(f"{{{NAMESPACE}}}MetadataOnly")
    return bytes(ElementTree.tostring(root, encoding="UTF-8", xml_declaration=True))
