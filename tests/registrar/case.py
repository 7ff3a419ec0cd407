"""A test of the registrar: an engine at 192.0.2.1, an account of project 1, devices of it on the network."""

from twisted.internet.defer import Deferred
from twisted.internet.task import Clock
from twisted.trial.unittest import SynchronousTestCase

from calltrack.registrar.settings import RegistrarSettings
from calltrack.storage.url import open_stores
from calltrack.testing.devices import DOMAIN, Device
from calltrack.testing.engine import TestEngine
from calltrack.testing.network import MemoryNetwork
from calltrack.testing.peers import Peer
from calltrack.tracking.accounts import Accounts
from calltrack.tracking.model import Project, Target

PASSWORD = "GoodPass1"
ACCOUNT = Target(kind="account", address="")
PHONE, SECOND = "203.0.113.9", "203.0.113.10"


class RegistrarTestCase(SynchronousTestCase):
    def setUp(self):
        self.clock = Clock()
        self.network = MemoryNetwork(self.clock)
        self.stores = open_stores("memory:", None)
        self.accounts = Accounts(self.stores.accounts, self.stores.locations, DOMAIN)
        self.now(self.stores.catalog.add_project(Project(id=0, name="Glasses", key="k1")))
        self.account = self.now(self.accounts.set_password(1, PASSWORD))
        self.engine = None
        self.told_up_to = 0  # in the log of events

    def now(self, awaited):
        """The result of something that does not wait."""
        if not isinstance(awaited, Deferred):
            awaited = Deferred.fromCoroutine(awaited)
        return self.successResultOf(awaited)

    def start(self, *targets, stores=None, options=None, **settings):
        """An engine whose number leads to the account, or to these targets; `options`: as of TestEngine."""
        self.engine = TestEngine(
            self.network,
            targets or (ACCOUNT,),
            registrar=RegistrarSettings(**settings),
            stores=stores or self.stores,
            **(options or {}),
        )
        self.registrar = self.engine.registrar
        return self.engine

    def tearDown(self):
        if self.engine is not None:
            self.stop()
            self.network.run(8 * 86400, lambda: not len(self.registrar.locations))
            self.assertEqual(self.engine.settle(), [])

    def stop(self):
        """The engine's registrar ends as the service ends it."""
        self.now(self.registrar.stop())

    def restart(self, **settings):
        """The process is killed and started again."""
        self.registrar.directory.stop()
        self.engine.transports.stop()
        self.start(**settings)

    def phone(self, host=PHONE, port=5060, **options):
        options = {"user": self.account.user, "password": PASSWORD, **options}
        return Device(self.network, host, port, **options)

    def trunk(self):
        return Peer(self.network, "198.51.100.7")

    def asks(self, phone):
        """A REGISTER with the right password is on its way; nobody waits for its answer."""
        phone.send_register()
        phone.send_register(credentials=phone.credentials_for(phone.answer()))

    def registered(self, phone, *arguments, **options):
        """The answer to a registration that succeeds."""
        answer = phone.register(*arguments, **options)
        self.assertEqual(answer.status, 200, answer.reason)
        return answer

    def listed(self, answer):
        """The contacts in an answer: URI and seconds left."""
        found = []
        for value in answer.items(b"contact"):
            uri, _, params = value.partition(b">")
            expires = next(p for p in params.split(b";") if p.startswith(b"expires="))
            found.append((uri.lstrip(b"<"), int(expires[8:])))
        return found

    def held(self, project=1):
        """The contacts that are in memory, and the same ones that are stored."""
        in_memory = [entry.binding for entry in self.registrar.locations.of(project)]
        stored = self.now(self.stores.locations.list(project))
        self.assertEqual(sorted(in_memory, key=lambda b: b.id), sorted(stored, key=lambda b: b.id))
        return [binding.contact for binding in in_memory]

    def logged(self):
        """The events that are in the log since this was asked last."""
        self.told_up_to, found = self.now(self.stores.events.read(self.told_up_to))
        return [one.event for one in found]

    def told(self):
        """The events since this was asked last: type, contact, reason."""
        return [
            (event.type.removeprefix("account."), event.contact, getattr(event, "reason", "")) for event in self.logged()
        ]
