"""A lab with one source, the commands over it, and what they must come to."""

from __future__ import annotations

import json
from pathlib import Path

from imaging_db import ImagingDB
from imaging_db.model import UploadType, sha256_of_bytes, sha256_of_pixels
from tests.support.acquisitions import imagej_stack, pixels
from tests.support.killed import Command, Run
from tests.support.lab import Lab

UPLOADER, DOWNLOADER = "imaging_db.cli.data_uploader", "imaging_db.cli.data_downloader"
WORKERS = 2
FILES = {"a.bin": 12_000_000, "sub/b.bin": 6_000_000, "c.txt": 9}

Truth = dict[str, str]


def write_stack(path: Path, *, seed: int = 0, t: int = 6, side: int = 64) -> Truth:
    """Write a stack of ``8 * t`` frames; return the hash of each frame's pixels by its name."""
    data = imagej_stack(path, t=t, z=4, c=2, seed=seed, side=side)
    return {
        f"im_c{c:03d}_z{z:03d}_t{i:03d}_p000.png": sha256_of_pixels(data[i, z, c])
        for c in range(2)
        for z in range(4)
        for i in range(t)
    }


def write_files(folder: Path) -> Truth:
    """Write a folder of files; return the hash of each file's bytes by its name."""
    truth = {}
    for number, (name, size) in enumerate(FILES.items()):
        data = pixels(size, dtype="uint8", seed=number).tobytes()
        (folder / name).parent.mkdir(parents=True, exist_ok=True)
        (folder / name).write_bytes(data)
        truth[name] = sha256_of_bytes(data)
    return truth


class Desk:
    """Runs the commands of a lab as processes; ``truth`` is what its source holds."""

    def __init__(self, lab: Lab, kind: UploadType) -> None:
        self.lab = lab
        self.kind = kind
        self.source = lab.folder / ("raw" if kind is UploadType.FILE else "stack.tif")
        write = write_files if kind is UploadType.FILE else write_stack
        self.truth = write(self.source)
        login, config = lab.write_files()
        settings = json.loads(config.read_text()) | {"upload_type": kind.value}
        config.write_text(json.dumps(settings))
        self._options = ["--login", str(login), "--config", str(config)]
        self._options += ["--nbr_workers", str(WORKERS)]

    def uploading(self, number: int, *more: str, source: Path | None = None) -> Command:
        path = self.lab.folder / f"{number}-{(source or self.source).name}.csv"
        path.write_text(
            f"dataset_id,file_name\n{self.lab.serial(number)},{source or self.source}\n"
        )
        words = ["--csv", str(path), *self._options, *more]
        return Command(UPLOADER, words, self.lab.folder)

    def upload(self, number: int, *more: str, kill_after: float | None = None) -> Run:
        return self.uploading(number, *more).start().wait(kill_after=kill_after)

    def download(self, number: int, dest: Path, *, kill_after: float | None = None) -> Run:
        words = ["--id", self.lab.serial(number), "--dest", str(dest), *self._options]
        return Command(DOWNLOADER, words, self.lab.folder).start().wait(kill_after=kill_after)

    def seen(self, number: int) -> Truth | None:
        """The hashes of a dataset's objects by name, None where it cannot be seen."""
        with ImagingDB(self.lab.settings) as db:
            if db.find(self.lab.serial(number)) is None:
                return None
            view = db.dataset(self.lab.serial(number))
            if self.kind is UploadType.FILE:
                return {file.name: file.sha256 or "" for file in view.files}
            return {frame.file_name: frame.sha256 or "" for frame in view.frames()}

    def failures(self, number: int) -> list[str]:
        """What `verify` finds wrong with a dataset."""
        with ImagingDB(self.lab.settings) as db:
            report = db.verify(self.lab.serial(number))
        assert report.checked == len(self.truth)
        return [str(failure) for failure in report.failures]

    def keys(self, *numbers: int) -> set[str]:
        """The keys that the store must have of datasets of the source."""
        top = "raw_files" if self.kind is UploadType.FILE else "raw_frames"
        return {f"{top}/{self.lab.serial(n)}/{name}" for n in numbers for name in self.truth}

    def files_in_store(self) -> set[str]:
        """Every file below the folder of the store, whatever it is."""
        root = Path(self.lab.settings.store.access)
        return {p.relative_to(root).as_posix() for p in root.rglob("*") if not p.is_dir()}
