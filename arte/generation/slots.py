"""How many requests are under way at once: fewer while a server is too busy, more again while it is not."""

import asyncio


class Slots:
    """Additive increase, multiplicative decrease, as TCP does (RFC 5681): from `most` on, half after a refusal, and one
    more after as many answers in a row as there are slots.

    Entered for the time of a request: `async with slots:`.
    """

    def __init__(self, most: int) -> None:
        self.most = most
        self.now = float(most)
        self.used = 0
        self.refusals = 0
        """How often the number was halved."""
        self._free = asyncio.Condition()

    async def __aenter__(self) -> None:
        async with self._free:
            await self._free.wait_for(lambda: self.used < int(self.now))
            self.used += 1

    async def __aexit__(self, *_: object) -> None:
        async with self._free:
            self.used -= 1
            self._free.notify_all()

    def answered(self) -> None:
        """A request was answered."""
        self.now = min(self.most, self.now + 1 / self.now)

    def refused(self, refusals_before: int) -> None:
        """A request was refused. Those that began before the last refusal say nothing new: `refusals_before` is what
        `refusals` was when the request began."""
        if refusals_before == self.refusals:
            self.now = max(1.0, self.now / 2)
            self.refusals += 1
