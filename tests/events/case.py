"""What tests of events share: a log in memory, a clock, sinks that remember or misbehave."""

from twisted.internet import defer
from twisted.internet.task import Clock
from twisted.trial.unittest import SynchronousTestCase
from zope.interface import implementer

from calltrack.events.model import TrunkUp
from calltrack.interfaces import IEventSink
from calltrack.storage.url import open_stores
from calltrack.timers import Timers

BEGAN_MS = 1_795_457_000_000  # wall time at second 0 of the clock


def trunk_events(*names):
    return [TrunkUp(id=name, at=BEGAN_MS, trunk=name) for name in names]


@implementer(IEventSink)
class Remembering:
    """`answers`: what `deliver` does next: an exception to fail with, a Deferred to give; then it takes all."""

    threaded = False

    def __init__(self, *answers):
        self.answers = list(answers)
        self.taken = []
        self.asked = 0
        self.started = self.closed = 0

    def start(self, reactor):
        self.started += 1

    def deliver(self, events):
        self.asked += 1
        answer = self.answers.pop(0) if self.answers else None
        if isinstance(answer, Exception):
            raise answer
        if answer is not None:
            return answer
        self.taken += [one.event.id for one in events]
        return defer.succeed(None)

    def close(self):
        self.closed += 1


class EventTestCase(SynchronousTestCase):
    def setUp(self):
        self.clock = Clock()
        self.timers = Timers(self.clock)
        self.stores = open_stores("memory:", None)
        self.events = self.stores.events

    def wall_ms(self):
        return BEGAN_MS + int(self.clock.seconds() * 1000)

    def append(self, *names):
        self.successResultOf(self.events.append(trunk_events(*names)))

    def run_for(self, seconds, step=0.1):
        """Let time pass in small steps."""
        self.clock.pump([step] * round(seconds / step))
