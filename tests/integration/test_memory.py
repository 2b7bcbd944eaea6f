"""Memory stays bounded whatever the file's size: one frame a thread."""

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

PAGES = int(os.environ.get("IMAGING_DB_TEST_PAGES", "120"))  # before tests get a clean environment
PEAK = """
import resource, sys
from imaging_db.cli import data_uploader
code = data_uploader.main(sys.argv[1:])
print(resource.getrusage(resource.RUSAGE_SELF).ru_maxrss // (1024 if sys.platform == 'darwin' else 1))
raise SystemExit(code)
"""


@pytest.mark.skipif(os.name == "nt", reason="Windows does not tell a process its peak")
def test_a_file_of_a_gigabyte_is_uploaded_in_a_tenth_of_it(small_lab: Lab, tmp_path: Path) -> None:
    """Frames of 8 MB; `make torture` does the same with 4 GB."""
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
    small_lab.write_files()
    words = ["--csv", str(small_lab.csv(path)), "--nbr_workers", "2"]
    done = subprocess.run(
        [sys.executable, "-c", PEAK, *words],
        cwd=tmp_path,
        capture_output=True,
        text=True,
        check=True,
    )
    peak_kb = int(done.stdout.split()[-1])
    assert peak_kb < 400_000, f"{path.stat().st_size / 1e9:.1f} GB took {peak_kb} kB"
    small_lab.download(timepoints=PAGES - 1)
    assert list(small_lab.frames_on_disk().values()) == [
        sha256_of_pixels(np.roll(base, PAGES - 1, axis=0))
    ]
