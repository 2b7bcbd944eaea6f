"""The Python API: from a question to an array."""

from __future__ import annotations

from datetime import date
from pathlib import Path

import numpy as np
import pytest
import tifffile

import imaging_db
from imaging_db import ImagingDB
from imaging_db.config import UploadSettings
from imaging_db.errors import ConfigError, DatasetNotFound, NothingSelected, UsageError
from imaging_db.model import UploadType
from imaging_db.transfer import Outcome, UploadPlan
from tests.support.acquisitions import imagej_stack, pixels, tif_folder
from tests.support.lab import Lab


def test_the_package_offers_one_name_and_its_version() -> None:
    assert set(imaging_db.__all__) == {"ImagingDB", "__version__"}
    assert imaging_db.ImagingDB is ImagingDB
    with pytest.raises(AttributeError, match="nonsense"):
        imaging_db.nonsense  # noqa: B018


@pytest.mark.parametrize(
    ("t", "z", "c", "dims"),
    [(2, 3, 2, "XYZCT"), (1, 3, 2, "XYZC"), (2, 1, 1, "XYT"), (1, 1, 1, "XY"), (1, 1, 2, "XYC")],
)
def test_a_stack_has_imagingdbs_order_of_dimensions(
    small_lab: Lab, tmp_path: Path, t: int, z: int, c: int, dims: str
) -> None:
    data = imagej_stack(tmp_path / "a.tif", t=t, z=z, c=c)
    small_lab.upload_one(tmp_path / "a.tif")
    with ImagingDB(small_lab.settings) as db:
        stack, found = db.dataset(small_lab.serial()).stack()
    assert found == dims
    assert np.array_equal(stack, data.transpose(3, 4, 1, 2, 0).squeeze())
    assert stack.dtype == data.dtype


def test_a_selection_need_not_begin_at_0_nor_be_contiguous(lab: Lab, tmp_path: Path) -> None:
    data = imagej_stack(tmp_path / "a.tif", t=5, z=4, c=2)
    lab.upload_one(tmp_path / "a.tif")
    with ImagingDB(lab.settings) as db:
        view = db.dataset(lab.serial())
        frames = view.frames(channels=1, slices=[1, 3], timepoints=slice(1, 5, 2))
        assert len(frames) == 4
        stack, dims = frames.stack()
        table = frames.to_dataframe()
    assert dims == "XYZT"
    assert np.array_equal(stack, data[1:5:2, 1:4:2, 1].transpose(2, 3, 1, 0))
    assert list(table["slice_idx"]) == [1, 1, 3, 3]
    assert table["metadata_json"].map(type).eq(dict).all()


def test_colour_has_its_own_dimension(small_lab: Lab, tmp_path: Path) -> None:
    data = pixels(3, 20, 30, 3, dtype="uint8")
    tifffile.imwrite(tmp_path / "rgb.tif", data, photometric="rgb")
    small_lab.upload_one(tmp_path / "rgb.tif")
    with ImagingDB(small_lab.settings) as db:
        stack, dims = db.dataset(small_lab.serial()).stack()
    assert dims == "XYGZ"
    assert np.array_equal(stack, data.transpose(1, 2, 3, 0))


def test_frames_that_are_absent_are_an_error_or_a_value_that_was_named(
    small_lab: Lab, tmp_path: Path
) -> None:
    imagej_stack(tmp_path / "a.tif", t=2, z=2, c=1)
    small_lab.upload_one(tmp_path / "a.tif")
    with ImagingDB(small_lab.settings) as db:
        frames = db.dataset(small_lab.serial()).frames()
        block = [frame for frame in frames if frame.coords[:3] != (0, 1, 1)]
        from imaging_db.transfer.stack import read_stack

        with pytest.raises(UsageError, match="absent"):
            read_stack(block, frames.read, workers=2)
        stack, _ = read_stack(block, frames.read, workers=2, fill=7)
    assert (stack[:, :, 1, 1] == 7).all()
    assert (stack[:, :, 0, 1] != 7).any()


