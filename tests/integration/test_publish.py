"""A pack to publish: complete, checked by other tools, and honest about what an archive still asks for."""

from __future__ import annotations

import csv
import gzip
import json
import shutil
import subprocess
from pathlib import Path
from typing import Any

import pytest
import tifffile

from imaging_db import ImagingDB
from imaging_db.errors import ConfigError, Conflict, StoreDenied, UsageError
from imaging_db.export import Written
from imaging_db.export.publish import PublishReport, publish
from imaging_db.export.rembi_fields import SECTIONS
from imaging_db.export.rembi_file import read_rembi
from imaging_db.model import UploadType, sha256_of_bytes
from tests.support.acquisitions import imagej_stack
from tests.support.commands import IMAGING_DB, Commands, Done
from tests.support.lab import Lab

ROOT = Path(__file__).parents[2]
WHOLE: dict[str, Any] = {
    "Study": {
        "Title": "A study of stacks that a test made",
        "Description": "Noise in two channels.",
        "Keywords": ["noise", "test"],
        "License": "CC BY 4.0",
        "Release Date": "2027-01-31",
        "Authors": [
            {"Name": "Ada", "Organisation": "Institute", "ORCID": "0000-0002-1825-0097"},
            {"Name": "Ben", "Organisation": "Institute"},
        ],
    },
    "Biosample": {"Organism": "Mus musculus (mouse)", "Biological entity": "Liver"},
    "Specimen": {"Sample preparation protocol": "Fixed."},
    "Image acquisition": {"Imaging method": ["confocal microscopy"]},
}


@pytest.fixture
def two(small_lab: Lab, tmp_path: Path) -> list[str]:
    """Two datasets of a stack each, with a description and a microscope."""
    rows = []
    for number in (1, 2):
        imagej_stack(tmp_path / f"{number}.tif", z=number, seed=number)
        source = str(tmp_path / f"{number}.tif")
        row = {"dataset_id": small_lab.serial(number), "file_name": source}
        rows.append(row | {"description": f"liver {number}"})
    small_lab.config(microscope="Leica SP8").upload_csv(small_lab.csv(rows=rows))
    return [small_lab.serial(1), small_lab.serial(2)]


def published(lab: Lab, serials: list[str], **options: Any) -> PublishReport:
    with ImagingDB(lab.settings) as db:
        return publish(db, serials, lab.folder / "pack", **options)


def said(lab: Lab, sections: dict[str, Any]) -> Path:
    path = lab.folder / "study.json"
    path.write_text(json.dumps(sections))
    return path


def run(commands: Commands, lab: Lab, *words: str, failpoint: str = "") -> Done:
    lab.write_files()
    return commands.run(IMAGING_DB, ["publish", *words], cwd=lab.folder, failpoint=failpoint)


def content(path: Path) -> dict[str, bytes]:
    return {
        file.relative_to(path).as_posix(): file.read_bytes()
        for file in path.rglob("*")
        if file.is_file()
    }


def test_a_pack_holds_images_and_what_an_archive_asks_for(small_lab: Lab, two: list[str]) -> None:
    report = published(small_lab, two, metadata=said(small_lab, WHOLE))
    assert (report.outcome, report.nbr_files) == (Written.EXPORTED, 9)
    images = {f"images/{serial}.ome.tif" for serial in two}
    texts = {
        "MISSING.md",
        "file_list.tsv",
        "manifest-sha256.txt",
        "pack.json",
        "rembi.csv",
        "rembi.json",
        "ro-crate-metadata.json",
    }
    assert set(content(report.path)) == images | texts
    assert [item for item in report.missing if item.required] == []
    for image in report.images:
        assert image.path.parent == report.path / "images"
        with tifffile.TiffFile(image.path) as file:
            assert file.is_ome


@pytest.mark.skipif(shutil.which("sha256sum") is None, reason="sha256sum is not installed")
@pytest.mark.parametrize("to", ["ome-tiff", "ome-zarr"])
def test_sha256sum_checks_every_file(small_lab: Lab, two: list[str], to: str) -> None:
    report = published(small_lab, two[:1], to=to)
    command = ["sha256sum", "--check", "--strict", "manifest-sha256.txt"]
    done = subprocess.run(command, cwd=report.path, capture_output=True, text=True)
    assert done.returncode == 0, done.stderr
    assert len(done.stdout.splitlines()) == report.nbr_files - 1


def test_the_file_list_names_what_distinguishes_the_images(small_lab: Lab, two: list[str]) -> None:
    report = published(small_lab, two)
    lines = (report.path / "file_list.tsv").read_text(encoding="utf-8").splitlines()
    rows = list(csv.DictReader(lines, delimiter="\t"))
    assert list(rows[0]) == ["Files", "Dataset", "Description", "Slices"]
    assert [row["Files"] for row in rows] == [f"images/{serial}.ome.tif" for serial in two]
    assert [row["Description"] for row in rows] == ["liver 1", "liver 2"]
    assert all((report.path / row["Files"]).is_file() for row in rows)


