"""A recording over HTTP: the file, or the piece of it that a player asks for (RFC 9110 section 14).

Knows requests and files that are read in threads; who may listen, whoever calls this has decided.
"""

from __future__ import annotations

import os
import re
from typing import Any

from twisted.internet.threads import deferToThreadPool
from twisted.logger import Logger
from twisted.web.iweb import IRequest

from calltrack.errors import NoSuchObject, Sentence
from calltrack.recording.files import path_of
from calltrack.tracking.model import CallRecord
from calltrack.web.flow import Flow

PIECE = 262_144  # bytes that are read at once
TYPES = {"wav": b"audio/wav", "pcap": b"application/vnd.tcpdump.pcap"}
WHY = {
    "active": "the recording is not finished yet",
    "elsewhere": "the media relay has the recording, not calltrack",
    "deleted": "the recording was deleted when its time was over",
}

_RANGE = re.compile(rb"bytes=([0-9]{0,18})-([0-9]{0,18})\Z")

log = Logger()


def name_of(record: CallRecord, capture: bool = False) -> str:
    """The file of a call's recording, or of the capture beside it. Raises NoSuchObject with the reason."""
    kept = record.recording
    if not kept or kept.state in ("failed", "active", "elsewhere", "deleted"):
        why = Sentence("nothing was recorded") if not kept else WHY.get(kept.state, kept.reason)
        raise NoSuchObject(Sentence("call {call} has no recording: {why}", call=record.id, why=Sentence(why)))
    if capture and not kept.capture:
        raise NoSuchObject(Sentence("call {call} has no capture beside its recording", call=record.id))
    return kept.capture if capture else kept.name


async def sent(services: Any, request: IRequest, record: CallRecord, capture: bool) -> bytes:
    """Answer `request` with the recording of a call. Raises NoSuchObject with the reason when there is none."""
    name = name_of(record, capture)
    if services.send_recording is None:
        raise NoSuchObject("no recordings are kept here")
    return await services.send_recording(request, name)


async def send(request: IRequest, reactor: Any, directory: str, name: str) -> bytes:
    """Answer `request` with the file, once it has been sent, or the client has gone. Raises NoSuchObject when there is none."""
    pool = reactor.getThreadPool()
    try:
        path = path_of(directory, name)
        file = await deferToThreadPool(reactor, pool, os.open, path, os.O_RDONLY | os.O_CLOEXEC | os.O_NOFOLLOW)
    except (OSError, ValueError):
        raise NoSuchObject(Sentence("the recording {name} is not there", name=name)) from None
    try:
        size = os.fstat(file).st_size
        start, end = _piece(request.getHeader(b"range"), size)
        _describe(request, name, start, end, size)
        if request.method != b"HEAD" and start < end:
            await _write(request, reactor, file, name, start, end)
    finally:
        os.close(file)
    return b""


def _piece(asked: bytes | None, size: int) -> tuple[int, int]:
    """The bytes that are wanted, (0, 0) when there are none of those. What is no range of ours is ignored, as it may be."""
    match = _RANGE.match(asked or b"")
    if match is None or match[0] == b"bytes=-":
        return 0, size
    first, last = match[1], match[2]
    if not first:
        start, end = max(0, size - int(last)), size
    else:
        start, end = int(first), min(int(last) + 1, size) if last else size
    return (start, end) if start < end else (0, 0)


def _describe(request: IRequest, name: str, start: int, end: int, size: int) -> None:
    if (start, end) == (0, 0) and size:
        request.setResponseCode(416)
        request.setHeader(b"content-range", b"bytes */%d" % size)
    elif (start, end) != (0, size):
        request.setResponseCode(206)
        request.setHeader(b"content-range", b"bytes %d-%d/%d" % (start, end - 1, size))
    file = name.rpartition("/")[2]
    request.setHeader(b"content-type", TYPES[file.rpartition(".")[2]])
    request.setHeader(b"content-length", b"%d" % (end - start))
    request.setHeader(b"content-disposition", b'inline; filename="%b"' % file.encode())
    request.setHeader(b"accept-ranges", b"bytes")
    request.setHeader(b"cache-control", b"private, no-store")


async def _write(request: IRequest, reactor: Any, file: int, name: str, at: int, end: int) -> None:
    """Read in threads and write as fast as the client takes it, until all is written or the client has gone. What cannot
    be read to its end breaks the connection."""
    flow = Flow(request)
    try:
        while at < end and not flow.gone:
            piece = await deferToThreadPool(reactor, reactor.getThreadPool(), os.pread, file, min(PIECE, end - at), at)
            if not piece:
                raise OSError(0, "it has become shorter")
            at += len(piece)
            if not flow.gone:
                request.write(piece)
                await flow.room()
    except OSError as problem:  # the answer has begun: it cannot become a refusal
        log.error("recording {name} was cut off, it cannot be read: {problem}", name=name, problem=problem.strerror)
        flow.cut()
    finally:
        flow.end()
