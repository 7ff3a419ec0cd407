"""What was answered to browsers survives `kill -9` at any instant."""

import os
import sys
from pathlib import Path

from twisted.internet import reactor
from twisted.internet.defer import Deferred, gatherResults
from twisted.internet.error import ProcessDone, ProcessTerminated
from twisted.internet.protocol import ProcessProtocol
from twisted.trial.unittest import TestCase

import calltrack
from calltrack.storage.url import open_stores
from calltrack.timers import Timers
from calltrack.tracking.visits import Visits
from tests.tracking.visiting import ADS, SHOP, pool

ROOT = str(Path(calltrack.__file__).parents[1])
ANSWERED = 60  # answers after which the process is killed, in the midst of the next ones

SERVER = """
import itertools, sys, time
from twisted.internet import reactor, task
from calltrack.storage.url import open_stores
from calltrack.timers import Timers
from calltrack.tracking.settings import VisitSettings
from calltrack.tracking.visits import Visits
from tests.tracking.visiting import ADS, BROWSER, SHOP, pool

stores = open_stores("sqlite:" + sys.argv[1], reactor)
visits = Visits(Timers(reactor), lambda: int(time.time() * 1000), stores.visits, VisitSettings(per_address=0))
visits.start()
visits.follow([SHOP], [ADS], pool(400))
hosts = itertools.count(1)

def told(shown):
    number = shown.swaps[0].number if shown.swaps else "-"
    sys.stdout.write(f"{shown.visit} {number}\\n")
    sys.stdout.flush()
    ask()

def ask():
    visits.arrive("shopkey", "https://shop.example/", address=f"2001:db8:0:{next(hosts):x}::1", user_agent=BROWSER).addCallbacks(
        told, lambda _: reactor.callLater(0.01, ask))

for _ in range(8):
    reactor.callWhenRunning(ask)
reactor.run()
"""


class Server(ProcessProtocol):
    """Reads answers and kills the process after so many."""

    def __init__(self):
        self.received, self.errors, self.over = b"", b"", Deferred()

    def outReceived(self, data):
        self.received += data
        if self.received.count(b"\n") >= ANSWERED and self.transport.pid:
            self.transport.signalProcess("KILL")

    def errReceived(self, data):
        self.errors += data

    def processEnded(self, reason):
        reason.trap(ProcessDone, ProcessTerminated)
        self.over.callback(None)


class KillTests(TestCase):
    timeout = 60

    async def test_every_answered_visit_and_its_number_is_there_after_kill_9(self):
        path = os.path.abspath(self.mktemp())
        server = Server()
        environment = {"PYTHONPATH": ROOT, "PATH": os.environ.get("PATH", "")}
        reactor.spawnProcess(server, sys.executable, [sys.executable, "-c", SERVER, path], env=environment)
        await server.over
        lines = [line.decode().split(" ") for line in server.received.split(b"\n")[:-1]]
        self.assertGreaterEqual(len(lines), ANSWERED, server.errors.decode())

        stores = open_stores(f"sqlite:{path}", reactor)
        self.addCleanup(stores.close)
        for cookie, number in lines:
            visit, secret = cookie.split(".")
            self.assertEqual((await stores.visits.get(1, int(visit))).secret, secret)
            if number != "-":
                leases = await stores.visits.leases_of(1, int(visit))
                self.assertEqual([(one.number, one.ended) for one in leases], [(number, None)])

        timers = Timers(reactor)
        self.addCleanup(timers.stop)
        again = Visits(timers, lambda: 2_000_000_000_000, stores.visits)
        self.addCleanup(again.stop)
        again.follow([SHOP], [ADS], pool(400))
        await again.followed()
        shown = await gatherResults([again.beat("shopkey", cookie) for cookie, _ in lines[:20]])
        for (cookie, number), one in zip(lines, shown):
            self.assertEqual(one.visit, cookie)
            if number != "-":
                self.assertEqual(again.attribute(number, 2_000_000_000_000).visit, one.number)
