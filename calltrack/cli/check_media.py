"""What `calltrack check` says of the relay that carries the media. Knows relays by their settings; opens no call."""

from __future__ import annotations

from typing import Any

from twisted.internet.defer import maybeDeferred

from calltrack.config import Settings
from calltrack.errors import CalltrackError
from calltrack.media.ng import NGClient
from calltrack.media.rtpengine_settings import NodeAddress


async def on_nodes(settings: Settings, reactor: Any) -> list[tuple[bool, str]]:
    """Whether each rtpengine node answers, when they carry the media, and in words. The nodes are asked together."""
    if settings.media.relay != "rtpengine":
        return []
    chosen = settings.media.rtpengine
    asked = [(node, NGClient(reactor, node.host, node.port, chosen.timeout)) for node in chosen.nodes]
    for _, client in asked:
        client.start(reactor)
    answers = [(node, client, client.command("ping")) for node, client in asked]
    return [await _on_node(node, client, answer) for node, client, answer in answers]


async def _on_node(node: NodeAddress, client: NGClient, answer: Any) -> tuple[bool, str]:
    try:
        await answer
    except CalltrackError as problem:
        return False, f"{problem}; see listen-ng in its rtpengine.conf"
    else:
        return True, f"rtpengine {node} answers in {client.round_trip * 1000:.1f} ms, weight {node.weight}"
    finally:
        await maybeDeferred(client.stop)
