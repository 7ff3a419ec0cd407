"""What every message of the engine must obey, read from the wire alone. Knows messages; nothing of the engine's inside."""

from __future__ import annotations

from typing import Iterable, NamedTuple

from calltrack.sip.message import Message, Request, Response

T4, TIMEOUT = 5.0, 32.0  # seconds: for as long as a transaction stays at least, after an ACK and without one


class Seen(NamedTuple):
    """A message as it was sent: when, by the engine or by `peer`."""

    at: float  # seconds
    outward: bool  # from the engine
    peer: str
    message: Message


def broken(seen: Iterable[Seen]) -> list[str]:
    """Every law that the engine has broken, in words."""
    seen = list(seen)
    return [*one_final_answer(seen), *numbers_grow(seen), *nothing_after_bye(seen), *cancel_in_its_time(seen)]


def one_final_answer(seen: list[Seen]) -> list[str]:
    """A request gets one final answer, the same each time it is sent, and nothing provisional after it, for as long as
    its transaction is there (section 17.2): the same request is a new one after that. 481 and 482 make no transaction:
    what they depend on, a dialog or call that is there, may have gone when the request is repeated."""
    finals: dict[tuple, tuple[int, float]] = {}
    problems = []
    for at, outward, peer, message in seen:
        if not outward or not isinstance(message, Response):
            continue
        key = peer, message.via.branch, message.cseq
        status, until = finals.get(key, (0, 0.0))
        if message.status == status:
            continue
        if at < until:
            problems.append(f"{at:.3f} {peer} gets {message.summary} after {status}")
        elif message.status >= 200 and message.status not in (481, 482):
            acknowledged = message.cseq[1] == b"INVITE" and message.status >= 300
            finals[key] = message.status, at + (T4 if acknowledged else TIMEOUT)
    return problems


def numbers_grow(seen: list[Seen]) -> list[str]:
    """The sequence numbers of our requests in a dialog grow by one (section 12.2.1.1), up to its BYE."""
    last: dict[tuple[bytes, bytes, bytes], int] = {}
    branches: set[tuple[bytes, bytes]] = set()
    problems = []
    for at, outward, peer, message in seen:
        if not outward or not isinstance(message, Request) or message.method in (b"ACK", b"CANCEL"):
            continue
        if (message.via.branch, message.method) in branches:
            continue
        branches.add((message.via.branch, message.method))
        dialog = message.call_id, message.from_.tag, message.to.tag
        number = message.cseq[0]
        before = last.get(dialog, last.get((*dialog[:2], b""), 0))
        if number != before + 1 and not (dialog not in last and number > before) and message.method != b"BYE":
            problems.append(f"{at:.3f} {peer} gets {message.summary} {number} after {before}")
        last[dialog] = number
    return problems


def nothing_after_bye(seen: list[Seen]) -> list[str]:
    """A dialog that the engine has ended, or seen ended, carries no new request of it but ACK (section 15), BYE
    again where the peer repeats its 2xx after all is over, and NOTIFY, whose subscription ends for itself (RFC 5057)."""
    over: set[tuple[bytes, bytes, bytes]] = set()  # Call-ID, our tag, theirs
    branches: set[tuple[bytes, bytes]] = set()
    problems = []
    for at, outward, peer, message in seen:
        if not outward:
            continue
        if isinstance(message, Response):
            if message.cseq[1] == b"BYE" and message.status == 200:
                over.add((message.call_id, message.to.tag, message.from_.tag))
            continue
        dialog = message.call_id, message.from_.tag, message.to.tag
        key = message.via.branch, message.method
        if key not in branches and message.method not in (b"ACK", b"CANCEL", b"BYE", b"NOTIFY") and dialog in over:
            problems.append(f"{at:.3f} {peer} gets {message.summary} {message.cseq[0]} after BYE")
        branches.add(key)
        if message.method == b"BYE":
            over.add(dialog)
    return problems


def cancel_in_its_time(seen: list[Seen]) -> list[str]:
    """CANCEL waits for a provisional answer (section 9.1)."""
    rung: set[bytes] = set()
    problems = []
    for at, outward, peer, message in seen:
        branch = message.via.branch
        if not outward:
            if isinstance(message, Response) and message.cseq[1] == b"INVITE" and message.status < 200:
                rung.add(branch)
        elif isinstance(message, Request) and message.method == b"CANCEL" and branch not in rung:
            problems.append(f"{at:.3f} {peer} gets CANCEL before it has answered")
    return problems


def unacknowledged(seen: list[Seen]) -> list[str]:
    """Who never acknowledges our 2xx to an INVITE gets BYE in the end (section 13.3.1.4). To be asked when that time is
    over."""
    accepted: dict[tuple[bytes, bytes], str] = {}
    settled: set[tuple[bytes, bytes]] = set()
    for at, outward, peer, message in seen:
        dialog = message.call_id, message.to.tag
        if isinstance(message, Response):
            if outward and message.cseq[1] == b"INVITE" and 200 <= message.status < 300:
                accepted.setdefault(dialog, f"{at:.3f} {peer} was told {message.summary}, said no ACK and got no BYE")
        elif message.method == b"BYE" or (message.method == b"ACK" and not outward):
            settled.update((dialog, (message.call_id, message.from_.tag)))
    return [problem for dialog, problem in accepted.items() if dialog not in settled]


def repeated_2xx(seen: list[Seen]) -> list[str]:
    """A 2xx that comes again is acknowledged again (section 13.2.2.4)."""
    first: dict[tuple, float] = {}
    last: dict[tuple, tuple[float, str]] = {}
    acknowledged: dict[tuple, float] = {}
    for at, outward, peer, message in seen:
        key = message.call_id, message.from_.tag, message.to.tag, message.cseq[0]
        if isinstance(message, Request):
            if outward and message.method == b"ACK":
                acknowledged[key] = at
        elif not outward and message.cseq[1] == b"INVITE" and 200 <= message.status < 300:
            if at < first.setdefault(key, at) + TIMEOUT - 1:
                last[key] = at, peer
    return [
        f"{at:.3f} {peer} repeats its 2xx and hears nothing"
        for key, (at, peer) in last.items()
        if at > first[key] and key in acknowledged and acknowledged[key] < at
    ]
