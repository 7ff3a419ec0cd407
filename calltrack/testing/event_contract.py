"""What every log of events and every event sink must do, as trial mixins; see `store_contract`."""

from __future__ import annotations

from typing import Any

from twisted.internet.defer import maybeDeferred
from twisted.internet.threads import deferToThread
from zope.interface.verify import verifyObject

from calltrack.errors import NoSuchObject
from calltrack.events.model import Event, Logged, Lost, Pruned, TrunkDown, TrunkUp
from calltrack.interfaces import IEventSink, IEventStore
from calltrack.storage.memory_database import MemoryDatabase
from calltrack.storage.sqlite_events import SQLiteEvents


def trunk_event(event_id: str, at: int = 1_795_457_000_000, **fields: Any) -> Event:
    """A plausible event."""
    return TrunkUp(id=event_id, at=at, trunk="provider", **fields)


def log_in_memory() -> IEventStore:
    """An empty log of events, for stores that write to one."""
    return SQLiteEvents(MemoryDatabase())


class EventStoreContract:
    """`IEventStore`. A test case derives from this and has `make_events`."""

    async def make_events(self) -> IEventStore:
        raise NotImplementedError("a fresh, empty log")

    async def test_provides_its_interface(self) -> None:
        verifyObject(IEventStore, await self.make_events())

    async def test_events_come_back_in_order_as_they_were(self) -> None:
        store = await self.make_events()
        events = [trunk_event("b"), TrunkDown(id="a", at=5, trunk="очки", reason="no answer", project=None)]
        await store.append(events=events)
        seq, found = await store.read(after=0)
        self.assertEqual([one.event for one in found], events)
        self.assertEqual(seq, found[-1].seq)
        self.assertLess(found[0].seq, found[1].seq)
        self.assertEqual(await store.last(), seq)

    async def test_event_is_in_the_log_once(self) -> None:
        store = await self.make_events()
        await store.append(events=[trunk_event("a"), trunk_event("a")])
        await store.append(events=[trunk_event("a", at=7), trunk_event("b")])
        _, found = await store.read(after=0)
        self.assertEqual([one.event for one in found], [trunk_event("a"), trunk_event("b")])

    async def test_pages_join(self) -> None:
        store = await self.make_events()
        await store.append(events=[trunk_event(str(number)) for number in range(5)])
        seen, seq = [], 0
        while True:
            seq, found = await store.read(after=seq, limit=2)
            if not found:
                break
            seen += [one.event.id for one in found]
        self.assertEqual(seen, list("01234"))

    async def test_reading_some_kinds_passes_over_the_others(self) -> None:
        store = await self.make_events()
        await store.append(events=[trunk_event("a", project=1), TrunkDown(id="b", at=1, trunk="x"), trunk_event("c")])
        seq, found = await store.read(after=0, types=["trunk.down"])
        self.assertEqual([one.event.id for one in found], ["b"])
        self.assertEqual(seq, await store.last())
        seq, found = await store.read(after=0, project=1)
        self.assertEqual([one.event.id for one in found], ["a"])

    async def test_get_by_id(self) -> None:
        store = await self.make_events()
        await store.append(events=[trunk_event("a")])
        self.assertEqual((await store.get(event_id="a")).event, trunk_event("a"))
        await self.assertFailure(store.get(event_id="b"), NoSuchObject)

    async def test_new_reader_begins_at_the_end_and_goes_on_where_it_was(self) -> None:
        store = await self.make_events()
        await store.append(events=[trunk_event("a")])
        first = await store.position(reader="r")
        self.assertEqual(first, await store.last())
        await store.append(events=[trunk_event("b")])
        self.assertEqual(await store.position(reader="r"), first)
        await store.advance(reader="r", seq=first + 1)
        self.assertEqual(await store.position(reader="r"), first + 1)

    async def test_old_events_go_when_every_reader_has_them(self) -> None:
        store = await self.make_events()
        start = await store.position(reader="r")
        await store.append(events=[trunk_event("a", at=1), trunk_event("b", at=1), trunk_event("c", at=9)])
        await store.advance(reader="r", seq=start + 1)
        self.assertEqual((await store.prune(before=5, readers={"r": ()})).count, 1)
        self.assertEqual((await store.prune(before=5, readers={"r": ()})).count, 0)
        await store.advance(reader="r", seq=start + 3)
        self.assertEqual((await store.prune(before=5, readers={"r": ()})).count, 1)
        _, found = await store.read(after=0)
        self.assertEqual([one.event.id for one in found], ["c"])

    async def test_what_is_overdue_goes_though_readers_wait_for_it_and_is_counted_for_each(self) -> None:
        store = await self.make_events()
        for reader in ("all", "some", "up to date"):
            await store.position(reader=reader)
        events = [trunk_event("a", at=1), TrunkDown(id="b", at=2, trunk="x"), trunk_event("c", at=3), trunk_event("d", at=8)]
        await store.append(events=events)
        await store.advance(reader="up to date", seq=await store.last())
        readers = {"all": (), "some": ("trunk.down", "trunk.new"), "up to date": ()}
        self.assertEqual((await store.prune(before=5, readers=readers)).count, 0)
        pruned = await store.prune(before=9, readers=readers, overdue=4)
        self.assertEqual(pruned, Pruned(3, {"all": Lost(3, 1, 3), "some": Lost(1, 2, 2)}))
        self.assertEqual((await store.prune(before=9, readers=readers, overdue=4)).count, 0)
        _, found = await store.read(after=await store.position(reader="all"))
        self.assertEqual([one.event.id for one in found], ["d"])

    async def test_reader_that_is_gone_holds_nothing_back(self) -> None:
        store = await self.make_events()
        await store.position(reader="gone")
        await store.append(events=[trunk_event("a", at=1)])
        self.assertEqual((await store.prune(before=5, readers={"r": ()})).count, 1)
        self.assertEqual(await store.position(reader="gone"), await store.last())

    async def test_numbers_go_on_when_the_log_was_emptied(self) -> None:
        store = await self.make_events()
        await store.append(events=[trunk_event("a", at=1)])
        last = await store.last()
        await store.prune(before=5, readers={"r": ()})
        self.assertEqual(await store.last(), last)
        await store.append(events=[trunk_event("b")])
        self.assertGreater(await store.last(), last)


