"""Which kinds of event sinks there are: those built in, and those of plugins. Knows names; opens nothing."""

from __future__ import annotations

from typing import Any

from twisted.logger import Logger
from twisted.plugin import getPlugins
from zope.interface.exceptions import Invalid
from zope.interface.verify import verifyObject

from calltrack.errors import InvalidField
from calltrack.events.json_lines import JSONLinesMaker
from calltrack.events.redis_streams import RedisStreamsMaker
from calltrack.interfaces import IEventSink, IEventSinkMaker

log = Logger()

_BUILT_IN = (JSONLinesMaker(), RedisStreamsMaker())


def makers() -> dict[str, Any]:
    """`IEventSinkMaker`s by name; one that is built in counts before a plugin of the same name."""
    found = {maker.name: maker for maker in getPlugins(IEventSinkMaker)}
    return found | {maker.name: maker for maker in _BUILT_IN}


def make_sink(kind: str, options: dict[str, Any]) -> Any:
    """An `IEventSink`. Raises InvalidField, with the kinds there are when `kind` is none."""
    maker = next((maker for maker in _BUILT_IN if maker.name == kind), None)
    if maker is None:  # looking for plugins imports them all
        maker = makers().get(kind)
    if maker is None:
        raise InvalidField("kind", f"{ascii(kind)[:60]} is no event sink; known: {', '.join(sorted(makers()))}")
    sink = maker.make(options)
    try:
        verifyObject(IEventSink, sink)
    except Invalid as error:
        raise InvalidField("kind", f"the plugin {kind} is unfit: {' '.join(str(error).split())}") from error
    return sink
