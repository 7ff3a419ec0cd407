"""Names the service for twistd; imports nothing of it until it is chosen."""

from twisted.application.service import ServiceMaker

calltrack = ServiceMaker(
    "calltrack", "calltrack.service", "Call tracking: a SIP back-to-back user agent with its media relay.", "calltrack"
)