class EventSinkContract:
    """`IEventSink`. A test case derives from this and has `make_sink`, and `delivered`: the ids of the events that have
    arrived where the sink brings them."""

    async def make_sink(self) -> IEventSink:
        raise NotImplementedError("a sink that can be started")

    async def delivered(self) -> list[str]:
        raise NotImplementedError("ids of events, in order")

    def _start(self, sink: IEventSink) -> None:
        from twisted.internet import reactor

        sink.start(reactor)

    async def _deliver(self, sink: IEventSink, *names: str) -> None:
        events = [Logged(number, trunk_event(name)) for number, name in enumerate(names, 1)]
        await (deferToThread(sink.deliver, events) if sink.threaded else maybeDeferred(sink.deliver, events))

    async def test_provides_its_interface(self) -> None:
        verifyObject(IEventSink, await self.make_sink())

    async def test_events_arrive_in_order_and_are_there_when_it_says_so(self) -> None:
        sink = await self.make_sink()
        self._start(sink)
        await self._deliver(sink, "a", "b")
        await self._deliver(sink, "c")
        self.assertEqual(await self.delivered(), ["a", "b", "c"])
        await maybeDeferred(sink.close)

    async def test_events_that_come_again_are_taken_again(self) -> None:
        sink = await self.make_sink()
        self._start(sink)
        await self._deliver(sink, "a")
        await self._deliver(sink, "a")
        self.assertEqual(set(await self.delivered()), {"a"})
        await maybeDeferred(sink.close)

    async def test_sink_that_was_never_used_can_be_closed(self) -> None:
        sink = await self.make_sink()
        self._start(sink)
        await maybeDeferred(sink.close)
