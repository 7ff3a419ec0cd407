"""A connection to a Redis: where it is, how it is opened and let go, and a link that opens it when it is needed and again
after it was lost. Knows Redis by txredisapi; no keys, and nothing of what is kept there."""

from __future__ import annotations

from typing import Any
from urllib.parse import unquote, urlsplit

import msgspec
from twisted.internet.defer import DeferredLock
from twisted.internet.endpoints import HostnameEndpoint, connectProtocol

from calltrack.errors import Sentence, StoreUnavailable

CONNECT_TIME = 5.0  # seconds


class RedisSettings(msgspec.Struct, frozen=True, kw_only=True):
    """Which Redis, and what its keys begin with."""

    url: str = "redis://127.0.0.1:6379/0"
    prefix: str = "calltrack"

    def __post_init__(self) -> None:
        place_of(self.url)
        if not self.prefix or not self.prefix.isprintable():
            raise ValueError("prefix: is no beginning of a key")


def place_of(url: str) -> tuple[str, int, int, str]:
    """Host, port, database and password. Raises ValueError."""
    parts = urlsplit(url)
    number = parts.path.strip("/") or "0"
    if parts.scheme != "redis" or not parts.hostname or not number.isdigit():
        raise ValueError(f"url: {ascii(url)[:60]} is no Redis; write redis://[:password@]host[:port][/database]")
    return parts.hostname, parts.port or 6379, int(number), unquote(parts.password or "")


async def connect(reactor: Any, host: str, port: int, number: int, password: str) -> Any:
    """A RedisProtocol in use of the database `number`, without txredisapi's own reconnecting: whoever asks knows when to
    come again. Raises what a connection may fail with."""
    import txredisapi

    protocol = txredisapi.RedisProtocol(charset=None, errors="strict")
    protocol.factory = _Solitary()
    await connectProtocol(HostnameEndpoint(reactor, host, port, CONNECT_TIME), protocol)
    if password:
        await protocol.auth(password)
    if number:
        await protocol.select(number)
    return protocol


async def abandon(connection: Any) -> None:
    """Let go of a connection, or None; what waits for an answer fails."""
    if connection is not None and connection.connected:
        gone = connection.whenDisconnected()
        connection.transport.abortConnection()
        await gone


class RedisLink:
    """Commands go out in order over one connection."""

    def __init__(self, reactor: Any, settings: RedisSettings) -> None:
        self._reactor = reactor
        self._host, self._port, self._number, self._password = place_of(settings.url)
        self._connection: Any = None
        self._connecting = DeferredLock()

    def __str__(self) -> str:
        return f"Redis at {self._host}:{self._port}"

    async def command(self, *words: str | bytes | int) -> Any:
        """The reply; texts are bytes. Raises StoreUnavailable."""
        import txredisapi

        try:
            return await (await self._connected()).execute_command(*words)
        except txredisapi.ResponseError as error:
            raise StoreUnavailable(Sentence("{redis} refuses that: {error}", redis=str(self), error=error)) from error
        except Exception as error:  # whatever a connection may fail with: the next command makes a new one
            await self.close()
            raise StoreUnavailable(Sentence("no {redis}: {error}", redis=str(self), error=str(error) or type(error).__name__)) from error

    async def close(self) -> None:
        """Let go of the connection; what waits for an answer fails."""
        connection, self._connection = self._connection, None
        await abandon(connection)

    async def _connected(self) -> Any:
        async with self._connecting:
            if self._connection is None or not self._connection.connected:
                self._connection = await connect(self._reactor, self._host, self._port, self._number, self._password)
            return self._connection


class _Solitary:
    """What a RedisProtocol wants of a factory, without its reconnecting."""

    isLazy = continueTrying = convertNumbers = False
    handler: Any = None

    def addConnection(self, connection: Any) -> None:
        pass

    def delConnection(self, connection: Any) -> None:
        pass

    def connectionError(self, why: Any) -> None:
        pass
