"""The registry: readers by name, by what is inside a source, and plugins good and broken."""

from __future__ import annotations

import subprocess
import sys
from collections.abc import Callable, Iterator
from importlib.metadata import EntryPoint
from pathlib import Path

import pytest

from imaging_db.errors import (
    AmbiguousFormat,
    ConfigError,
    CorruptSource,
    ReaderError,
    UnknownPlugin,
    UnsupportedFormat,
)
from imaging_db.readers import registry
from imaging_db.readers.base import Match, ReaderOptions, ReaderSpec
from tests.support.corpus import DATA
from tests.support.ometiff import planes, write_pages

Install = Callable[..., None]


def spec_of(name: str, match: Match, *aliases: str) -> ReaderSpec:
    def refuse(path: Path, options: ReaderOptions) -> None:
        raise UnsupportedFormat(path, "only a name")

    return ReaderSpec(name, "for tests", lambda _: match, refuse, aliases)  # type: ignore[arg-type]


SURE = spec_of("sure", Match.EXACT, "certain")
AS_SURE = spec_of("as_sure", Match.EXACT)
NAMED_LIKE_OURS = spec_of("mine", Match.NO, "tiff")
NO_SPEC = "not a spec"


@pytest.fixture
def install(monkeypatch: pytest.MonkeyPatch) -> Iterator[Install]:
    """Pretend that entry points were installed: name and value, or more of them."""

    def install(**points: str) -> None:
        found = [EntryPoint(name, value, registry.GROUP) for name, value in points.items()]
        monkeypatch.setattr(registry, "entry_points", lambda group: found)
        registry._load.cache_clear()

    yield install
    registry._load.cache_clear()


def test_the_built_in_readers_are_all_there() -> None:
    assert [spec.name for spec in registry.specs()][:4] == [
        "ome_tiff",
        "tif_folder",
        "tif_id",
        "ndtiff",
    ]
    assert registry.broken() == ()


@pytest.mark.parametrize("name", ["ome_tiff", "OME_TIFF", " ome_tif ", "ometiff", "tiff"])
def test_names_and_aliases_in_any_case(name: str) -> None:
    assert registry.get(name).name == "ome_tiff"


def test_no_two_readers_share_a_name() -> None:
    names = [name for spec in registry.specs() for name in (spec.name, *spec.aliases)]
    assert len(names) == len(set(names))


def test_an_unknown_name_lists_those_that_exist() -> None:
    with pytest.raises(UnknownPlugin, match="unknown reader 'czi'; known: ome_tiff, ") as refused:
        registry.get("czi")
    assert "ndtiff" in refused.value.available


@pytest.mark.parametrize(
    ("source", "name"),
    [
        ("ome_artificial", "ome_tiff"),
        ("ome_artificial/single-channel.ome.tif", "ome_tiff"),
        ("ome_multifile_companion", "ome_tiff"),
        ("ome_multifile_companion/multifile.companion.ome", "ome_tiff"),
        ("ome_multifile_master/multifile-Z4.ome.tiff", "ome_tiff"),
        ("ndtiff_v3_12bit_mda", "ndtiff"),
        ("imagej_hyperstacks/zcyx.tiff", "tif_id"),
        ("leica_zstack_folder", "tif_folder"),
        ("mm20alpha_separate_images", "tif_folder"),
    ],
)
def test_real_sources_are_recognised(source: str, name: str) -> None:
    assert registry.find(DATA / source).name == name


FOREIGN = {
    "a.nd2": (b"\xda\xce\xbe\x0a", "ND2 (Nikon)"),
    "a.czi": (b"ZISRAWFILE", "CZI (Zeiss)"),
    "a.lif": (b"\x70\0\0\0", "LIF (Leica)"),
    "a.ims": (b"\x89HDF\r\n\x1a\n", "HDF5 or Imaris"),
    "a.png": (b"\x89PNG\r\n\x1a\n", "PNG"),
    "a.jpg": (b"\xff\xd8\xff\xe0", "JPEG"),
    "a.zip": (b"PK\x03\x04", "ZIP"),
    "a.tif": (b"\xda\xce\xbe\x0a", "ND2 (Nikon)"),
    "a.dcm": (bytes(128) + b"DICM", "DICOM"),
    "a.mov": (b"\0\0\0\x14ftypqt", "MP4 or MOV"),
    "a.roi": (b"\x01\x02", "IFCB"),
}


