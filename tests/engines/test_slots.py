import asyncio

import pytest

from arte.generation.slots import Slots


def test_half_after_a_refusal_and_one_more_after_a_round_of_answers() -> None:
    slots = Slots(8)
    slots.refused(0)
    assert (slots.now, slots.refusals) == (4.0, 1)
    for _ in range(5):  # 4 + 1/4 + 1/4.25 + 1/4.485 + 1/4.708 = 4.92, and 1/4.92 more
        slots.answered()
    assert slots.now == pytest.approx(5.123, abs=0.001)
    for _ in range(1000):
        slots.answered()
    assert slots.now == 8  # never more than it began with


def test_requests_that_left_together_count_once() -> None:
    slots = Slots(8)
    for _ in range(8):
        slots.refused(0)
    assert (slots.now, slots.refusals) == (4.0, 1)
    slots.refused(1)
    assert (slots.now, slots.refusals) == (2.0, 2)


def test_never_less_than_one() -> None:
    slots = Slots(2)
    for refusals in range(9):
        slots.refused(refusals)
    assert (slots.now, slots.refusals) == (1.0, 9)


def test_no_more_than_so_many_are_inside() -> None:
    most: list[int] = []

    async def work(slots: Slots) -> None:
        async with slots:
            most.append(slots.used)
            await asyncio.sleep(0.001)

    async def main() -> None:
        slots = Slots(3)
        await asyncio.gather(*(work(slots) for _ in range(20)))
        assert slots.used == 0

    asyncio.run(main())
    assert len(most) == 20
    assert max(most) == 3
