"""What an rtpengine node counted of a call (replies to `query` and `delete`) -> figures of a call record.

A reply comes from another program, of whatever version: what is missing or of another kind counts as nothing. Knows no commands.
"""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

from calltrack.media.session import verdict_of
from calltrack.tracking.model import MediaFigures, StreamFigures


def figures_in(reply: dict[str, Any], caller: str, target: str) -> MediaFigures:
    """The figures of the two parties by their tags. `lost` and `jitter_ms` are what the other party reported by
    RTCP; packets that the node dropped for their source are `strangers`."""
    ssrcs = _dictionary(reply.get("SSRC"))
    one, other = (_stream_figures(_streams(reply, tag), ssrcs) for tag in (caller, target))
    return MediaFigures(caller=one, target=other, verdict=verdict_of(one.packets, other.packets))


def packets_in(reply: dict[str, Any]) -> int:
    """All packets of the call that the node did not drop, RTCP too."""
    tags = _dictionary(reply.get("tags"))
    return sum(_accepted(stream) for tag in tags for stream in _streams(reply, tag))


def _streams(reply: dict[str, Any], tag: str) -> Iterator[dict[str, Any]]:
    party = _dictionary(_dictionary(reply.get("tags")).get(tag))
    for media in _list(party.get("medias")):
        for stream in _list(_dictionary(media).get("streams")):
            yield _dictionary(stream)


def _stream_figures(streams: Iterator[dict[str, Any]], ssrcs: dict[str, Any]) -> StreamFigures:
    packets = octets = strangers = lost = most = 0
    jitter = 0.0
    for stream in streams:
        if b"RTP" not in _list(stream.get("flags")):
            continue
        accepted = _accepted(stream)
        packets += accepted
        octets += _count(_dictionary(stream.get("stats")).get("bytes"))
        strangers += _count(_dictionary(stream.get("stats")).get("errors"))
        reports = _dictionary(ssrcs.get(str(stream.get("SSRC"))))
        lost += _count(reports.get("cumulative loss"))
        if accepted > most:
            most = accepted
            jitter = float(_count(_dictionary(reports.get("average MOS")).get("jitter")))
    return StreamFigures(packets=packets, bytes=octets, lost=lost, jitter_ms=jitter, strangers=strangers)


def _accepted(stream: dict[str, Any]) -> int:
    stats = _dictionary(stream.get("stats"))
    return max(0, _count(stats.get("packets")) - _count(stats.get("errors")))


def _dictionary(value: Any) -> dict[str, Any]:
    return value if isinstance(value, dict) else {}


def _list(value: Any) -> list[Any]:
    return value if isinstance(value, list) else []


def _count(value: Any) -> int:
    return value if isinstance(value, int) and 0 <= value < 1 << 63 else 0