@pytest.mark.fault("I-11")
@pytest.mark.parametrize(("file", "told"), FOREIGN.items(), ids=list(FOREIGN))
def test_foreign_formats_are_refused_by_name(
    tmp_path: Path, file: str, told: tuple[bytes, str]
) -> None:
    path = tmp_path / file
    path.write_bytes(told[0] + bytes(200))
    with pytest.raises(UnsupportedFormat, match=file) as refused:
        registry.find(path)
    assert refused.value.cause == f"unsupported format {told[1]}"


def test_folders_of_foreign_formats(tmp_path: Path) -> None:
    (tmp_path / "zarr").mkdir()
    (tmp_path / "zarr" / ".zattrs").write_text("{}")
    (tmp_path / "zarr" / ".zgroup").write_text("{}")
    with pytest.raises(UnsupportedFormat, match="unsupported format Zarr"):
        registry.find(tmp_path / "zarr")
    (tmp_path / "packed").mkdir()
    (tmp_path / "packed" / "a.ome.tif.gz").write_bytes(b"\x1f\x8b" + bytes(100))
    with pytest.raises(UnsupportedFormat, match="unsupported format gzip"):
        registry.find(tmp_path / "packed")


def test_sources_that_are_nothing(tmp_path: Path) -> None:
    with pytest.raises(CorruptSource, match="does not exist"):
        registry.find(tmp_path / "absent")
    empty = tmp_path / "empty.tif"
    empty.touch()
    with pytest.raises(CorruptSource, match="is empty"):
        registry.find(empty)
    text = tmp_path / "a.tif"
    text.write_text("text")
    with pytest.raises(UnsupportedFormat, match="no reader takes this file"):
        registry.find(text)
    (tmp_path / "folder").mkdir()
    with pytest.raises(UnsupportedFormat, match="no reader takes this folder"):
        registry.find(tmp_path / "folder")


def test_a_damaged_tiff_file_is_called_so(tmp_path: Path) -> None:
    path = write_pages(tmp_path / "a.tif", planes(3))
    path.write_bytes(path.read_bytes()[:100])
    with pytest.raises(CorruptSource, match=r"a\.tif: page 0: .* was cut off"):
        registry.find(path)


class TestPlugins:
    def test_a_plugin_is_a_reader_as_any(self, install: Install, tmp_path: Path) -> None:
        install(sure=f"{__name__}:SURE")
        assert registry.get("certain") is registry.get("sure") is SURE
        assert registry.find(tmp_path) is SURE
        assert SURE in registry.specs()

    def test_two_that_are_equally_sure_are_named(self, install: Install, tmp_path: Path) -> None:
        install(sure=f"{__name__}:SURE", as_sure=f"{__name__}:AS_SURE")
        with pytest.raises(AmbiguousFormat, match="could be as_sure, sure; name one") as refused:
            registry.find(tmp_path)
        assert refused.value.candidates == ("as_sure", "sure")

    def test_a_broken_one_is_shown_and_stops_no_other(self, install: Install) -> None:
        install(
            absent="no.such.module:SPEC", nothing=f"{__name__}:MISSING", text=f"{__name__}:NO_SPEC"
        )
        causes = {plugin.name: plugin.cause for plugin in registry.broken()}
        assert causes["absent"].startswith("ModuleNotFoundError: No module named 'no'")
        assert causes["nothing"].startswith("AttributeError")
        assert causes["text"].endswith("is not a ReaderSpec")
        assert registry.get("ome_tiff").name == "ome_tiff"
        with pytest.raises(ConfigError, match=r"reader 'absent' .* cannot be used") as refused:
            registry.get("absent")
        assert refused.value.exit_code == 2

    def test_a_name_that_is_taken_is_broken(self, install: Install) -> None:
        install(mine=f"{__name__}:NAMED_LIKE_OURS")
        (plugin,) = registry.broken()
        assert plugin.cause == "imaging_db has a reader 'tiff' too"
        assert registry.get("tiff").name == "ome_tiff"


def test_looking_up_readers_imports_none_of_the_heavy_libraries() -> None:
    code = (
        "import sys; from imaging_db.readers import registry; registry.specs(); "
        "print([m for m in ('tifffile', 'imagecodecs', 'pandas', 'numpy.ma') if m in sys.modules])"
    )
    told = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert told.stdout.strip() == "[]"


def test_names_that_no_file_can_have() -> None:
    path = Path("/tmp") / ("x" * 300)
    with pytest.raises(CorruptSource, match="xxx: "):
        registry.find(path)
    for spec in registry.specs():
        with pytest.raises(ReaderError, match="xxx: "):
            spec.open(path, ReaderOptions())
