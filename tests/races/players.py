"""Peers that do what a script tells them, legal or not, as far as they can at that moment; and with the manners that they
are given, what a well-behaved peer does by itself.

Knows messages and the in-memory network; nothing of the engine.
"""

from __future__ import annotations

from typing import Any, Callable

from calltrack.sip.message import Request, Response, parse
from calltrack.testing.peers import Peer, sdp

# What a peer does by itself when the message comes.
MANNERS = ("ack", "ack-failure", "bye", "cancel", "change", "info", "prack", "answer")

BODIES = ("offer", "none", "hold", "broken")
EXTENSIONS = (  # header lines of an INVITE
    (),
    (b"Supported: 100rel",),
    (b"Require: 100rel",),
    (b"Supported: timer", b"Session-Expires: 90"),
    (b"Supported: timer, 100rel", b"Session-Expires: 100;refresher=uac"),
    (b"Supported: timer", b"Session-Expires: 30"),
)
TIMERS = ((), (), (b"Require: timer", b"Session-Expires: 90;refresher=uac"), (b"Session-Expires: 90;refresher=uas",))


class Player(Peer):
    """A peer with `actions`: what a script may tell it, by name; each takes a number that picks a variant."""

    def __init__(self, *place: Any, manners: frozenset[str] = frozenset(), **options: Any) -> None:
        super().__init__(*place, **options)
        self.manners = manners
        self.waiting: list[Request] = []  # requests that it has not given a final answer, in order
        self.asked: list[tuple[bytes, bytes, float]] = []  # branch, method and time of each request it has sent
        self.answered: set[tuple[bytes, bytes]] = set()  # those with a final answer
        self.last = b""
        self._version = 1
        self._rseq = 0  # of its last reliable provisional response
        self._reliable: Response | None = None  # the last one that came
        self._failure: Response | None = None  # the last one to an INVITE

    # What comes and goes

    def send(self, data: bytes) -> None:
        message = parse(data)
        self.last = data
        if isinstance(message, Request):
            key = message.via.branch, message.method
            if message.method != b"ACK" and key not in [asked[:2] for asked in self.asked]:
                self.asked.append((*key, self.network.clock.seconds()))
        elif message.status >= 200:
            via = message.via.branch, message.cseq[1]
            self.waiting = [one for one in self.waiting if (one.via.branch, one.method) != via]
        super().send(data)

    def _received(self, data: bytes) -> None:
        super()._received(data)
        message = self.inbox.pop()
        if isinstance(message, Response):
            self._heard_response(message)
        else:
            self._heard_request(message)

    def _heard_response(self, response: Response) -> None:
        number, method = response.cseq
        if response.status < 200:
            if response.get(b"rseq"):
                self._reliable = response
                if "prack" in self.manners:
                    self.act_prack(1)
            return
        self.answered.add((response.via.branch, method))
        if method != b"INVITE":
            return
        dialog = self._dialogs.get(response.call_id)
        if dialog is None:
            return
        if response.status >= 300:
            self._failure = response
            if "ack-failure" in self.manners and response.via.branch == dialog.branch:
                self.ack_failure(response, dialog)
        elif "ack" in self.manners:
            offered = bool(dialog.invite and parse(dialog.invite).body)
            self.ack(b"" if offered else self.body("offer"), dialog, number)

    def _heard_request(self, request: Request) -> None:
        known = [(one.via.branch, one.method) for one in self.waiting]
        if request.method == b"ACK" or (request.via.branch, request.method) in known:
            return
        self.waiting.append(request)
        method = request.method
        if method == b"BYE" and "bye" in self.manners:
            self.respond(request, 200)
        elif method == b"CANCEL" and "cancel" in self.manners:
            self.respond(request, 200)
            for invite in [one for one in self.waiting if one.method == b"INVITE"]:
                if invite.via.branch == request.via.branch:
                    self.respond(invite, 487)
        elif method in (b"INVITE", b"UPDATE") and request.to.tag and "change" in self.manners:
            self.respond(request, 200, sdp=self.body("offer") if request.body or method == b"INVITE" else b"")
        elif method == b"INVITE" and not request.to.tag and "answer" in self.manners:
            self.respond(request, 200, sdp=self.body("offer"))
        elif method == b"PRACK" and "prack" in self.manners:
            self.respond(request, 200)
        elif method in (b"INFO", b"NOTIFY") and "info" in self.manners:
            self.respond(request, 200)

    def body(self, kind: str) -> bytes:
        """A description that says something new each time."""
        if kind == "none":
            return b""
        if kind == "broken":
            return b"v=0\r\nthis is no description\r\n"
        self._version += 1
        return sdp(self.place[0], 4000, "sendonly" if kind == "hold" else "sendrecv", self._version)

    # What a script may tell it

    def play(self, action: str, variant: int) -> bool:
        """Do it; False when there is nothing to do it to."""
        return ACTIONS[action](self, variant) is not False

    def _pick(self, variant: int, *methods: bytes) -> Request | None:
        found = [one for one in self.waiting if one.method in methods]
        return found[variant % len(found)] if found else None

    def act_invite(self, variant: int) -> None:
        self.invite(body=self.body(BODIES[variant % 4]), lines=EXTENSIONS[variant // 4 % len(EXTENSIONS)])

    def act_answer(self, variant: int, *statuses: int) -> Any:
        """A final or provisional answer to the oldest INVITE outside a dialog."""
        fresh = [one for one in self.waiting if one.method == b"INVITE" and not one.to.tag]
        if not fresh:
            return False
        status = statuses[variant % len(statuses)]
        kind = BODIES[(variant // len(statuses)) % 4] if 180 < status < 300 else "none"
        tag = b"callee" if variant % 3 else b"fork"
        contact = b"" if status > 180 and variant % 7 == 6 else None
        invite = fresh[0]
        lines: tuple[bytes, ...] = TIMERS[variant // 2 % 4] if status == 200 else ()
        if 100 < status < 200 and variant // 4 % 2 and b"100rel" in invite.tokens(b"supported"):
            self._rseq += 2 if variant == 29 else 1
            lines = (b"Require: 100rel", b"RSeq: %d" % self._rseq)
        self.respond(invite, status, *lines, sdp=self.body(kind), tag=tag, contact=contact)
        if 200 <= status < 300 and variant % 5 == 4:  # another phone behind it answers too
            self.waiting.append(invite)

    def act_finish(self, variant: int, *statuses: int) -> Any:
        """A final answer to any request within a dialog."""
        found = [one for one in self.waiting if one.to.tag or one.method != b"INVITE"]
        if not found:
            return False
        request = found[variant % len(found)]
        body = self.body(BODIES[variant % 4]) if request.method in (b"INVITE", b"UPDATE") else b""
        status = statuses[variant % len(statuses)]
        self.respond(request, status, sdp=body if status < 300 else b"")

    def act_within(self, variant: int, method: str) -> Any:
        """A request within the dialog, with a description where that may be."""
        if self.dialog is None:
            return False
        body = self.body(BODIES[variant % 4])
        if method == "INVITE":
            self.reinvite(body)
        else:
            self.request(method, body=body if method == "UPDATE" else b"")

    def act_refer(self, variant: int) -> Any:
        """REFER to a target, to itself, or to a stranger."""
        if self.dialog is None:
            return False
        host = (b"203.0.113.21", b"203.0.113.20", b"203.0.113.66")[variant % 3]
        self.request("REFER", None, b"Refer-To: <sip:office@%b>" % host)

    def act_prack(self, variant: int) -> Any:
        """PRACK the last reliable provisional response that came, or one that never did."""
        response = self._reliable
        dialog = self._dialogs.get(response.call_id) if response is not None else None
        if dialog is None:
            return False
        number = int(response.get(b"rseq")) + (variant % 5 == 4)
        body = self.body("offer") if variant % 7 == 6 else b""
        self.request("PRACK", dialog, b"RAck: %d %b" % (number, response.get(b"cseq")), body=body)

    def act_wrong(self, variant: int) -> Any:
        """A request within the dialog that is not right."""
        dialog = self.dialog
        if dialog is None:
            return False
        method = ("BYE", "INVITE", "INFO", "UPDATE")[variant % 4]
        if variant % 3 == 0:
            self.request(method, cseq=max(0, dialog.cseq - 1))
        elif variant % 3 == 1:
            remote = dialog.remote
            dialog.remote += b"x" if b";tag=" in remote else b";tag=nobody"
            self.request(method)
            dialog.remote = remote
        else:
            self.request(("FROB", "PRACK", "REFER", "SUBSCRIBE", "MESSAGE", "OPTIONS")[variant % 6])

    def act_cancel(self, variant: int) -> Any:
        if self.dialog is None or not self.dialog.invite:
            return False
        self.cancel()

    def act_ack(self, variant: int) -> Any:
        if self.dialog is None or not self.dialog.invite_cseq:
            return False
        self.ack(self.body(BODIES[variant % 4]), cseq=self.dialog.invite_cseq + (variant % 5 == 4))

    def act_ack_failure(self, variant: int) -> Any:
        if self._failure is None or self.dialog is None or not self.dialog.invite:
            return False
        self.ack_failure(self._failure)

    def act_again(self, variant: int) -> Any:
        """The last message once more."""
        if not self.last:
            return False
        self.send(self.last)

    def act_invite_again(self, variant: int) -> Any:
        if self.dialog is None or not self.dialog.invite:
            return False
        self.send(self.dialog.invite)

    def act_stray(self, variant: int) -> None:
        """A response to nothing."""
        status = (180, 200, 487, 481)[variant % 4]
        self.send(
            b"SIP/2.0 %d Stray\r\nVia: SIP/2.0/UDP 192.0.2.1:5060;branch=z9hG4bKstray%d\r\nFrom: <sip:a@b>;tag=1\r\n"
            b"To: <sip:c@d>;tag=2\r\nCall-ID: stray\r\nCSeq: 1 INVITE\r\nContact: <sip:c@%b>\r\nContent-Length: 0\r\n\r\n"
            % (status, variant, self.shown)
        )


def _with(act: Callable[..., Any], *arguments: Any) -> Callable[[Player, int], Any]:
    return lambda player, variant: act(player, variant, *arguments)


P = Player
ACTIONS: dict[str, Callable[[Player, int], Any]] = {
    "invite": P.act_invite,
    "ring": _with(P.act_answer, 180, 183, 100, 199),
    "take": _with(P.act_answer, 200),
    "refuse": _with(P.act_answer, 486, 503, 302, 480, 401, 603, 500),
    "ok": _with(P.act_finish, 200),
    "no": _with(P.act_finish, 481, 491, 488, 500, 408, 401, 100, 180),
    "bye": _with(P.act_within, "BYE"),
    "reinvite": _with(P.act_within, "INVITE"),
    "update": _with(P.act_within, "UPDATE"),
    "info": _with(P.act_within, "INFO"),
    "prack": P.act_prack,
    "refer": P.act_refer,
    "wrong": P.act_wrong,
    "cancel": P.act_cancel,
    "ack": P.act_ack,
    "ack-failure": P.act_ack_failure,
    "again": P.act_again,
    "invite-again": P.act_invite_again,
    "stray": P.act_stray,
}
CALLER = tuple(name for name in ACTIONS if name not in ("ring", "take", "refuse"))
TARGET = tuple(name for name in ACTIONS if name not in ("invite",))
