"""The ordered events of a machine."""

import asyncio

import pytest

from imgforge.errors import HostError
from imgforge.machine import ConsoleLine, EndReason, MachineEnded, MachineEvent
from imgforge.machine.event_stream import EventStream

ENDED = MachineEnded(3.0, EndReason.GUEST_SHUTDOWN, "QMP")


async def collect(stream: EventStream) -> list[MachineEvent]:
    return [event async for event in stream.read()]


def test_events_come_in_order_and_end_after_the_end() -> None:
    async def scenario() -> list[MachineEvent]:
        stream = EventStream()
        reading = asyncio.create_task(collect(stream))
        await asyncio.sleep(0)
        stream.put(ConsoleLine(1.0, "a"))
        await asyncio.sleep(0)
        stream.put(ConsoleLine(2.0, "b"))
        stream.put(ENDED)
        stream.put(ConsoleLine(4.0, "too late"))
        return await asyncio.wait_for(reading, 5)

    assert asyncio.run(scenario()) == [ConsoleLine(1.0, "a"), ConsoleLine(2.0, "b"), ENDED]


def test_a_second_reading_after_the_end_ends_at_once() -> None:
    async def scenario() -> list[MachineEvent]:
        stream = EventStream()
        stream.put(ENDED)
        await collect(stream)
        return await asyncio.wait_for(collect(stream), 5)

    assert asyncio.run(scenario()) == []


def test_a_failure_of_the_host_is_raised_after_what_came_before_it() -> None:
    async def scenario() -> None:
        stream = EventStream()
        stream.put(ConsoleLine(1.0, "a"))
        stream.fail(HostError("Console log: disk full."))
        reading = stream.read()
        assert await anext(reading) == ConsoleLine(1.0, "a")
        await anext(reading)

    with pytest.raises(HostError, match="disk full"):
        asyncio.run(scenario())


def test_a_reader_who_sleeps_costs_bounded_memory_and_still_learns_the_end() -> None:
    async def scenario() -> tuple[EventStream, list[MachineEvent]]:
        stream = EventStream()
        for number in range(30_000):
            stream.put(ConsoleLine(float(number), "x" * 4096))
        stream.put(ENDED)
        return stream, await collect(stream)

    stream, events = asyncio.run(scenario())
    assert stream.dropped > 0
    assert len(events) + stream.dropped == 30_001
    assert len(events) * 4096 < 70_000_000
    assert events[-1] == ENDED
