"""Messages that went wrong: strategies that flip, drop, double, splice, cut and blow up the bytes of good and bad ones.
Knows bytes; nothing of what becomes of them."""

from __future__ import annotations

from typing import Callable

from hypothesis import strategies as st

from tests.torture.messages import MESSAGES

CRUMBS = (
    b"\r\n", b"\n", b"\r", b"\0", b"\\", b'"', b"<", b">", b",", b";", b":", b"=", b"@", b"[", b"]", b"%", b"%00", b" ", b"\t",
    b"\r\n ", b"\r\n\r\n", b"\xff", "‮".encode(), b"0", b"-1", b"4294967296", b"99999999999", b"SIP/2.0", b"sip:", b"tel:",
    b";tag=", b";branch=", b";lr", b"127.0.0.1", b"255.255.255.255", b"[::1]", b"0.0.0.0:0", b"host:-31", b":99999",
)  # fmt: skip
HEADERS = (
    b"Via: SIP/2.0/UDP 198.51.100.7:0;branch=z9hG4bK-0", b"Via: SIP/2.0/UDP host:-31", b"Via:", b"Via: ,", b"From: <sip:a@b>",
    b"To: <sip:a@b>;tag=x", b"Call-ID: ", b"CSeq: 1 ACK", b"CSeq: 0 INVITE", b"Contact: *", b"Contact: <tel:+1>", b"Contact: <sip:a@b",
    b"Contact: <sip:0.0.0.0:0>", b"Record-Route: <sip:[::1]:99999;lr>", b"Record-Route: <>", b"Route: <sip:evil.example;lr>",
    b"Content-Length: 0", b"Content-Length: 5", b"Content-Length: 70000", b"Content-Type: multipart/mixed",
    b"Content-Encoding: gzip", b"Require: 100rel", b"Require: timer", b"Supported: 100rel, timer", b"Session-Expires: 1",
    b"Session-Expires: 90;refresher=uac", b"Min-SE: 99999999", b"Max-Forwards: 0", b"Max-Forwards: 256", b"Accept: */*",
    b"Privacy: id", b"P-Asserted-Identity: <", b"Replaces: a;to-tag=b;from-tag=c", b"Diversion: ,,,", b"RSeq: 0", b"RAck: 1 1 INVITE",
    b"Reason: Q.850;cause=999", b"Expires: 0", b"Event: x", b"Timestamp: ,", b"X:" + b" x" * 500, b"x" * 300,
)  # fmt: skip

Mutation = Callable[[bytes], bytes]


def _somewhere(data: bytes, share: float) -> int:
    return int(share * len(data))


_shares = st.floats(0, 1, exclude_max=True)
_lengths = st.integers(1, 40)


def _flip(share: float, bits: int) -> Mutation:
    def mutate(data: bytes) -> bytes:
        at = _somewhere(data, share)
        return data[:at] + bytes(byte ^ bits for byte in data[at : at + 1]) + data[at + 1 :]

    return mutate


def _drop(share: float, length: int) -> Mutation:
    return lambda data: data[: (at := _somewhere(data, share))] + data[at + length :]


def _repeat(share: float, length: int, times: int) -> Mutation:
    def mutate(data: bytes) -> bytes:
        at = _somewhere(data, share)
        return data[:at] + data[at : at + length] * times + data[at + length :]

    return mutate


def _insert(share: float, crumb: bytes) -> Mutation:
    return lambda data: data[: (at := _somewhere(data, share))] + crumb + data[at:]


def _cut(share: float) -> Mutation:
    return lambda data: data[: _somewhere(data, share)]


def _splice(share: float, other_share: float, other: bytes) -> Mutation:
    return lambda data: data[: _somewhere(data, share)] + other[_somewhere(other, other_share) :]


def _lines(data: bytes) -> tuple[list[bytes], bytes]:
    head, _, body = data.partition(b"\r\n\r\n")
    return head.split(b"\r\n"), b"\r\n\r\n" + body


def _add_header(share: float, header: bytes, times: int) -> Mutation:
    def mutate(data: bytes) -> bytes:
        lines, rest = _lines(data)
        at = 1 + int(share * len(lines))
        return b"\r\n".join([*lines[:at], *[header] * times, *lines[at:]]) + rest

    return mutate


def _repeat_header(share: float, times: int) -> Mutation:
    def mutate(data: bytes) -> bytes:
        lines, rest = _lines(data)
        at = int(share * len(lines))
        return b"\r\n".join([*lines[:at], *[lines[at]] * times, *lines[at + 1 :]]) + rest

    return mutate


def mutated(originals: st.SearchStrategy[bytes]) -> st.SearchStrategy[bytes]:
    """One of `originals` after one to four mutations, a datagram at most."""
    mutation = st.one_of(
        st.builds(_flip, _shares, st.integers(1, 255)),
        st.builds(_drop, _shares, _lengths),
        st.builds(_repeat, _shares, _lengths, st.sampled_from((2, 3, 50, 2000))),
        st.builds(_insert, _shares, st.sampled_from(CRUMBS)),
        st.builds(_cut, _shares),
        st.builds(_splice, _shares, _shares, originals),
        st.builds(_add_header, _shares, st.sampled_from(HEADERS), st.sampled_from((1, 1, 1, 2, 300))),
        st.builds(_repeat_header, _shares, st.sampled_from((0, 2, 2, 3, 300))),
    )

    def apply(original: bytes, mutations: list[Mutation]) -> bytes:
        for mutate in mutations:
            original = mutate(original)
        return original[:65507]

    return st.builds(apply, originals, st.lists(mutation, min_size=1, max_size=4))


TORTURES = tuple(message.data for message in MESSAGES if message.rfc == 4475)
tortures = mutated(st.sampled_from(TORTURES))