def crate_of(report: PublishReport) -> dict[str, Any]:
    """The entities of the RO-Crate by their id."""
    crate = json.loads((report.path / "ro-crate-metadata.json").read_bytes())
    assert crate["@context"] == "https://w3id.org/ro/crate/1.1/context"
    entities = {entity["@id"]: entity for entity in crate["@graph"]}
    assert len(entities) == len(crate["@graph"])
    return entities


def references(value: Any) -> list[str]:
    """The ids that an entity names."""
    if isinstance(value, dict):
        own = [value["@id"]] if set(value) == {"@id"} else []
        return own + [found for item in value.values() for found in references(item)]
    return (
        [found for item in value for found in references(item)] if isinstance(value, list) else []
    )


@pytest.mark.parametrize("to", ["ome-tiff", "ome-zarr"])
def test_the_crate_is_whole(small_lab: Lab, two: list[str], to: str) -> None:
    """As the specification 1.1 asks: a descriptor, a root with its four properties, parts that are there."""
    report = published(small_lab, two, to=to, metadata=said(small_lab, WHOLE))
    entities = crate_of(report)
    descriptor, root = entities["ro-crate-metadata.json"], entities["./"]
    assert (descriptor["about"], root["@type"]) == ({"@id": "./"}, "Dataset")
    assert descriptor["conformsTo"] == {"@id": "https://w3id.org/ro/crate/1.1"}
    assert root["name"] == WHOLE["Study"]["Title"]
    assert root["description"] == WHOLE["Study"]["Description"]
    assert root["datePublished"] == "2027-01-31"
    assert root["license"] == {"@id": "https://creativecommons.org/licenses/by/4.0/"}
    assert [entities[one["@id"]]["name"] for one in root["author"]] == ["Ada", "Ben"]
    assert root["author"][0] == {"@id": "https://orcid.org/0000-0002-1825-0097"}
    known = {name for entity in entities.values() for name in references(entity)}
    assert known - {"https://w3id.org/ro/crate/1.1"} <= set(entities)
    for part in root["hasPart"]:
        entity, path = entities[part["@id"]], report.path / part["@id"]
        assert entity["@type"] == ("Dataset" if path.is_dir() else "File")
        assert part["@id"].endswith("/") == path.is_dir()
        assert path.exists()
    images = [entities[part["@id"]] for part in root["hasPart"] if "images/" in part["@id"]]
    assert [image["identifier"] for image in images] == two
    assert {image["@type"] for image in images} == {"File" if to == "ome-tiff" else "Dataset"}


def test_what_the_catalog_knows_is_filled_in_and_the_rest_is_listed(
    small_lab: Lab, two: list[str]
) -> None:
    report = published(small_lab, two)
    required = {(item.section, item.field) for item in report.missing if item.required}
    assert ("Study", "License") in required
    assert ("Image acquisition", "Imaging instrument") not in required
    told = (report.path / "MISSING.md").read_text(encoding="utf-8")
    assert "- Study, License: CC0 or CC BY 4.0" in told
    assert "- Image acquisition, Imaging instrument: Leica SP8" in told
    rembi = json.loads((report.path / "rembi.json").read_bytes())
    assert rembi["Study Component"]["Description"] == "liver 1; liver 2"
    assert rembi["Study Component"]["File List"] == "file_list.tsv"
    assert "2 channels, 2 slices" in rembi["Image acquisition"]["Image acquisition parameters"]
    license_ = crate_of(report)["./"]["license"]
    assert license_ == "No license was named: ask the authors before you use it"


@pytest.mark.parametrize("to", ["ome-tiff", "ome-zarr"])
def test_a_pack_does_not_tell_whose_computer_it_was(
    small_lab: Lab, tmp_path: Path, to: str
) -> None:
    """Micro-Manager writes the names of user and computer into what it saves; a download has them."""
    folder = tmp_path / "acquisition"
    folder.mkdir()
    for packed in (ROOT / "sample" / "acquisition").glob("*.gz"):
        (folder / packed.stem).write_bytes(gzip.decompress(packed.read_bytes()))
    secret = b"chriswei"
    assert any(secret in data for data in content(folder).values())
    small_lab.upload_one(folder)
    report = published(small_lab, [small_lab.serial()], to=to)
    assert [name for name, data in content(report.path).items() if secret in data] == []


def test_a_second_run_changes_nothing(small_lab: Lab, two: list[str]) -> None:
    first = published(small_lab, two)
    before = content(first.path)
    again = published(small_lab, two)
    assert again.outcome is Written.ALREADY_THERE
    assert content(first.path) == before
    assert not (small_lab.folder / ".pack.part").exists()


