"""What can be configured of calls and trunks. Knows no TOML; values are checked before they get here."""

from __future__ import annotations

from ipaddress import IPv4Network, IPv6Network

import msgspec


class CallsSettings(msgspec.Struct, frozen=True, kw_only=True):
    """``[calls]``: what holds for every call."""

    lookup_budget: float = 0.2  # seconds a scenario source may take
    max_calls: int = 0  # calls at once in this process; 0 = no limit
    stop_time: float = 5.0  # seconds that calls in progress get to end when the service stops
    header_prefix: str = "x-roistat"


class TrunkSettings(msgspec.Struct, frozen=True, kw_only=True):
    """``[[trunk]]``: a provider's SIP peer."""

    name: str
    sources: tuple[IPv4Network | IPv6Network, ...] = ()  # who may deliver calls; empty = an outbound trunk
    inbound_username: str = ""  # digest credentials that its calls must prove; "" = its source address will do
    inbound_password: str = ""
    number_from: str = "request-uri"  # or "to", "p-called-party-id", "diversion"
    country: str = ""  # ISO 3166 code: how national numbers become E.164; "" = only + and 00 are read
    outbound: str = ""  # "sip:host[:port][;transport=...]" where `phone` targets leave; "" = nowhere
    username: str = ""  # digest credentials for `outbound`; "" = known by address
    password: str = ""
    realm: str = ""  # the only realm the credentials are for; "" = whichever the peer names
    register: bool = False  # whether we register there, with these credentials, so that calls come to us
    aor: str = ""  # the address that is registered; "" = username at the host of `outbound`
    register_expires: int = 3600  # seconds that a registration is asked for
    max_calls: int = 0  # calls at once, both directions; 0 = no limit
    max_rate: float = 0.0  # new calls a second; 0 = no limit
    caller_id: str = "caller"  # number that outbound calls show: "caller", "withheld" or "+E164"
    number_format: str = "plus"  # how outbound numbers are written: "plus", "digits", "national"
    trust_identity: bool = True  # whether its P-Asserted-Identity says who calls, rather than From
    pass_diversion: bool = False  # whether Diversion and History-Info of its calls go on to the target
