"""A sample has the size that was asked for, is the same for the same seed, and favours nobody."""

from __future__ import annotations

from collections import Counter

import pytest

from imaging_db.errors import UsageError
from imaging_db.transfer.sample import Sample


def chosen(text: str, total: int, *, seed: int = 0, name: str = "a") -> list[int]:
    return list(Sample.parse(text, seed=seed).chosen(range(total), total=total, name=name))


@pytest.mark.parametrize(
    ("text", "total", "size"),
    [
        ("3", 8, 3),
        ("30", 8, 8),
        ("1%", 8, 1),
        ("50%", 9, 5),
        ("100%", 9, 9),
        ("2", 0, 0),
        ("0.5 %", 1000, 5),
    ],
)
def test_it_has_the_size_that_was_asked_for(text: str, total: int, size: int) -> None:
    found = chosen(text, total)
    assert len(found) == size
    assert found == sorted(set(found))


@pytest.mark.parametrize("text", ["", "0", "-3", "0%", "101%", "3.5", "nan%", "ten", "%", "1e3"])
def test_what_is_no_size_is_refused(text: str) -> None:
    with pytest.raises(UsageError, match="neither a number of objects nor a share"):
        Sample.parse(text)


def test_seed_and_name_choose_it() -> None:
    assert chosen("5", 1000, seed=1) == chosen("5", 1000, seed=1)
    assert chosen("5", 1000, seed=1) != chosen("5", 1000, seed=2)
    assert chosen("5", 1000, name="a") != chosen("5", 1000, name="b")


def test_every_object_is_chosen_equally_often() -> None:
    counts = Counter(number for seed in range(2000) for number in chosen("2", 10, seed=seed))
    assert set(counts) == set(range(10))
    assert all(abs(count - 400) < 90 for count in counts.values())  # five standard deviations


def test_nothing_is_read_behind_the_last_one_chosen() -> None:
    objects = iter(range(10))
    list(Sample.parse("1", seed=3).chosen(objects, total=10, name="a"))
    assert next(objects, None) is not None
