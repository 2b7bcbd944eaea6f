"""``ome_tiff``: OME-TIFF files and the file stacks of Micro-Manager, one file or a folder of them."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING

from imaging_db.errors import CorruptSource, UnsupportedFormat
from imaging_db.readers.base import Match, ReaderOptions, ReaderSpec

if TYPE_CHECKING:
    from imaging_db.readers.tiff_reader import TiffPagesReader

_LOOKED_AT = 8  # files of a folder: one of them may be damaged


def sniff(path: Path) -> Match:
    """Return EXACT for OME-XML or Micro-Manager's tags inside, NO for everything else."""
    from imaging_db.readers.ome_peek import ome_files_in, xml_files_in

    try:
        if path.is_dir():
            candidates = [*ome_files_in(path), *xml_files_in(path)]
            return max((_sniff_file(p) for p in candidates[:_LOOKED_AT]), default=Match.NO)
        return _sniff_file(path)
    except OSError:
        return Match.NO


def open_ome_tiff(path: Path, options: ReaderOptions) -> TiffPagesReader:
    """Return a reader of one file or of a folder of ``*.ome.tif`` files.

    Where a folder has none of that name, its TIFF files with OME-XML or Micro-Manager's marks count.

    One file of a Micro-Manager acquisition gives its own pages, the folder all of them. Any file of an
    OME-TIFF set, its master, its companion or its folder gives the whole set.

    Raises
    ------
    CorruptSource
        Damaged, or a file of the set is missing.
    UnsupportedFormat
        Neither OME-XML nor Micro-Manager's tags, NDTiff, or several sets in one folder.
    """
    from imaging_db.readers.micro_manager_stack import open_micro_manager
    from imaging_db.readers.ome_set import OmeFolder, find_set
    from imaging_db.readers.ome_stack import open_ome

    tiffs, companions = _files_of(path)
    if tiffs and _is_micro_manager(tiffs):
        return open_micro_manager(path, tiffs, options)
    folder = OmeFolder(path if path.is_dir() else path.parent, options.limits)
    return open_ome(path, find_set([*companions, *tiffs], folder), options)


def _files_of(path: Path) -> tuple[list[Path], list[Path]]:
    from imaging_db.readers.ome_peek import ome_files_in, peek_xml, xml_files_in

    try:
        path.stat()
    except (OSError, ValueError) as error:
        missing = isinstance(error, FileNotFoundError)
        cause = getattr(error, "strerror", None) or str(error)
        cause = "does not exist" if missing else f"cannot be opened: {cause}"
        raise CorruptSource(path, cause) from error
    if not path.is_dir():
        return ([], [path]) if peek_xml(path) is not None else ([path], [])
    tiffs, companions = ome_files_in(path) or _marked(path), xml_files_in(path)
    if not tiffs and not companions:
        raise UnsupportedFormat(
            path,
            "holds no *.ome.tif file, nor others with such marks",
            hint="see also 'tif_folder'",
        )
    return tiffs, companions


def _marked(folder: Path) -> list[Path]:
    """Return the TIFF files of a folder, whatever they are called, that carry our marks inside."""
    from imaging_db.readers.ome_peek import peek_tiff, tiff_files_in

    peeks = [(path, peek_tiff(path)) for path in tiff_files_in(folder)]
    return [path for path, peek in peeks if peek and (peek.is_ome or peek.is_micro_manager)]


def _is_micro_manager(paths: Sequence[Path]) -> bool:
    """Return True where the first file that can be read has Micro-Manager's marks.

    Raises
    ------
    UnsupportedFormat
        It is NDTiff.
    """
    from imaging_db.readers.ome_peek import peek_tiff
    from imaging_db.readers.tiff_source import TiffSource

    for path in paths:
        peek = peek_tiff(path)
        if peek is None:
            TiffSource(path).close()  # says what is wrong with it
            continue
        if peek.is_ndtiff:
            cause = "is NDTiff, whose page tags do not tell the frames apart"
            raise UnsupportedFormat(path, cause, hint="use the reader 'ndtiff'")
        return peek.is_micro_manager
    return False


def _sniff_file(path: Path) -> Match:
    from imaging_db.readers.ome_peek import peek_tiff, peek_xml

    if peek_xml(path) is not None:
        return Match.EXACT
    peek = peek_tiff(path)
    if peek is None or peek.is_ndtiff:
        return Match.NO
    return Match.EXACT if peek.is_ome or peek.is_micro_manager else Match.NO


SPEC = ReaderSpec(
    name="ome_tiff",
    summary="OME-TIFF and Micro-Manager file stacks: one file, a multi-file set, or a folder",
    sniff=sniff,
    open=open_ome_tiff,
    aliases=("ome_tif", "ometiff", "ometif", "ome-tiff", "ome-tif", "tiff"),
    takes_positions=True,
)
