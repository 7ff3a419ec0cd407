"""Name in the configuration -> relay. The one place that knows which relays there are.

A relay's module is imported when it is chosen: what one needs, no other pays for.
"""

from __future__ import annotations

from importlib import import_module
from typing import Any

from zope.interface.verify import verifyObject

from calltrack.errors import ConfigErrors
from calltrack.interfaces import IMediaRelay
from calltrack.media.settings import RELAYS, MediaSettings

# By name: the module and its class, which is called with (reactor, settings, clock).
_CLASSES = {
    "twisted": ("calltrack.media.relay", "TwistedRelay"),
    "kernel": ("calltrack.media.kernel", "KernelRelay"),
    "rtpengine": ("calltrack.media.rtpengine", "RTPEngineRelay"),
}
assert tuple(_CLASSES) == RELAYS


def make_relay(reactor: Any, settings: MediaSettings, clock: Any = None) -> IMediaRelay:
    """The relay that `settings.relay` names, not started yet. `clock`: the IReactorTime of timeouts and
    quarantine when it is not the reactor's. Raises ConfigErrors, which list the names that exist."""
    try:
        module, name = _CLASSES[settings.relay]
    except KeyError:
        raise ConfigErrors([f"[media] relay: {settings.relay!r} is none of {', '.join(RELAYS)}"]) from None
    relay = getattr(import_module(module), name)(reactor, settings, clock)
    verifyObject(IMediaRelay, relay)
    return relay
