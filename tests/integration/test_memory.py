"""Memory stays bounded whatever the file's size, and however many frames it has.

`make torture` does the same with a file of 4 GB and with 20 000 frames of 1024 x 1024.
"""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest
import tifffile

from imaging_db.model import sha256_of_pixels
from tests.support.acquisitions import pixels
from tests.support.lab import Lab

# read now, because tests run in a clean environment
PAGES = int(os.environ.get("IMAGING_DB_TEST_PAGES", "120"))
FRAMES = int(os.environ.get("IMAGING_DB_TEST_FRAMES", "2000"))
SIDE = int(os.environ.get("IMAGING_DB_TEST_SIDE", "256"))
PEAK = """
import resource, sys
from imaging_db.cli import data_uploader
code = data_uploader.main(sys.argv[1:])
if sys.platform == "linux":  # ru_maxrss would count the process that started this one
    lines = open("/proc/self/status").read().splitlines()
    peak = next(int(line.split()[1]) for line in lines if line.startswith("VmHWM"))
else:
    peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
print(peak // (1024 if sys.platform == "darwin" else 1))
raise SystemExit(code)
"""

pytestmark = pytest.mark.skipif(os.name == "nt", reason="Windows does not tell a process its peak")


def peak_mb(lab: Lab, source: Path, *, number: int = 1) -> float:
    """The most memory (10^6 bytes) that the upload of a source took, in a process of its own."""
    lab.write_files()
    csv = lab.csv(rows=[{"dataset_id": lab.serial(number), "file_name": str(source)}])
    done = subprocess.run(
        [sys.executable, "-c", PEAK, "--csv", str(csv), "--nbr_workers", "2"],
        cwd=lab.folder,
        capture_output=True,
        text=True,
        check=True,
    )
    return int(done.stdout.split()[-1]) * 1024 / 1e6


def test_a_file_of_a_gigabyte_is_uploaded_in_a_fraction_of_it(
    small_lab: Lab, tmp_path: Path
) -> None:
    """Frames of 8 MB."""
    base = np.repeat(pixels(2048, 64), 32, axis=1)

    def rows() -> object:
        for page in range(PAGES):
            yield np.roll(base, page, axis=0)

    path = tmp_path / "big.ome.tif"
    tifffile.imwrite(
        path,
        rows(),
        shape=(PAGES, 2048, 2048),
        dtype="uint16",
        bigtiff=True,
        metadata={"axes": "TYX"},
    )
    peak = peak_mb(small_lab, path)
    assert peak < 300, f"{path.stat().st_size / 1e9:.1f} GB took {peak:.0f} MB"
    small_lab.download(timepoints=PAGES - 1)
    assert list(small_lab.frames_on_disk().values()) == [
        sha256_of_pixels(np.roll(base, PAGES - 1, axis=0))
    ]


@pytest.mark.fault("K7")
def test_a_hundred_times_the_frames_take_the_same_memory(small_lab: Lab, tmp_path: Path) -> None:
    few = peak_mb(small_lab, thin_stack(tmp_path / "few.ome.tif", FRAMES // 100), number=1)
    many = peak_mb(small_lab, thin_stack(tmp_path / "many.ome.tif", FRAMES), number=2)
    assert many < 300
    assert many - few < 5 + FRAMES / 1000, f"{few:.0f} MB, with all {FRAMES} frames {many:.0f} MB"


def thin_stack(path: Path, frames: int) -> Path:
    """Write a stack whose frames are all different: a few rows of noise, the rest a hole in the file."""
    shape = (frames, SIDE, SIDE)
    tifffile.imwrite(path, shape=shape, dtype="uint16", bigtiff=True, metadata={"axes": "TYX"})
    stack = tifffile.memmap(path)
    noise = pixels(64, SIDE)
    for number in range(frames):
        stack[number, : min(32, SIDE)] = np.roll(noise, number)[: min(32, SIDE)]
    stack.flush()
    return path
