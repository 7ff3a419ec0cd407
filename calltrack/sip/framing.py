"""Cut a byte stream into SIP messages (RFC 3261 section 18.3, RFC 5626 section 3.5.1). Knows no sockets."""

from __future__ import annotations

from calltrack.errors import MalformedMessage
from calltrack.sip.grammar import HEADER_KEYS, LWS, header_key, parse_uint
from calltrack.sip.message import MAX_HEAD, MAX_MESSAGE, unfold

PING = b"\r\n\r\n"
PONG = b"\r\n"


class Framer:
    """Feed it what the stream brings; it gives whole messages back.

    A stream that cannot be cut any more is `broken` for good, in words, and nothing more is taken from it: its
    connection must be closed, since nothing says where the next message starts (RFC 3261 section 18.3: only a
    Content-Length does). That is one with no usable Content-Length, a head or body beyond the limits, or text where
    a start line must stand (section 7). What was whole before is given back first. A message that is wrong in any
    other way has its place in the stream; the next one is found.
    """

    def __init__(self) -> None:
        self.broken = ""  # why nothing can be read any more
        self._buffer = bytearray()
        self._scanned = 0  # no empty line ends before this index
        self._blank = 0  # bytes of a keep-alive that may go on in the next piece
        self._size: int | None = None  # of the message at the start of the buffer, once known

    @property
    def partial(self) -> bool:
        """Whether a message has begun and is not complete."""
        return bool(self._buffer)

    def feed(self, data: bytes) -> tuple[list[bytes], bool]:
        """Returns the messages completed by `data`, and whether a keep-alive ping was among it that
        wants a pong. Look at `broken` when they have been served.
        """
        messages: list[bytes] = []
        if self.broken:
            return messages, False
        self._buffer += data
        try:
            ping = self._cut(messages)
        except MalformedMessage as problem:
            self.broken, ping = str(problem), False
            self._buffer.clear()
        return messages, ping

    def _cut(self, messages: list[bytes]) -> bool:
        """Take whole messages off the front; True when there was a ping. Raises MalformedMessage."""
        buffer, ping = self._buffer, False
        while buffer:
            if self._size is None:
                if buffer[0] in b"\r\n":
                    ping = self._skip_keep_alive() or ping
                    continue
                self._blank = 0
                if not self._find_size():
                    break
            if len(buffer) < self._size:
                break
            messages.append(bytes(buffer[: self._size]))
            del buffer[: self._size]
            self._size, self._scanned = None, 0
        return ping

    def _skip_keep_alive(self) -> bool:
        """Take CR and LF off the front; True when there were two CRLF together, which is a ping."""
        before = len(self._buffer)
        self._buffer[:] = self._buffer.lstrip(b"\r\n")
        self._blank += before - len(self._buffer)
        ping = self._blank >= len(PING)
        if ping or self._buffer:
            self._blank = 0
        return ping

    def _find_size(self) -> bool:
        end = self._buffer.find(b"\r\n\r\n", max(0, self._scanned - 3), MAX_HEAD)
        if end < 0:
            self._scanned = len(self._buffer)
            if self._scanned >= MAX_HEAD:
                raise MalformedMessage(f"a head over {MAX_HEAD} bytes")
            return False
        head = bytes(self._buffer[:end])
        if b"SIP/" not in head.partition(b"\r\n")[0].upper():
            raise MalformedMessage("text where a start line must stand")
        length = _content_length(head)
        if end + 4 + length > MAX_MESSAGE:
            raise MalformedMessage(f"a message over {MAX_MESSAGE} bytes")
        self._size = end + 4 + length
        return True


def _content_length(head: bytes) -> int:
    """The Content-Length of a head; 0 when there is none, as a message without body over TCP often lacks it.
    Raises MalformedMessage when it is no number, or when there is more than one."""
    if b"\r\n " in head or b"\r\n\t" in head:
        head = unfold(head)
    lengths = []
    for line in head.split(b"\r\n"):
        name, colon, value = line.partition(b":")
        if colon and (HEADER_KEYS.get(name) or header_key(name)) == b"content-length":
            lengths.append(parse_uint(value.strip(LWS), "Content-Length"))
    if len(lengths) > 1:
        raise MalformedMessage("more than one Content-Length")
    return lengths[0] if lengths else 0
