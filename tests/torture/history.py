"""What several commands did to one dataset, and whether there is an order of them that explains it.

Each command is one or several steps that happen at once, at some moment between its beginning and its end:
a download sees a state, an upload makes one out of none, a deletion makes none, a replacement does both.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from functools import cache

State = str | None
"""The name of the source whose content the dataset has, None where there is none."""


@dataclass(frozen=True)
class Step:
    """What must be seen at one moment, and what is there afterwards; ``perhaps`` it did not happen."""

    before: frozenset[State]
    after: State = None
    changes: bool = False
    perhaps: bool = False

    def lead(self, state: State) -> Iterator[State]:
        """Yield the state that follows, nothing where this cannot happen now."""
        if state in self.before:
            yield self.after if self.changes else state
        if self.perhaps:
            yield state


@dataclass(frozen=True)
class Event:
    """A command that came to an end: when it ran, and the steps that its result tells of."""

    began: float
    ended: float
    steps: tuple[Step, ...]
    told: str = ""


def saw(state: State) -> tuple[Step, ...]:
    return (Step(frozenset([state])),)


def uploaded(name: str) -> tuple[Step, ...]:
    """A dataset came about, or was there with the same content."""
    return (Step(frozenset([None, name]), name, changes=True),)


def deleted(*sources: str) -> tuple[Step, ...]:
    return (Step(frozenset(sources), None, changes=True),)


def perhaps_deleted(*sources: str) -> tuple[Step, ...]:
    """A replacement that lost to another run may have taken the old one away before."""
    return (Step(frozenset(sources), None, changes=True, perhaps=True),)


def replaced(name: str, *sources: str) -> tuple[Step, ...]:
    """Whatever was there went, and then it came; or it was there with the same content."""
    return (Step(frozenset([*sources, None]), None, changes=True), *uploaded(name))


def explained(events: Sequence[Event], first: State) -> bool:
    """Whether some order of all steps explains every result, beginning with a state."""

    @cache
    def goes_on(done: tuple[int, ...], state: State) -> bool:
        open_events = [n for n, event in enumerate(events) if done[n] < len(event.steps)]
        if not open_events:
            return True
        earliest_end = min(events[n].ended for n in open_events)
        for n in open_events:
            event = events[n]
            if event.began > earliest_end:
                continue  # another had ended before this one began
            moved = tuple(count + (n == place) for place, count in enumerate(done))
            if any(goes_on(moved, after) for after in event.steps[done[n]].lead(state)):
                return True
        return False

    return goes_on((0,) * len(events), first)


def events_told(events: Sequence[Event]) -> str:
    """A history for people."""
    start = min(event.began for event in events)
    return "\n".join(
        f"{event.began - start:8.4f} to {event.ended - start:8.4f}: {event.told}"
        for event in sorted(events, key=lambda event: event.began)
    )
