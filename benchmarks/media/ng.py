"""A small client of rtpengine's NG protocol: bencoded dictionaries over UDP, each after a cookie."""

from __future__ import annotations

import itertools
import os
import socket


class NG:
    """Commands to one rtpengine, one at a time."""

    def __init__(self, address: tuple[str, int], tries: int = 3) -> None:
        self._sock = socket.socket(socket.AF_INET, socket.SOCK_DGRAM)
        self._sock.connect(address)
        self._sock.settimeout(2)
        self._tries = tries
        self._cookies = (b"%d_%d " % (os.getpid(), number) for number in itertools.count())

    def command(self, name: str, **arguments) -> dict[bytes, object]:
        """The answer to a command. Raises TimeoutError, or ConnectionError when nobody listens."""
        cookie = next(self._cookies)
        packet = cookie + encode(
            {"command": name, **{key.replace("_", "-"): value for key, value in arguments.items()}}
        )
        for _ in range(self._tries):
            self._sock.send(packet)
            try:
                while not (answer := self._sock.recv(65535)).startswith(cookie):
                    pass
            except TimeoutError:
                continue
            return _decode(answer, len(cookie))[0]
        raise TimeoutError("rtpengine does not answer")


def encode(value) -> bytes:
    """Bencode of str, bytes, lists and dicts of them."""
    if isinstance(value, dict):
        return b"d" + b"".join(encode(key) + encode(item) for key, item in value.items()) + b"e"
    if isinstance(value, (list, tuple)):
        return b"l" + b"".join(map(encode, value)) + b"e"
    text = value.encode() if isinstance(value, str) else value
    return b"%d:%b" % (len(text), text)


def _decode(text: bytes, at: int):
    """The value at an index and the index after it."""
    kind = text[at : at + 1]
    if kind == b"i":
        end = text.index(b"e", at)
        return int(text[at + 1 : end]), end + 1
    if kind in b"ld":
        items = []
        at += 1
        while text[at : at + 1] != b"e":
            item, at = _decode(text, at)
            items.append(item)
        return (items if kind == b"l" else dict(zip(items[::2], items[1::2], strict=True))), at + 1
    colon = text.index(b":", at)
    end = colon + 1 + int(text[at:colon])
    return text[colon + 1 : end], end
