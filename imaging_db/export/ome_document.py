"""What the OME-XML of an exported dataset says."""

from __future__ import annotations

from imaging_db import __version__
from imaging_db.export.colors import channel_color
from imaging_db.export.frame_source import FrameSource
from imaging_db.export.ome_planes import plane_of
from imaging_db.export.ome_xml import OmeChannel, OmeFile, OmeImage, OmePlane
from imaging_db.export.plan import Axis, ExportPlan
from imaging_db.export.report import ExportOptions


def ome_file(plan: ExportPlan, source: FrameSource, name: str, options: ExportOptions) -> OmeFile:
    """Return what is told of an export in the file ``name``, without its UUID.

    One pass over the frames' metadata; a plane of which nothing is known takes no room.
    """
    planes = _planes(plan, source)
    images = [_image(plan, place, planes) for place in range(len(plan.positions))]
    dataset = plan.dataset
    return OmeFile(
        name,
        "",
        f"imaging_db {__version__}",
        tuple(images),
        dataset.description,
        dataset.acquired_at,
        (*_notes(plan, options), *_annotations(plan, source)),
    )


def _image(plan: ExportPlan, place: int, planes: dict[int, list[OmePlane]]) -> OmeImage:
    shape = plan.require_alike()
    name = plan.positions.names[place]
    only = len(plan.positions) == 1
    position = plan.positions.indices[place]
    count = len(plan.channels)
    return OmeImage(
        name=name or (plan.serial if only else f"{plan.serial} p{position:03d}"),
        width=shape.width,
        height=shape.height,
        slices=len(plan.slices),
        timepoints=len(plan.timepoints),
        samples=shape.colors,
        dtype=shape.dtype,
        channels=tuple(
            OmeChannel(name, channel_color(name, index, count=count))
            for index, name in zip(plan.channels.indices, plan.channels.names, strict=True)
        ),
        position_name=name,
        pixel_size_x_um=plan.pixel_size_x_um,
        pixel_size_y_um=plan.pixel_size_y_um,
        z_step_um=plan.z_step_um,
        time_interval_s=plan.time_interval_s,
        planes=tuple(planes.get(position, ())),
    )


def _planes(plan: ExportPlan, source: FrameSource) -> dict[int, list[OmePlane]]:
    """Return what is known of the planes, by position."""
    axes = (plan.channels, plan.slices, plan.timepoints)
    places = [{index: place for place, index in enumerate(axis.indices)} for axis in axes]
    found: dict[int, list[OmePlane]] = {}
    for frame in source.frames():
        c, z, t, position = frame.coords
        if not (c in places[0] and z in places[1] and t in places[2]):
            continue  # of a dataset that replaced it meanwhile, which is told at the end
        plane = plane_of(frame, (places[0][c], places[1][z], places[2][t]))
        if plane.tells_something:
            found.setdefault(position, []).append(plane)
    return found


def _notes(plan: ExportPlan, options: ExportOptions) -> list[tuple[str, str]]:
    dataset = plan.dataset
    found = [("dataset", plan.serial), ("sha256 of the frames", plan.fingerprint)]
    if dataset.description:
        found.append(("description", dataset.description))
    if dataset.microscope:
        found.append(("microscope", dataset.microscope))
    for name, axis in (
        ("channels", plan.channels),
        ("slices", plan.slices),
        ("timepoints", plan.timepoints),
        ("positions", plan.positions),
    ):
        if axis.indices != tuple(range(len(axis))):
            found.append((f"{name} of the dataset", _indices(axis)))
    if plan.nbr_missing:
        told = ", ".join(map(str, plan.missing))
        more = ", ..." if plan.nbr_missing > len(plan.missing) else ""
        found.append((f"missing, filled with {options.fill:g}", f"{told}{more}"))
    return found


def _annotations(plan: ExportPlan, source: FrameSource) -> list[tuple[str, str]]:
    """Return the dataset's tags and notes; who wrote them stays in the catalog."""
    found = source.catalog.annotations.of(plan.serial)
    return [(note.key, "" if note.value is None else note.value) for note in found]


def _indices(axis: Axis) -> str:
    return " ".join(map(str, axis.indices))
