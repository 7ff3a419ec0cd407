"""Over which flow a registered device is reached now: the one its REGISTER came by (RFC 5626).

Knows bindings in memory and the transports; must not know calls, nor how anybody registers.
"""

from __future__ import annotations

from typing import Callable, Protocol

from twisted.logger import Logger

from calltrack.errors import TransportFailure
from calltrack.registrar.locations import Entry, Locations
from calltrack.registrar.update import same_device
from calltrack.sip.flows import Address, Flow
from calltrack.tracking.bindings import Binding

log = Logger()


class Network(Protocol):
    """What is needed of `calltrack.sip.transports.Transports`."""

    closed: Callable[[Flow], None]

    def udp_flow(self, local: Address, remote: Address) -> Flow: ...
    def sent_by(self, flow: Flow) -> bytes: ...


class Reachable:
    """A registered contact that can be called now: its URI, the Route values on the way to it, its flow."""

    __slots__ = ("_entry", "_reach", "flow", "route", "uri")

    def __init__(self, reach: Reach, entry: Entry, flow: Flow) -> None:
        self.uri = entry.binding.contact.encode()
        self.route = tuple(value.encode() for value in entry.binding.path)
        self.flow = flow
        self._entry = entry
        self._reach = reach

    def moved(self) -> Flow | None:
        """The flow that the device has registered over since then; None when it has not, or is gone."""
        flow = self._reach.flow_of(self._entry.binding)
        return None if flow is None or flow is self.flow or flow.remote == self.flow.remote else flow


class Reach:
    """Finds flows for the devices in `locations`."""

    def __init__(self, locations: Locations, network: Network) -> None:
        self._locations = locations
        self._network = network

    def reachable(self, project: int) -> list[Reachable]:
        """The contacts of a project's account that can be called now, the most preferred first."""
        entries = self._locations.of(project)
        if len(entries) > 1:
            entries.sort(key=lambda entry: -entry.binding.q)
        flows = ((entry, self.flow(entry)) for entry in entries)
        return [Reachable(self, entry, flow) for entry, flow in flows if flow is not None]

    def flow_of(self, binding: Binding) -> Flow | None:
        """The flow that a device is reached over now, `binding` being a state of its binding at any time; None when
        it is not registered any more."""
        entry = self._locations.find(binding)
        if entry is None:  # its connection was closed, and it has come again
            beside = self._locations.of(binding.project)
            entry = next((entry for entry in beside if same_device(entry.binding, binding)), None)
        return self.flow(entry) if entry is not None else None

    def flow(self, entry: Entry) -> Flow | None:
        """The flow that leads to an entry; None when there is none now."""
        if entry.flow is not None:
            return entry.flow if entry.flow.open else None
        binding = entry.binding
        host, _, port = binding.local.rpartition(":")
        try:
            return self._network.udp_flow(Address(host, int(port)), Address(binding.host, binding.reach))
        except TransportFailure as problem:
            log.warn("cannot call {contact}: {problem}", contact=binding.contact, problem=problem)
            return None
