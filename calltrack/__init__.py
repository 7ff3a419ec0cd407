"""calltrack, a self-hosted call-tracking telephony engine on Twisted."""

__version__ = "0.1.0"
