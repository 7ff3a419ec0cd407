"""Streams that the kernel carries in the place of two lanes: how they are handed over, counted and taken back.

A stream is handed over in three steps, each for many streams at once: our ends are no longer tracked (so that no packet
can make an entry of its own any more), the entry that forwards is put in, and the switch is thrown. Taking back throws
the switch first. In either direction a packet goes one way or the other, never both, never none.

What has been handed over is not trusted blindly: another program's firewall may drop what is forwarded. A stream of
which nothing has left between two looks is taken back; when its packets then come to the lanes again, the kernel has failed it.

Knows lanes, the table and the entries; knows no sessions but as what they belong to. Time comes in as `now`.
"""

from __future__ import annotations

import errno
from collections.abc import Callable, Iterable, Iterator
from typing import Any

from twisted.logger import Logger

from calltrack.media import conntrack
from calltrack.media.conntrack import Address, Path
from calltrack.media.filter_table import Count, FilterTable
from calltrack.media.lanes import Lane
from calltrack.media.netlink import Netlink

_LIFE = 30  # seconds that an entry waits for its first packet
_PATIENCE = 0.2  # seconds after the first look at a stream in which something must have left: ticks may come late
_JUDGED = 6  # ticks in which its packets must have come to the lanes again
_HEADERS = {4: 28, 6: 48}  # bytes of IP and UDP before a packet's payload
_IDLE_SWEEPS = 6  # without a packet, after which nobody talks any more in a call of an earlier run
_HOPELESS = (errno.EPERM, errno.ENOENT)  # no privilege, no table: not the single stream's fault
_SLICE = 200  # streams that are dealt with before the reactor's other business has its turn

_log = Logger()


class StreamBypass:
    """One stream: lane `a` of the caller, lane `b` of the target. See `lanes.Bypass`."""

    __slots__ = ("_all", "_counted", "_known", "a", "b", "looked", "looks", "owner", "path")

    def __init__(self, every: Bypasses, owner: Any, a: Lane, b: Lane, path: Path) -> None:
        self._all = every
        self.owner = owner
        self.a, self.b, self.path = a, b, path
        self._counted = [Count(0, 0), Count(0, 0)]  # of a's packets, of b's
        self._known: tuple[int, int] | None = None  # what the lanes had, once nothing of before can wait in them
        self.looked: float | None = None  # seconds; when it was first looked at
        self.looks = 0  # since it was taken back unseen

    @property
    def senders(self) -> list[Address]:
        """Our addresses that a's packets and b's packets leave from."""
        return [self.path.towards_b, self.path.towards_a]

    @property
    def alive(self) -> bool:
        """Whether packets of both sides have left."""
        return all(count.packets for count in self._counted)

    @property
    def strayed(self) -> bool:
        """Whether packets have come to the lanes all the same: the entry is gone."""
        return self._known is not None and self._known != (self.a.packets, self.b.packets)

    def settle(self) -> None:
        """Nothing waits in the sockets any more of what was there when the switch was thrown: none may come now."""
        self._known = (self.a.packets, self.b.packets)

    def note(self, which: int, count: Count) -> None:
        """So much has left in all, of a's packets (0) or b's (1)."""
        before = self._counted[which]
        packets = count.packets - before.packets
        if packets > 0:
            lane = self.b if which else self.a
            strayed = self.strayed
            lane.count(packets, count.bytes - before.bytes - packets * _HEADERS[self.path.version])
            self._counted[which] = count
            if self._known is not None and not strayed:
                self.settle()

    def look(self) -> None:
        self._all.look([self])

    def end(self) -> None:
        self._all.end(self)


