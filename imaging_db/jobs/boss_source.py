"""What the plugins of one Boss configuration say of their source, read and checked."""

from __future__ import annotations

from pathlib import Path

from imaging_db.config.boss import BossConfig
from imaging_db.config.boss_section import Section
from imaging_db.config.paths import expanded
from imaging_db.errors import ConfigError
from imaging_db.model import JSONObject


class BossSource:
    """The parameters of both processors of a configuration; mistakes and what is not used are collected.

    ``path`` holds the parameters of the path processor, ``pixels`` those of the tile or chunk processor.
    """

    def __init__(self, config: BossConfig) -> None:
        self.config = config
        self._problems: list[str] = []
        path, pixels = config.path_processor, config.pixels
        self.path = Section(path.params, f"{path.place}.params", self._problems)
        self.pixels = Section(pixels.params, f"{pixels.place}.params", self._problems)
        self._of_no_effect: JSONObject = {}

    def stop(self) -> None:
        """Raise one `ConfigError` with all that was found, if anything was."""
        if self._problems:
            raise ConfigError([f"{self.config.path}: {problem}" for problem in self._problems])

    def no_effect(self, section: Section, *keys: str) -> None:
        """Tell parameters that said how the client sent pixels: they change nothing of what is read."""
        for key in keys:
            if section.raw(key) is not None:
                self._of_no_effect[section.place_of(key)] = section.raw(key)

    def unused(self) -> JSONObject:
        """Return the parameters that do not tell how the source is read, by JSON path."""
        return self._of_no_effect | self.path.unread() | self.pixels.unread()

    def notes(self) -> tuple[str, ...]:
        """Return a line for each parameter that the plugin does not know."""
        processors = (
            (self.config.path_processor, self.path),
            (self.config.pixels, self.pixels),
        )
        return tuple(
            f"{place} means nothing to {processor.name.rpartition('.')[2]}"
            for processor, section in processors
            for place in section.unread()
        )

    def local_files(self, *sections: Section) -> None:
        """Refuse what is not in folders: the client copied objects of S3 to this computer first."""
        for section in sections:
            if section.text("filesystem", default="local") != "local":
                kind = section.raw("filesystem")
                why = f"{kind!r} is not read here; copy the files or mount the bucket, and write 'local'"
                section.problem("filesystem", why)
            self.no_effect(section, "bucket", "temp_dir")

    def same(self, key: str) -> int:
        """Return a number that both processors tell, and have to tell alike."""
        found = self.path.whole(key, least=1)
        other = self.pixels.whole(key, least=1)
        if found != other:
            self.pixels.problem(key, f"is {other}, and {self.path.place_of(key)} is {found}")
        return found

    def folder(self, key: str, *, first: str) -> str:
        """Return the absolute folder that a parameter names; ``first`` is a file that should be in it.

        An empty name is the working folder itself, or that of the configuration where the file is there.
        """
        named = expanded(self.path.text(key, or_empty=True))
        places = self._places(named)
        found = next((place for place in places if _exists(place / first)), None)
        found = found or next((place for place in places if _exists(place)), None)
        if found is None:
            self.path.problem(key, _not_found(named))
        return str(found or named)

    def file(self, key: str) -> str:
        """Return the absolute path of the file that a parameter of the path processor names."""
        return self._found(self.path, key, self.path.text(key))

    def address(self, section: Section, key: str) -> str:
        """Return an address as it is, or the absolute path of a folder of this computer."""
        text = section.text(key)
        if "://" in text or not text:
            return text
        return self._found(section, key, text)

    def check_aligned(self) -> None:
        """Refuse tiles that would be cut out of two files: a file that is named by tile holds a whole one."""
        for axis, size in zip("xy", self.config.size, strict=False):
            start = self.config.extent[axis][0]
            if start % size:
                before = start - start % size
                self._problems.append(
                    f"ingest_job.extent.{axis}: starts at {start}, but the files hold whole tiles of {size}; "
                    f"write {before} or {before + size}"
                )

    def check_one_timepoint(self) -> None:
        """Refuse timepoints that such a source does not have."""
        if self.config.extent["t"] != (0, 1):
            found = list(self.config.extent["t"])
            self._problems.append(
                f"ingest_job.extent.t: is {found}, but such a source has one timepoint; write [0, 1]"
            )

    def _found(self, section: Section, key: str, text: str) -> str:
        named = expanded(text)
        found = next((place for place in self._places(named) if _exists(place)), None)
        if found is None and text:
            section.problem(key, _not_found(named))
        return str(found or named)

    def _places(self, named: Path) -> list[Path]:
        beside = self.config.path.absolute().parent
        return [(folder / named).absolute() for folder in (Path.cwd(), beside)]


def _not_found(named: Path) -> str:
    if named.is_absolute():
        return f"{str(named)!r} not found"
    return f"{str(named)!r} not found, neither in the working folder nor beside the configuration"


def _exists(path: Path) -> bool:
    try:
        return path.exists()
    except OSError:  # a name that is too long, or a folder that is closed to us
        return False