def test_metadata_that_come_later_change_the_texts_alone(small_lab: Lab, two: list[str]) -> None:
    first = published(small_lab, two)
    times = [path.stat().st_mtime_ns for path in sorted((first.path / "images").iterdir())]
    again = published(small_lab, two, metadata=said(small_lab, WHOLE))
    assert again.outcome is Written.EXPORTED
    assert {image.outcome for image in again.images} == {Written.ALREADY_THERE}
    assert [path.stat().st_mtime_ns for path in sorted((again.path / "images").iterdir())] == times
    assert crate_of(again)["./"]["name"] == WHOLE["Study"]["Title"]
    lines = (again.path / "manifest-sha256.txt").read_text().splitlines()
    hashes = dict(line.split("  ")[::-1] for line in lines)
    assert hashes["rembi.json"] == sha256_of_bytes((again.path / "rembi.json").read_bytes())


def test_a_killed_run_leaves_no_pack_and_the_next_one_goes_on(
    small_lab: Lab, two: list[str], commands: Commands
) -> None:
    words = [*two, "--dest", "pack", "--nbr_workers", "1"]
    assert run(commands, small_lab, *words, failpoint="object.fetched:7:kill").code == -9
    assert not (small_lab.folder / "pack").exists()
    report = published(small_lab, two)
    assert [image.outcome for image in report.images] == [Written.ALREADY_THERE, Written.EXPORTED]
    assert not (small_lab.folder / ".pack.part").exists()


def test_a_damaged_image_of_a_pack_is_written_again(small_lab: Lab, two: list[str]) -> None:
    first = published(small_lab, two)
    before = content(first.path)
    image = first.images[0].path
    damaged = bytearray(image.read_bytes())
    damaged[-30] ^= 255
    image.write_bytes(damaged)
    assert published(small_lab, two).outcome is Written.EXPORTED
    assert content(first.path) == before


def test_a_lost_piece_of_an_ome_zarr_is_written_again(small_lab: Lab, two: list[str]) -> None:
    first = published(small_lab, two, to="ome-zarr")
    before = content(first.path)
    pieces = (first.images[1].path / "0" / "c").rglob("*")
    next(piece for piece in pieces if piece.is_file()).unlink()
    assert published(small_lab, two, to="ome-zarr").outcome is Written.EXPORTED
    assert content(first.path) == before


def test_a_pack_keeps_its_name_where_a_run_fails(small_lab: Lab, two: list[str]) -> None:
    pack = published(small_lab, two).path
    (pack / "PROTOCOL.txt").write_text("ours")
    before = content(pack)
    store = Path(small_lab.settings.store.access)
    store.rename(store.with_name("elsewhere"))
    with pytest.raises(StoreDenied):
        published(small_lab, two, metadata=said(small_lab, WHOLE))
    assert content(pack) == before
    assert not (small_lab.folder / ".pack.part").exists()


def test_a_pack_that_a_killed_run_left_is_not_thrown_away_for_another(
    small_lab: Lab, two: list[str], commands: Commands
) -> None:
    pack = published(small_lab, two[:1]).path
    (pack / "PROTOCOL.txt").write_text("ours")
    words = [two[0], "--dest", "pack", "--metadata", str(said(small_lab, WHOLE))]
    failed = run(commands, small_lab, *words, failpoint="file.written:2:kill")
    assert failed.code == -9
    assert not pack.exists()
    with pytest.raises(Conflict, match="a pack of other datasets that a stopped run"):
        published(small_lab, two)
    assert published(small_lab, two[:1]).path == pack
    assert (pack / "PROTOCOL.txt").read_text() == "ours"


@pytest.mark.parametrize(
    ("name", "text"),
    [
        ("a.csv", "section,field,value\nStudy,Authors,Bob\nStudy,Authors.1.Name,Bob\n"),
        ("a.csv", "section,field,value\nStudy,Keywords,x\nStudy,Keywords.1.a,y\n"),
        ("a.csv", f"section,field,value\nStudy,Authors.{'9' * 5000}.Name,Bob\n"),
        ("a.csv", f"section,field,value\nStudy,Description,{'x' * 200_000}\n"),
        ("a.json", "[" * 100_000),
        ("a.json", '{"Study": {"Title": "half a \\ud800 character"}}'),
    ],
)
def test_metadata_that_nobody_would_write_are_an_error_and_no_crash(
    tmp_path: Path, name: str, text: str
) -> None:
    (tmp_path / name).write_text(text)
    with pytest.raises(ConfigError):
        read_rembi(tmp_path / name)


