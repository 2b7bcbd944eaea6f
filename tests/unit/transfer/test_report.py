"""Progress is told often enough to look alive, and not for every small frame."""

from __future__ import annotations

from imaging_db.transfer import Paced


class Seen:
    """Progress that notes what it was told."""

    def __init__(self) -> None:
        self.told: list[tuple[object, ...]] = []

    def start(self, title: str, total: int) -> None:
        self.told.append((title, total))

    def advance(self, objects: int, nbr_bytes: int) -> None:
        self.told.append((objects, nbr_bytes))

    def finish(self) -> None:
        self.told.append(())


def test_many_small_steps_are_told_in_few_and_none_is_lost() -> None:
    seen = Seen()
    progress = Paced(seen)
    progress.start("a dataset", 10_000)
    for _ in range(10_000):
        progress.advance(1, 3)
    progress.finish()
    first, *steps, last = seen.told
    assert (first, last) == (("a dataset", 10_000), ())
    assert len(steps) < 1000
    assert tuple(map(sum, zip(*steps, strict=True))) == (10_000, 30_000)  # type: ignore[arg-type]


def test_two_datasets_after_each_other_are_told_apart() -> None:
    seen = Seen()
    progress = Paced(seen)
    for name in ("one", "two"):
        progress.start(name, 1)
        progress.advance(1, 5)
        progress.finish()
    assert seen.told == [("one", 1), (1, 5), (), ("two", 1), (1, 5), ()]