class Bypasses:
    """All streams that the kernel carries. `begin` and `tick` raise OSError when the kernel refuses everything, such as after
    somebody has deleted the table; then nothing new is in it."""

    def __init__(self, table: FilterTable, ended: Callable[[StreamBypass], None]) -> None:
        """`ended` is called with each stream that is taken back."""
        self.table = table
        self._entries = Netlink()
        self._ended = ended
        self._fresh: list[StreamBypass] = []  # of which nothing has been seen yet, or something still waits in the sockets
        self._suspects: list[tuple[StreamBypass, tuple[int, int]]] = []  # taken back unseen, with what the lanes had
        self._by_sender: dict[Address, tuple[StreamBypass, int]] = {}
        self.active: dict[StreamBypass, None] = {}  # in the order of their beginning
        # What an earlier run left, or what could not be taken out: packets each way, sweeps without any.
        self.left_behind: dict[Path, tuple[int, int, int]] = {}
        self.knocked: set[Lane] = set()
        self.gone = False  # whether the table is
        self.proven = False  # whether anything has ever come out
        self.failed_in_a_row = 0
        self.handed_over = self.handed_back = self.undelivered = self.refused = 0

    def close(self) -> None:
        """Close the sockets; everything must have ended."""
        self._entries.close()
        self.table.close()

    @property
    def reserved(self) -> set[int]:
        """Ports that no new call may have yet."""
        return {end[1] for path in self.left_behind for end in (path.towards_a, path.towards_b)}

    def clear(self) -> None:
        """Take out what an earlier run left."""
        left, self.left_behind = self.left_behind, {}
        for path in left:
            self._take_out(path)

    def begin(self, streams: list[tuple[Any, Lane, Lane]]) -> None:
        """Hand over streams: (owner, lane of the caller, lane of the target). Those that the kernel does not take are barred."""
        if not self.proven:
            ahead = any(bypass in self.active for bypass in self._fresh)
            streams = streams[: 0 if ahead else 1]  # one goes ahead of all others
        paths = {}
        for owner, a, b in streams:
            (source, towards), (far_source, far_towards) = a.ends, b.ends
            path = Path(source, towards, far_source, far_towards)
            paths[path] = StreamBypass(self, owner, a, b, path)
        if not paths:
            return
        try:
            self._install(paths)
        except OSError as error:
            if error.errno in _HOPELESS:
                raise
            for path, bypass in paths.items():
                try:
                    self._install({path: bypass})
                except OSError as error:
                    self._refuse("a stream was not taken", error)
                    self._bar(bypass)

    def look(self, bypasses: Iterable[StreamBypass]) -> None:
        """Tell the lanes of these what has been carried up to now."""
        bypasses = list(bypasses)
        senders = [sender for bypass in bypasses for sender in bypass.senders]
        try:
            counts = self.table.count(senders)
        except OSError as error:
            self._refuse("counters could not be read", error)
            return
        for place, bypass in enumerate(bypasses):
            for which in (0, 1):
                count = counts[2 * place + which]
                if count is not None:
                    bypass.note(which, count)

    def end(self, bypass: StreamBypass) -> None:
        """Take a stream back."""
        if bypass not in self.active:
            return
        self.look([bypass])
        self.proven = self.proven or bypass.alive
        del self.active[bypass]
        for sender in bypass.senders:
            del self._by_sender[sender]
        self._take_out(bypass.path)
        self.handed_back += 1
        for lane in (bypass.a, bypass.b):
            self.knocked.discard(lane)
            lane.bypass_ended()
        self._ended(bypass)

    def tick(self, now: float) -> list[StreamBypass]:
        """To be called a few times a second: see what becomes of streams that have just been handed over. The streams at
        whose doors somebody has knocked, with fresh figures, those too that have ended just now: whoever it was, their
        sessions know."""
        self._judge()
        fresh, self._fresh = [bypass for bypass in self._fresh if bypass in self.active], []
        knocked = list({lane.bypass: None for lane in self.knocked})
        if fresh or knocked:
            self.look({bypass: None for bypass in (*fresh, *knocked)})
        for bypass in fresh:
            if bypass.looked is None:
                bypass.looked = now
            if bypass.alive:
                self.proven = True
                self.failed_in_a_row = 0
                if bypass.a.waiting or bypass.b.waiting:
                    self._fresh.append(bypass)
                else:
                    bypass.settle()
            elif now - bypass.looked < _PATIENCE:
                self._fresh.append(bypass)
            else:
                self.end(bypass)
                self._suspects.append((bypass, (bypass.a.packets, bypass.b.packets)))
        return knocked

    def hush(self) -> None:
        """Who knocked has been dealt with: tell of the next."""
        for lane in self.knocked:
            if lane.bypass is not None:
                lane.hush()
        self.knocked.clear()

    def sweep(self) -> Iterator[list[StreamBypass]]:
        """Count everything. Gives the streams, some at each step, with fresh figures; those whose entry is gone end.
        Raises OSError when the table is gone."""
        seen: set[Address] = set()
        sent: dict[Address, int] = {}
        for version in (4, 6):
            for counts in self.table.counts(version):
                for sender, count in counts.items():
                    found = self._by_sender.get(sender)
                    if found is not None:
                        found[0].note(found[1], count)
                        seen.add(sender)
                    elif self.left_behind:
                        sent[sender] = count.packets
                yield []
        every = list(self.active)
        for start in range(0, len(every), _SLICE):
            some = [bypass for bypass in every[start : start + _SLICE] if bypass in self.active]
            for bypass in some:
                if bypass.strayed or not seen.issuperset(bypass.senders) and None in self.table.count(bypass.senders):
                    self.end(bypass)
            yield [bypass for bypass in some if bypass in self.active]
        self._clean(sent)

    def adopt(self) -> int:
        """Take over what an earlier run of ours has left in the kernel, as streams of calls that may still be talked in: it
        is let alone while packets pass and taken out when none do. How many. Raises OSError."""
        for source, destination in self.table.flows():
            if any(destination in (path.towards_a, path.towards_b) for path in self.left_behind):
                continue
            (answer,) = self._entries.ask([conntrack.look_up(source, destination)])
            path = conntrack.read(answer) if isinstance(answer, bytes) else None
            if path is None:
                self.table.forget(source, destination)
            else:
                self.left_behind[path] = (0, 0, 0)
        return len(self.left_behind)

    # Inside

    def _install(self, paths: dict[Path, StreamBypass]) -> None:
        self.table.own(paths)
        requests = []
        for path in paths:
            requests.append(conntrack.delete(path.a, path.towards_a))  # of packets from before
            requests.append(conntrack.delete(path.b, path.towards_b))
            requests.append(conntrack.insert(path, _LIFE))
        try:
            outcomes = self._entries.ask(requests)[2::3]
        except OSError:
            self.table.disown(paths)
            raise
        taken = {path: paths[path] for path, outcome in zip(paths, outcomes) if outcome == 0}
        for path, outcome in zip(paths, outcomes):
            if outcome != 0:
                self._refuse("an entry was not taken", OSError(outcome, errno.errorcode.get(outcome, "?")))
                self._bar(paths[path])
                self.table.disown([path])
        try:
            self.table.switch_on(taken)
        except OSError:
            self._entries.ask([conntrack.delete(path.a, path.towards_a) for path in taken])
            self.table.disown(taken)
            raise
        for bypass in taken.values():
            self.active[bypass] = None
            self._fresh.append(bypass)
            for which, sender in enumerate(bypass.senders):
                self._by_sender[sender] = (bypass, which)
            for lane in (bypass.a, bypass.b):
                lane.let_pass(bypass, self.knocked.add)
        self.handed_over += len(taken)

    def _take_out(self, path: Path) -> None:
        """Leave nothing of a stream in the kernel; what is gone already, is."""
        try:
            if not self.gone:
                self.table.switch_off(path)
            self._entries.ask([conntrack.delete(path.a, path.towards_a)])
        except OSError as error:
            self._refuse("a stream could not be taken back", error)
            self.left_behind[path] = (0, 0, 0)

    def _judge(self) -> None:
        """Streams that nothing came out of: do their packets come to the lanes, now that those are asked?"""
        suspects, self._suspects = self._suspects, []
        for bypass, before in suspects:
            now = bypass.a.packets, bypass.b.packets
            bypass.looks += 1
            if all(after != had for after, had in zip(now, before)):
                self.undelivered += 1
                self.failed_in_a_row += 1
                self._bar(bypass)
                _log.warn(
                    "the kernel forwarded nothing from {path.a[0]} to {path.b[0]} although packets came: does a firewall "
                    "drop forwarded packets? The call is relayed by this process",
                    path=bypass.path,
                )
            elif bypass.looks < _JUDGED and bypass.a.bypass is None:
                self._suspects.append((bypass, before))

    def _bar(self, bypass: StreamBypass) -> None:
        bypass.a.barred = bypass.b.barred = True

    def _clean(self, sent: dict[Address, int]) -> None:
        for path, before in list(self.left_behind.items()):
            now = sent.get(path.towards_a, 0), sent.get(path.towards_b, 0)
            idle = before[2] + 1 if now == before[:2] else 0
            self.left_behind[path] = (*now, idle)
            if idle >= _IDLE_SWEEPS:
                del self.left_behind[path]
                self._take_out(path)

    def _refuse(self, what: str, error: OSError) -> None:
        self.refused += 1
        _log.warn("the kernel's packet filter: {what}: {error}", what=what, error=error)