def test_a_folder_that_is_no_pack_of_these_datasets_is_left_alone(
    small_lab: Lab, two: list[str]
) -> None:
    published(small_lab, two[:1])
    with pytest.raises(Conflict, match="is no pack of these datasets; name another folder"):
        published(small_lab, two)
    assert len(list((small_lab.folder / "pack" / "images").iterdir())) == 1
    assert not (small_lab.folder / ".pack.part").exists()


def test_strict_writes_nothing_while_something_is_missing(small_lab: Lab, two: list[str]) -> None:
    whole = said(small_lab, WHOLE | {"Specimen": {}})
    with pytest.raises(ConfigError, match="missing: Specimen, Sample preparation protocol"):
        published(small_lab, two, metadata=whole, strict=True)
    assert not (small_lab.folder / "pack").exists()
    published(small_lab, two, metadata=said(small_lab, WHOLE), strict=True)


@pytest.mark.parametrize(
    ("wrong", "why"),
    [
        ({"Studdy": {}}, r"no section 'Studdy' \(did you mean 'Study'\?\)"),
        ({"Study": {"Titel": "x"}}, r"no field 'Titel' \(did you mean 'Title'\?\)"),
        ({"Study": {"Keywords": "one"}}, "Keywords: a list of texts is needed"),
        ({"Study": {"Authors": [{"Nam": "x"}]}}, r"has no 'Nam' \(did you mean 'Name'\?\)"),
        ({"Study": "x"}, "Study is no object of fields"),
    ],
)
def test_a_mistake_in_the_metadata_is_told_before_anything_is_written(
    small_lab: Lab, two: list[str], wrong: dict[str, Any], why: str
) -> None:
    with pytest.raises(ConfigError, match=why):
        published(small_lab, two, metadata=said(small_lab, wrong))
    assert not (small_lab.folder / "pack").exists()


@pytest.mark.parametrize(
    ("field", "value", "why"),
    [
        ("Title", "Too short", "it has 9 characters, the archive wants 25 or more"),
        ("License", "MIT", "'MIT' is none that the archive takes: CC0 or CC BY 4.0"),
        ("Release Date", "soon", "'soon' is not a date YYYY-MM-DD"),
    ],
)
def test_what_the_archive_would_refuse_counts_as_missing(
    small_lab: Lab, two: list[str], field: str, value: str, why: str
) -> None:
    study = WHOLE["Study"] | {field: value}
    report = published(small_lab, two[:1], metadata=said(small_lab, WHOLE | {"Study": study}))
    assert [item.why for item in report.missing if item.required] == [why]


@pytest.mark.parametrize("name", ["study.json", "study.csv"])
def test_a_template_is_filled_in_and_read_back(
    small_lab: Lab, two: list[str], name: str, commands: Commands
) -> None:
    assert run(commands, small_lab, *two, "--template", name).code == 0
    path = small_lab.folder / name
    assert read_rembi(path)["Image acquisition"]["Imaging instrument"] == "Leica SP8"
    text = path.read_text(encoding="utf-8")
    assert all(field.name in text for fields in SECTIONS.values() for field in fields)
    again = run(commands, small_lab, *two, "--template", name)
    assert again.code == 7
    assert "exists already; name another file" in again.stderr


def test_a_table_in_csv_is_a_row_a_cell(tmp_path: Path) -> None:
    path = tmp_path / "study.csv"
    path.write_text(
        "section,field,value\nStudy,Keywords,noise\nStudy,Keywords,test\n"
        "Study,Authors.1.Name,Ada\nStudy,Authors.1.ORCID,\nStudy,Authors.2.Name,Ben\n"
    )
    authors = [{"Name": "Ada"}, {"Name": "Ben"}]
    assert read_rembi(path) == {"Study": {"Keywords": ["noise", "test"], "Authors": authors}}


def test_the_command_tells_what_is_missing(
    small_lab: Lab, two: list[str], commands: Commands
) -> None:
    done = run(commands, small_lab, two[0], "--dest", "pack")
    assert (done.code, done.stdout.split(":")[0]) == (0, "exported")
    assert "required fields and" in done.stderr
    assert "are missing for the BioImage Archive" in done.stderr
    strict = run(commands, small_lab, two[0], "--dest", "pack2", "--strict")
    assert strict.code == 2
    assert strict.stderr.startswith("error: missing: Study, Title: ")
    assert run(commands, small_lab, two[0]).code == 2


def test_datasets_of_files_are_refused_before_anything_is_written(
    small_lab: Lab, two: list[str], tmp_path: Path
) -> None:
    (tmp_path / "notes.txt").write_text("no image")
    rows = [{"dataset_id": small_lab.serial(3), "file_name": str(tmp_path / "notes.txt")}]
    small_lab.config(upload_type=UploadType.FILE).upload_csv(small_lab.csv(rows=rows))
    with pytest.raises(UsageError, match="holds files, not frames"):
        published(small_lab, [*two, small_lab.serial(3)])
    assert not (small_lab.folder / "pack").exists()