def test_questions_about_datasets(lab: Lab, tmp_path: Path) -> None:
    imagej_stack(tmp_path / "a.tif")
    tif_folder(tmp_path / "folder")
    rows = [
        {
            "dataset_id": "ISP-2018-06-08-15-45-00-0001",
            "file_name": "a.tif",
            "description": "50% Mitosis",
        },
        {
            "dataset_id": "ML-2019-01-01-00-00-00-0001",
            "file_name": "folder",
            "description": "none",
            "parent_dataset_id": "ISP-2018-06-08-15-45-00-0001",
        },
    ]
    lab.config(microscope="Leica SP8").upload_csv(lab.csv(rows=rows))
    with ImagingDB(lab.settings) as db:

        def found(**criteria: object) -> list[str]:
            return [dataset.serial.partition("-")[0] for dataset in db.datasets(**criteria)]

        assert found() == ["ISP", "ML"]
        assert found(description="mitosis") == ["ISP"]
        assert found(description="%") == ["ISP"]
        assert found(description="_") == []
        assert found(project="ml") == ["ML"]
        assert found(microscope="sp8") == ["ISP", "ML"]
        assert found(start_date=date(2018, 6, 8), end_date=date(2018, 6, 8)) == ["ISP"]
        assert found(start_date=date(2018, 6, 9)) == ["ML"]
        assert found(parent="ISP-2018-06-08-15-45-00-0001") == ["ML"]
        assert found(format="tif_folder") == ["ML"]
        assert found(upload_type=UploadType.FILE) == []
        assert found(text="phase") == ["ML"]
        assert found(text="'; DROP TABLE data_set; --") == []
        assert db.dataset("ML-2019-01-01-00-00-00-0001").dataset.description is None


def test_what_is_not_there_is_told(small_lab: Lab, tmp_path: Path) -> None:
    imagej_stack(tmp_path / "a.tif")
    small_lab.upload_one(tmp_path / "a.tif")
    with ImagingDB(small_lab.settings) as db:
        with pytest.raises(DatasetNotFound):
            db.dataset("NO-2018-06-08-15-45-00-0001")
        with pytest.raises(NothingSelected):
            db.dataset(small_lab.serial()).frames(channels="GFP").stack()
        assert db.find("NO-2018-06-08-15-45-00-0001") is None


def test_a_plan_is_the_whole_truth_and_writes_nothing(new_lab: Lab, tmp_path: Path) -> None:
    imagej_stack(tmp_path / "a.tif")
    path = new_lab.csv(tmp_path / "a.tif")
    with ImagingDB(new_lab.settings) as db:
        (plan,) = db.plan(path)
        assert isinstance(plan, UploadPlan)
        assert len(plan.keys()) == plan.draft.nbr_objects == 8
        assert not Path(new_lab.settings.database.dbname).exists()
        (report,) = db.upload(path)
        assert report.outcome is Outcome.UPLOADED
        assert {found.key for found in db.store.list("")} == plan.keys()


def test_a_parent_must_exist(small_lab: Lab, tmp_path: Path) -> None:
    imagej_stack(tmp_path / "a.tif")
    row = {
        "dataset_id": small_lab.serial(),
        "file_name": "a.tif",
        "parent_dataset_id": small_lab.serial(9),
    }
    with pytest.raises(ConfigError, match=r"files\.csv:2: parent_dataset_id: .* does not exist"):
        small_lab.upload_csv(small_lab.csv(rows=[row]))


def test_a_schema_refuses_the_frame_that_breaks_it(small_lab: Lab, tmp_path: Path) -> None:
    imagej_stack(tmp_path / "a.tif")
    (tmp_path / "schema.json").write_text('{"required": ["MicroManagerMetadata"]}')
    small_lab.settings = small_lab.config(meta_schema=tmp_path / "schema.json").settings
    (report,) = small_lab.upload(tmp_path / "a.tif")
    assert "a.tif: page 0: metadata: 'MicroManagerMetadata' is a required property" in str(
        report.error
    )


def test_a_reader_that_does_not_exist_is_told_before_anything_starts(
    small_lab: Lab, tmp_path: Path
) -> None:
    lab = small_lab.config(frames_format="ome_tif2")
    (tmp_path / "f.csv").write_text("dataset_id\n")
    with pytest.raises(ConfigError) as caught:
        lab.upload_csv(tmp_path / "f.csv")
    assert len(caught.value.problems) == 2
    assert caught.value.problems[1].startswith("unknown reader 'ome_tif2'; known: ")


def test_a_parser_that_does_not_exist_is_told_before_anything_starts(
    new_lab: Lab, tmp_path: Path
) -> None:
    imagej_stack(tmp_path / "a.tif")
    with pytest.raises(ConfigError, match="parse_sms_nme"):
        new_lab.config(filename_parser="parse_sms_nme").upload(tmp_path / "a.tif")
    assert not Path(new_lab.settings.database.dbname).exists()


def test_a_database_that_was_never_used_has_no_datasets(tmp_path: Path) -> None:
    with ImagingDB.connect() as db:
        assert list(db.datasets()) == []


def test_upload_settings_default_to_frames_of_any_format() -> None:
    assert UploadSettings().upload_type is UploadType.FRAMES
    assert UploadSettings().frames_format is None
