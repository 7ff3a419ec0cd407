"""Devices that log in to a SIP account, on the in-memory network:

    phone = Device(network, "203.0.113.9", user=account.user, password="GoodPass1")
    phone.register()  # the final answer: a 200 that lists every contact
    invite = phone.expect("INVITE")

Each answers challenges as a device of its kind would: with both algorithms of RFC 8760, or those it is told. Knows
what a `Peer` knows, and digest.
"""

from __future__ import annotations

from typing import Any

from calltrack.sip.digest import Credentials, DigestClient, base_algorithm, parse_challenges
from calltrack.sip.message import Response
from calltrack.testing.network import MemoryNetwork
from calltrack.testing.peers import Peer

DOMAIN = "calltrack.example"


class Device(Peer):
    """A phone or an exchange. `algorithms`: that it understands; others it leaves alone. `product`: its User-Agent."""

    def __init__(
        self,
        network: MemoryNetwork,
        host: str,
        port: int = 5060,
        *,
        user: str,
        password: str,
        domain: str = DOMAIN,
        algorithms: tuple[bytes, ...] = (b"SHA-256", b"MD5"),
        product: bytes = b"Phone 1.0",
        instance: bytes = b"",
        **options: Any,
    ) -> None:
        super().__init__(network, host, port, **options)
        self.user = user
        self.domain = domain.encode()
        self.algorithms = algorithms
        self.product = product
        self.instance = instance
        self.call_id = b"register-%b-%d" % (host.encode(), port)
        self.cseq = 0
        self.digest = DigestClient(Credentials(user, password))
        self._sent = 0

    @property
    def own_contact(self) -> bytes:
        """Its Contact value, without expiry."""
        suffix = b"" if self.transport == "udp" else b";transport=" + self.transport.encode()
        value = b"<sip:%b@%b%b>" % (self.user.encode(), self.shown, suffix)
        return value + (b';+sip.instance="%b"' % self.instance if self.instance else b"")

    def register(self, expires: int | bytes | None = 3600, **options: Any) -> Response:
        """Register as a device does: once, and again with credentials when it is asked for them. Returns the final
        answer. `options`: as of `send_register`."""
        self.send_register(expires, **options)
        answer = self.answer()
        if answer.status == 401:
            credentials = self.credentials_for(answer)
            if credentials is not None:
                self.send_register(expires, credentials=credentials, **options)
                answer = self.answer()
        return answer

    def credentials_for(self, challenge: Response) -> list[tuple[bytes, bytes]] | None:
        """Headers that answer the challenges in a 401 that it understands; None when there are none that are new."""
        values = [value for value in challenge.all(b"www-authenticate") if self._understands(value)]
        return self.digest.answer(b"REGISTER", self.aor_uri, 401, values)

    def _understands(self, value: bytes) -> bool:
        (challenge,) = parse_challenges([value])
        return base_algorithm(challenge.algorithm) in self.algorithms

    @property
    def aor_uri(self) -> bytes:
        """The Request-URI of its REGISTERs."""
        return b"sip:" + self.domain

    def send_register(
        self,
        expires: int | bytes | None = 3600,
        *,
        contacts: tuple[bytes, ...] | None = None,
        lines: tuple[bytes, ...] = (),
        uri: bytes = b"",
        to: bytes = b"",
        credentials: list[tuple[bytes, bytes]] | None = None,
        cseq: int | None = None,
        call_id: bytes = b"",
        rport: bool = True,
    ) -> bytes:
        """Send one REGISTER; returns it. `expires`: of the Expires header, None for none; `contacts`: whole Contact
        values; `credentials`: headers, unless given those for a challenge that was met before."""
        if cseq is None:
            self.cseq += 1
            cseq = self.cseq
        self._sent += 1
        uri = uri or self.aor_uri
        if credentials is None:
            credentials = self.digest.begin(b"REGISTER", uri)
        aor = b"<sip:%b@%b>" % (self.user.encode(), self.domain)
        via = b"Via: SIP/2.0/%b %b;branch=z9hG4bK-%b-%d-%d" % (
            self.transport.upper().encode(),
            self.shown,
            self.place[0].encode(),
            self.place[1],
            self._sent,
        )
        head = [
            b"REGISTER %b SIP/2.0" % uri,
            via + (b";rport" if rport else b""),
            b"Max-Forwards: 70",
            b"From: %b;tag=%b" % (aor, self.call_id),
            b"To: " + (to or aor),
            b"Call-ID: " + (call_id or self.call_id),
            b"CSeq: %d REGISTER" % cseq,
            b"User-Agent: " + self.product,
        ]
        head += [b"Contact: " + value for value in ((self.own_contact,) if contacts is None else contacts)]
        if expires is not None:
            head.append(b"Expires: " + (expires if isinstance(expires, bytes) else b"%d" % expires))
        head += [name + b": " + value for name, value in credentials]
        data = b"\r\n".join([*head, *lines, b"Content-Length: 0"]) + b"\r\n\r\n"
        self.send(data)
        return data

    def answer(self, within: float = 1.0) -> Response:
        """The final answer to the last REGISTER, which must be the next message."""
        if not self.network.run(within, lambda: self.inbox):
            raise AssertionError(f"{self.place[0]}: no answer to REGISTER in {within} s")
        answer = self.inbox.pop(0)
        assert isinstance(answer, Response) and answer.cseq[1] == b"REGISTER", answer.summary
        return answer
