"""Calls leave by TLS, to an exchange that proves who it is and to no other (PRODUCT section 4; RFC 5922)."""

import os

from twisted.internet import reactor
from twisted.internet.protocol import Factory, Protocol

from calltrack.sip.framing import Framer
from calltrack.sip.message import Request, parse, respond
from calltrack.sip.tls import ServerCertificate
from tests.interop.harness import OFFICE, InteropTestCase
from tests.sip.test_tls import write_certificate


class BusyExchange(Protocol):
    """Refuses each call with 486."""

    def connectionMade(self):
        self._framer = Framer()

    def dataReceived(self, data):
        for message in map(parse, self._framer.feed(data)[0]):
            self.factory.heard.append(message)
            if isinstance(message, Request) and message.method == b"INVITE":
                self.transport.write(respond(message, 486, to_tag=b"busy"))


class TLSTargetTests(InteropTestCase):
    async def call_over_tls(self, name: str) -> tuple[list, dict]:
        """A call to an exchange at `OFFICE` whose certificate is for `name`: what it heard, and the record."""
        write_certificate(self.folder, "office", names=(name,))
        path = os.path.join(self.folder, "office")
        factory = Factory.forProtocol(BusyExchange)
        factory.heard = []
        port = reactor.listenSSL(0, factory, ServerCertificate(path + ".pem", path + ".key"), interface=OFFICE)
        self.addCleanup(port.stopListening)
        self.configure(trunk=f'[tls]\nauthorities = "{path}.pem"\n')
        await self.route(f"sip:office@{OFFICE}:{port.getHost().port};transport=tls")
        await self.start_engine()
        await self.call("caller-refused").succeeds()
        return factory.heard, await self.record()

    async def test_exchange_that_proves_its_address_gets_the_call(self):
        heard, record = await self.call_over_tls(OFFICE)
        self.assertEqual([message.method for message in heard], [b"INVITE", b"ACK"])
        self.assertTrue(heard[0].all(b"via")[0].startswith(b"SIP/2.0/TLS "))
        self.assertIn(b";transport=tls", heard[0].get(b"contact"))
        self.assertEqual((record["status"], record["sip_code"]), ("BUSY", 486))

    async def test_somebody_else_hears_nothing_and_the_record_says_why(self):
        heard, record = await self.call_over_tls("elsewhere.example")
        self.assertEqual(heard, [])
        self.assertEqual(record["status"], "CHANUNAVAIL")
        self.assertIn(f"its certificate is not for {OFFICE}", record["reason"])
