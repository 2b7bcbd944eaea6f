"""An upload as one writes it in an afternoon: one process, a frame after the other, an ORM row each.

``python -m benchmarks.peers.straight folder SOURCE FOLDER``: page by tifffile, file by ``cv2.imwrite``.
``python -m benchmarks.peers.straight s3 SOURCE FOLDER URL PREFIX``: PNG by Pillow, object by boto3.
"""

from __future__ import annotations

import hashlib
import io
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import tifffile
from sqlalchemy import create_engine
from sqlalchemy.orm import DeclarativeBase, Mapped, Session, mapped_column

from benchmarks.timed import BUCKET, told


class Base(DeclarativeBase):
    """The tables of the peer."""


class Frame(Base):
    """One frame."""

    __tablename__ = "frames"
    id: Mapped[int] = mapped_column(primary_key=True)
    page: Mapped[int]
    file_name: Mapped[str]
    sha256: Mapped[str]


def upload(source: Path, folder: Path, write: Callable[[str, Any], None]) -> None:
    """Write every page by ``write(name, pixels)`` and a row of it."""
    engine = create_engine(f"sqlite:///{folder / 'catalog.sqlite'}")
    Base.metadata.create_all(engine)
    with told(), Session(engine) as session, tifffile.TiffFile(source) as file:
        for number, page in enumerate(file.pages):
            pixels = page.asarray()
            name = f"im_{number:06d}.png"
            sha256 = hashlib.sha256(pixels.tobytes()).hexdigest()
            write(name, pixels)
            session.add(Frame(page=number, file_name=name, sha256=sha256))
            session.commit()
    engine.dispose()


def into_folder(folder: Path) -> Callable[[str, Any], None]:
    """Return a function that writes pixels as a PNG into ``folder/store``."""
    import cv2

    store = folder / "store"
    store.mkdir()

    def write(name: str, pixels: Any) -> None:
        if not cv2.imwrite(str(store / name), pixels):
            raise OSError(f"{name} was not written")

    return write


def into_bucket(url: str, prefix: str) -> Callable[[str, Any], None]:
    """Return a function that puts pixels as a PNG into the bucket."""
    import boto3
    from PIL import Image

    client = boto3.client("s3", endpoint_url=url)

    def write(name: str, pixels: Any) -> None:
        target = io.BytesIO()
        Image.fromarray(pixels).save(target, "PNG")
        client.put_object(Bucket=BUCKET, Key=f"{prefix}/{name}", Body=target.getvalue())

    return write


if __name__ == "__main__":
    kind, source_file, lab_folder, *server = sys.argv[1:]
    writer = into_bucket(*server) if kind == "s3" else into_folder(Path(lab_folder))
    upload(Path(source_file), Path(lab_folder), writer)
