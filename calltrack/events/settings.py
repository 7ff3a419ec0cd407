"""``[events]``, ``[webhooks]`` and ``[[sink]]``: how long events are kept and where they go."""

from __future__ import annotations

from typing import Any

import msgspec


class EventsSettings(msgspec.Struct, frozen=True, kw_only=True):
    """``[events]``: the log that sinks and webhooks are fed from."""

    keep: float = 30.0  # days that events and the delivery log are kept
    keep_undelivered: float = 30.0  # days that events wait for a sink that does not take them; 0 = without end


class WebhooksSettings(msgspec.Struct, frozen=True, kw_only=True):
    """``[webhooks]``: how they are delivered."""

    allow_private: bool = False  # whether they may reach addresses that are not of the public internet
    timeout: float = 10.0  # seconds that an endpoint has to answer
    give_up: float = 72.0  # hours after which an event that an endpoint does not take is a dead letter


class SinkSettings(msgspec.Struct, frozen=True, kw_only=True):
    """``[[sink]]``: where events go beside webhooks."""

    name: str
    kind: str  # "json-lines", "redis", or a plugin's name
    events: tuple[str, ...] = ()  # types; empty = all
    options: dict[str, Any] = {}  # the kind's own keys
