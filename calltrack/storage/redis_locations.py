"""Bindings of devices in Redis, so that several engines, or one on another machine, find them again.

    calltrack:bindings:PROJECT   hash: id of a binding -> its JSON
    calltrack:projects           set: projects that have bindings

A write is one script, so it happens as a whole or not at all. What "durable" means is Redis' own setting (appendonly). Events that
tell of bindings are in the log, which is not in Redis, before the bindings are written. Knows Redis; no SIP.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, Sequence

import msgspec
from twisted.application.service import Service
from twisted.internet.defer import Deferred
from twisted.plugin import IPlugin
from zope.interface import implementer

from calltrack import __version__
from calltrack.errors import Sentence, StoreUnavailable
from calltrack.events.model import Event
from calltrack.interfaces import IBackend, IEventStore, IHealth, ILocationStore
from calltrack.redis_link import RedisLink, RedisSettings
from calltrack.tracking.bindings import Binding

if TYPE_CHECKING:
    from calltrack.plugins.context import Context

_WRITE = """
local prefix, saved = ARGV[1], tonumber(ARGV[2])
for i = 3, 2 + 3 * saved, 3 do
  redis.call('HSET', prefix .. ':bindings:' .. ARGV[i], ARGV[i + 1], ARGV[i + 2])
  redis.call('SADD', prefix .. ':projects', ARGV[i])
end
for i = 3 + 3 * saved, #ARGV, 2 do
  local key = prefix .. ':bindings:' .. ARGV[i]
  redis.call('HDEL', key, ARGV[i + 1])
  if redis.call('EXISTS', key) == 0 then redis.call('SREM', prefix .. ':projects', ARGV[i]) end
end
return redis.status_reply('OK')
"""
_LIST = """
local found = {}
local projects = ARGV[2] and {ARGV[2]} or redis.call('SMEMBERS', ARGV[1] .. ':projects')
for _, project in ipairs(projects) do
  for _, binding in ipairs(redis.call('HVALS', ARGV[1] .. ':bindings:' .. project)) do found[#found + 1] = binding end
end
return found
"""
_FORGET = """
redis.call('DEL', ARGV[1] .. ':bindings:' .. ARGV[2])
redis.call('SREM', ARGV[1] .. ':projects', ARGV[2])
return redis.status_reply('OK')
"""

_decode = msgspec.json.Decoder(Binding).decode


@implementer(ILocationStore, IHealth)
class RedisLocations(Service):
    """See ILocationStore."""

    def __init__(self, reactor: Any, settings: RedisSettings, events: IEventStore) -> None:
        self._link = RedisLink(reactor, settings)
        self._prefix = settings.prefix
        self._events = events

    def write(self, saved: list[Binding], removed: list[tuple[int, int]], events: Sequence[Event] = ()) -> Deferred[None]:
        return Deferred.fromCoroutine(self._write(saved, removed, events))

    def list(self, project: int | None = None) -> Deferred[list[Binding]]:
        return Deferred.fromCoroutine(self._list(project))

    def forget(self, project: int) -> Deferred[None]:
        return Deferred.fromCoroutine(self._forget(project))

    def health(self) -> Deferred[str]:
        return Deferred.fromCoroutine(self._health())

    def stopService(self) -> Deferred[None]:
        super().stopService()
        return Deferred.fromCoroutine(self._link.close())

    async def _write(self, saved: list[Binding], removed: list[tuple[int, int]], events: Sequence[Event]) -> None:
        if events:
            await self._events.append(events)
        words: list[Any] = [len(saved)]
        for binding in saved:
            words += (binding.project, binding.id, msgspec.json.encode(binding))
        for project, number in removed:
            words += (project, number)
        await self._run(_WRITE, *words)

    async def _list(self, project: int | None) -> list[Binding]:
        found = await self._run(_LIST, *(() if project is None else (project,)))
        try:
            bindings = [_decode(value) for value in found]
        except msgspec.MsgspecError as error:
            raise StoreUnavailable(
                Sentence("{redis} holds a binding that cannot be read: {error}", redis=str(self._link), error=error)
            ) from error
        return sorted(bindings, key=lambda binding: (binding.project, binding.registered_at, binding.id))

    async def _forget(self, project: int) -> None:
        await self._run(_FORGET, project)

    async def _health(self) -> str:
        await self._link.command("PING")
        return ""

    async def _run(self, script: str, *words: Any) -> Any:
        return await self._link.command("EVAL", script, 0, self._prefix, *words)


@implementer(IPlugin, IBackend)
class _RedisLocationsBackend:
    name = "redis"
    version = __version__
    provides = ILocationStore
    settings = RedisSettings

    def make(self, context: Context, settings: RedisSettings) -> RedisLocations:
        return RedisLocations(context.reactor, settings, context.events)


BACKEND = _RedisLocationsBackend()
