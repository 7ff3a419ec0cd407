"""How fast a client reads an answer that is long or has no end: what waits for it must not fill the memory.

Knows requests, and that an answer without an end looks for news again and again; nothing of what is sent.
"""

from __future__ import annotations

from typing import Any

from twisted.internet.defer import Deferred
from twisted.internet.interfaces import IPushProducer
from twisted.internet.task import LoopingCall
from twisted.web.iweb import IRequest
from zope.interface import implementer


@implementer(IPushProducer)
class Flow:
    """From the first byte of an answer to `end`. `full`: as much waits for the client as may; `gone`: it has hung up."""

    def __init__(self, request: IRequest) -> None:
        self.full = self.gone = False
        self._request = request
        self._waiting: Deferred[None] | None = None
        request.notifyFinish().addBoth(self._left)
        request.registerProducer(self, True)

    def end(self) -> None:
        """Everything is written that will be."""
        if not self.gone:
            self._request.unregisterProducer()

    def cut(self) -> None:
        """What is missing will not come: the connection breaks, so that nobody takes the answer for whole."""
        if not self.gone:
            self._request.channel.transport.abortConnection()

    async def room(self) -> None:
        """Until the client has read enough, or is gone."""
        if self.full and not self.gone:
            self._waiting = Deferred()
            await self._waiting

    def pauseProducing(self) -> None:
        self.full = True

    def resumeProducing(self) -> None:
        self.full = False
        self._go_on()

    def stopProducing(self) -> None:
        self.gone = True
        self._go_on()

    def _left(self, _: Any) -> None:
        self.stopProducing()

    def _go_on(self) -> None:
        waiting, self._waiting = self._waiting, None
        if waiting is not None and not waiting.called:
            waiting.callback(None)


class Stream:
    """An answer that has no end: `look` sends what is new, as long as its client stays."""

    _flow: Flow  # from `until_gone` on

    def __init__(self, request: IRequest) -> None:
        self._request = request
        self._looking = LoopingCall(lambda: Deferred.fromCoroutine(self.look()))

    async def look(self) -> None:
        """To be written by whoever derives from this: find what is new and write it, or `stop`."""
        raise NotImplementedError

    async def until_gone(self, every: float) -> None:
        """Look every so many seconds, and at once, until the client hangs up or `stop`. Raises what `look` raises."""
        self._request.notifyFinish().addBoth(lambda _: self.stop())
        self._flow = Flow(self._request)
        try:
            await self._looking.start(every)
        finally:
            self._flow.end()

    @property
    def going(self) -> bool:
        """Whether anybody is still to be told. A look that has waited for something asks before it writes."""
        return self._looking.running

    def stop(self) -> None:
        """No look after this one. Idempotent."""
        if self._looking.running:
            self._looking.stop()
