"""What `calltrack check` says of the relay that carries the media: whether it is in force, and what it costs here.

Knows relays by their settings, a running engine by its health page. Opens no call of an engine's: what is tried is tried
in a process of its own.
"""

from __future__ import annotations

import json
from typing import Any

from twisted.internet.defer import CancelledError, TimeoutError as TooLate, maybeDeferred
from twisted.internet.error import ConnectError, TimeoutError as Late
from twisted.web.client import Agent, HTTPConnectionPool, ResponseFailed, readBody

from calltrack.cli.relay_trial import PACKETS_A_CALL, Result, TrialFailed, measure
from calltrack.config import Settings
from calltrack.errors import CalltrackError
from calltrack.media import readiness
from calltrack.media.filter_table import NoNftables, find_nft
from calltrack.media.ng import NGClient
from calltrack.media.rtpengine_settings import NodeAddress


_PATIENCE = 1.0  # seconds that an engine's page may take


async def on_relay(settings: Settings, reactor: Any, trial: bool = True) -> list[tuple[bool, str]]:
    """Which relay is in force and what it costs on this machine, in words; with `trial` that is measured, which takes five
    seconds."""
    name = settings.media.relay
    if name == "rtpengine":
        return await on_nodes(settings, reactor)
    running = await _running(settings, reactor)
    if running is not None and running.get("relay") == name:
        why, whose = str(running.get("why", "")), "in the running engine"
    else:
        why, whose = _why_not(settings), "here"
    if why:
        verdicts = [(False, f"relay {name} is not in force {whose}: {why}. Calls are relayed by calltrack's process")]
    else:
        verdicts = [(True, f"relay {name} " + (f"is in force {whose}" if running else "can be in force here"))]
    if trial:
        verdicts.append(await _on_cost("twisted" if why else name, reactor))
    return verdicts


async def _on_cost(name: str, reactor: Any) -> tuple[bool, str]:
    try:
        result = await measure(name, reactor)
    except TrialFailed as problem:
        return False, f"what relay {name} costs could not be measured: {problem}"
    if result.why:
        return name != "kernel" or "root" in result.why, f"what relay {name} costs was not measured: {result.why}"
    return True, cost_in_words(result)


def cost_in_words(result: Result) -> str:
    """What a trial has found, for a person."""
    cost = f"{result.process_us:.1f} us of CPU a packet in calltrack's process"
    if result.relay == "kernel":
        cost += f" and {result.kernel_us:.1f} us in the kernel"
    lost = f"{result.lost} of {result.packets} packets lost" if result.lost else "no packet lost"
    carried = f"one core carries about {result.calls_a_core:,} calls of {PACKETS_A_CALL // 2} packets a second each way"
    return f"relay {result.relay} costs {cost}: {carried} ({lost})"


def _why_not(settings: Settings) -> str:
    """Why the relay cannot be in force here, as far as can be told from outside; "" when it can."""
    if settings.media.relay != "kernel":
        return ""
    try:
        readiness.versions(settings.media.listen)
        find_nft()
        readiness.try_entries()
    except (readiness.NotReady, NoNftables) as problem:
        return str(problem)
    return ""


async def _running(settings: Settings, reactor: Any) -> dict[str, Any] | None:
    """What an engine that runs with these settings says of its relay; None when there is none."""
    pool = HTTPConnectionPool(reactor, persistent=False)
    asked = Agent(reactor, connectTimeout=_PATIENCE, pool=pool).request(b"GET", f"http://{settings.web.listen}/health".encode())
    asked.addCallback(readBody).addTimeout(_PATIENCE, reactor)
    try:
        told = json.loads(await asked)["media"]
    except (ConnectError, ResponseFailed, ValueError, KeyError, TypeError, CancelledError, Late, TooLate):
        return None
    return told if isinstance(told, dict) else None


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
