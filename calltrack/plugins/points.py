"""The extension points that a plugin may fill, and what calltrack itself has for each. Names alone: nothing is imported.

A point is a section of the configuration with a key that names the backend; what the backend may be told stands in a
section of the backend's name within it: ``[locations] store = "redis"`` and ``[locations.redis]``.
"""

from __future__ import annotations

from typing import NamedTuple

from zope.interface.interface import InterfaceClass

from calltrack.interfaces import ICallRecordStore, IEventSink, ILocationStore, IMediaRelay, IScenarioSource


class Point(NamedTuple):
    """One extension point. `built_in`: by name, "module:object" of its `IBackend`, or "" when it needs none."""

    section: str
    key: str
    interface: InterfaceClass
    default: str
    built_in: dict[str, str]


POINTS: dict[str, Point] = {
    point.section: point
    for point in (
        Point("media", "relay", IMediaRelay, "twisted", {"twisted": "", "kernel": "", "rtpengine": ""}),
        Point("locations", "store", ILocationStore, "storage", {"storage": "", "redis": "calltrack.storage.redis_locations:BACKEND"}),
        Point("scenarios", "source", IScenarioSource, "catalog", {"catalog": "", "http": "calltrack.tracking.http_source:BACKEND"}),
        Point(
            "records", "store", ICallRecordStore, "storage",
            {"storage": "", "json-lines": "calltrack.storage.json_records:BACKEND"},
        ),
        Point("sink", "kind", IEventSink, "", {"json-lines": "", "redis": ""}),
    )
}


def point_of(interface: InterfaceClass) -> Point | None:
    """The point that backends which provide `interface` are for."""
    return next((point for point in POINTS.values() if point.interface is interface), None)
