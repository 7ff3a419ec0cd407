"""Values as rtpengine's control protocol writes them: bencode, as of BitTorrent's BEP 3.

A value is an int, bytes, a list or a dict with text keys; text is written as UTF-8 and read back as bytes. Reads what a
stranger may have sent: raises ValueError and nothing else. Knows no commands.
"""

from __future__ import annotations

from typing import Any

MAX_DEPTH = 32  # lists and dictionaries in each other; a reply has about ten


def encode(value: Any) -> bytes:
    """The value in bencode. Raises TypeError for a value of another kind, which is a bug of the caller."""
    pieces: list[bytes] = []
    _write(value, pieces)
    return b"".join(pieces)


def _write(value: Any, pieces: list[bytes]) -> None:
    if isinstance(value, str):
        value = value.encode()
    if isinstance(value, bytes):
        pieces.append(b"%d:%b" % (len(value), value))
    elif isinstance(value, int) and not isinstance(value, bool):
        pieces.append(b"i%de" % value)
    elif isinstance(value, (list, tuple)):
        pieces.append(b"l")
        for item in value:
            _write(item, pieces)
        pieces.append(b"e")
    elif isinstance(value, dict):
        pieces.append(b"d")
        for key, item in value.items():
            _write(key, pieces)
            _write(item, pieces)
        pieces.append(b"e")
    else:
        raise TypeError(f"{type(value).__name__} has no form in bencode")


def decode(data: bytes) -> Any:
    """The one value that `data` is, to its last byte. Raises ValueError with what is wrong and where."""
    value, end = _read(data, 0, 0)
    if end != len(data):
        raise ValueError(f"something follows the value at byte {end}")
    return value


def _read(data: bytes, at: int, depth: int) -> tuple[Any, int]:
    """The value that begins at `at`, and where the next one begins."""
    kind = data[at : at + 1]
    if kind == b"i":
        end = data.find(b"e", at, at + 22)
        digits = data[at + 1 : end]
        if end < 0 or not digits.removeprefix(b"-").isdigit():
            raise ValueError(f"no whole number at byte {at}")
        return int(digits), end + 1
    if kind == b"l" or kind == b"d":
        if depth == MAX_DEPTH:
            raise ValueError(f"more than {MAX_DEPTH} levels at byte {at}")
        items: list[Any] = []
        at += 1
        while data[at : at + 1] != b"e":
            item, at = _read(data, at, depth + 1)
            items.append(item)
        return (items if kind == b"l" else _pairs(items, at)), at + 1
    colon = data.find(b":", at, at + 8)
    digits = data[at:colon]
    if colon < 0 or not digits.isdigit():
        raise ValueError(f"no value at byte {at}")
    end = colon + 1 + int(digits)
    if end > len(data):
        raise ValueError(f"the text at byte {at} is cut off")
    return data[colon + 1 : end], end


def _pairs(items: list[Any], at: int) -> dict[str, Any]:
    if len(items) % 2 or not all(isinstance(key, bytes) for key in items[::2]):
        raise ValueError(f"the dictionary that ends at byte {at} has a key that is no text, or without a value")
    return {key.decode("utf-8", "replace"): value for key, value in zip(items[::2], items[1::2], strict=True)}
