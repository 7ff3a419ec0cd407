"""What can be configured of rtpengine. Knows no TOML and no sockets."""

from __future__ import annotations

from typing import Literal, NamedTuple

import msgspec


class NodeAddress(NamedTuple):
    """Where a node takes commands (rtpengine's `listen-ng`), and its share of new calls beside the others."""

    host: str  # address literal
    port: int
    weight: int = 1

    def __str__(self) -> str:
        return f"[{self.host}]:{self.port}" if ":" in self.host else f"{self.host}:{self.port}"


class RTPEngineSettings(msgspec.Struct, frozen=True, kw_only=True):
    """``[media.rtpengine]``: the nodes and how they are asked."""

    nodes: tuple[NodeAddress, ...] = (NodeAddress("127.0.0.1", 2223),)
    timeout: float = 1.0  # seconds that a node may take for one command, repeats included
    ping: float = 5.0  # seconds from one ping to the next, to each node
    learning: Literal["auto", "off", "heuristic"] = "auto"  # from where media is heard; see docs/rtpengine.md
    interfaces: tuple[str, ...] = ()  # rtpengine's names of the interfaces towards callers and targets; () = its default
