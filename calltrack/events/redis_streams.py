"""An event sink that adds each event to a Redis stream (XADD), for any number of consumer groups.

    XADD calltrack:events MAXLEN ~ 100000 * id 01a209...ended type call.ended project 1 event {...}

Knows Redis by `redis_link` and txredisapi; runs on the reactor. Redis may be stopped and started: events wait in the log meanwhile.
"""

from __future__ import annotations

from typing import Any

from twisted.internet import defer
from zope.interface import implementer

from calltrack.errors import CalltrackError, InvalidField
from calltrack.events.json_lines import check_keys, whole
from calltrack.events.model import Logged, encode
from calltrack.interfaces import IEventSink, IEventSinkMaker
from calltrack.redis_link import abandon, connect, place_of


class RedisFailed(CalltrackError):
    """Redis cannot be reached, or refuses what it is given."""


@implementer(IEventSink)
class RedisStreams:
    """`stream` of the database `number` of the Redis at `host`. `length`: entries kept, about; 0 = all."""

    threaded = False

    def __init__(
        self, host: str, port: int, number: int = 0, password: str = "", stream: str = "calltrack:events",
        length: int = 100_000,
    ) -> None:  # fmt: skip
        self._host, self._port, self._number, self._password = host, port, number, password
        self._stream = stream
        self._bound = ("MAXLEN", "~", length) if length else ()
        self._reactor: Any = None
        self._connection: Any = None

    def start(self, reactor: Any) -> None:
        self._reactor = reactor

    def deliver(self, events: list[Logged]) -> defer.Deferred[None]:
        """Fails with RedisFailed."""
        return defer.Deferred.fromCoroutine(self._deliver(events))

    def close(self) -> Any:
        return defer.Deferred.fromCoroutine(self._drop())

    async def _deliver(self, events: list[Logged]) -> None:
        import txredisapi

        try:
            if self._connection is None:
                self._connection = await connect(self._reactor, self._host, self._port, self._number, self._password)
            # Sent together and answered in order; a connection that is lost fails them all.
            adding = [self._add(self._connection, one) for one in events]
            for succeeded, result in await defer.DeferredList(adding, consumeErrors=True):
                if not succeeded:
                    raise result.value
        except txredisapi.ResponseError as error:  # the connection is good, the stream is not: of another type, no room
            raise RedisFailed(f"Redis at {self._host}:{self._port} refuses events: {error}") from error
        except (txredisapi.RedisError, OSError, ConnectionError, defer.CancelledError) as error:
            await self._drop()
            raise RedisFailed(f"no Redis at {self._host}:{self._port}: {error or type(error).__name__}") from error
        except Exception as error:
            await self._drop()
            raise RedisFailed(f"Redis at {self._host}:{self._port}: {error}") from error

    async def _drop(self) -> None:
        connection, self._connection = self._connection, None
        await abandon(connection)

    def _add(self, connection: Any, one: Logged) -> Any:
        event = one.event
        fields = ("id", event.id, "type", event.type, "project", event.project or "", "event", encode(event))
        return connection.execute_command("XADD", self._stream, *self._bound, "*", *fields)


@implementer(IEventSinkMaker)
class RedisStreamsMaker:
    """`url` (redis://[:password@]host[:port][/database]); `stream`; `length`."""

    name = "redis"

    def make(self, options: dict[str, Any]) -> RedisStreams:
        check_keys(options, ("url", "stream", "length"))
        try:
            place = place_of(options.get("url", "redis://127.0.0.1:6379/0"))
        except (ValueError, AttributeError, TypeError):  # no address, or no text
            raise InvalidField("url", "is no Redis; write redis://host:6379/0") from None
        stream = options.get("stream", "calltrack:events")
        if not isinstance(stream, str) or not stream or not stream.isprintable():
            raise InvalidField("stream", "is no key of a stream")
        length = whole(options, "length", 100_000, 0, 2**31)
        return RedisStreams(*place, stream, length)
