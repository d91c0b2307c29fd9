"""The table of a connection's phases, and the flags beside it."""

from __future__ import annotations

from evio_core.stream import state

PHASES = ("OPENING", "OPEN", "CLOSING", "DETACHING", "GONE")
EVENTS = ("OPENED", "CLOSE", "DETACH", "END", "START")
TOGETHER = ("NOT_READING", "NOT_POLLED")


def test_phases_events_and_flags_are_told_apart() -> None:
    names = [name for name in state.__all__ if isinstance(getattr(state, name), int)]
    for group in (PHASES, EVENTS):
        assert len({getattr(state, name) for name in group}) == len(group)
    flags = {name: getattr(state, name) for name in names if name not in (*PHASES, *EVENTS, *TOGETHER)}
    assert len(set(flags.values())) == len(flags) > 8
    assert all(value.bit_count() == 1 for value in flags.values()), flags


def test_the_table_has_no_way_back_from_the_end() -> None:
    assert all(before != state.GONE for before, _ in state.TRANSITIONS)
    assert {before for before, event in state.TRANSITIONS if event == state.END} == set(range(state.GONE))
