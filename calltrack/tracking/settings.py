"""``[visits]`` and ``[privacy]`` of the configuration: who gets a number on the page, and what is kept how long."""

from __future__ import annotations

import msgspec


class VisitSettings(msgspec.Struct, frozen=True, kw_only=True):
    """``[visits]``."""

    per_address: int = 30  # new visits a minute from one address; 0 = no limit
    per_project: int = 0  # new visits a minute in one project; 0 = no limit
    leases_per_address: int = 20  # numbers at once for the visits from one address


class PrivacySettings(msgspec.Struct, frozen=True, kw_only=True):
    """``[privacy]``: days that fields of a visit are kept; 0 = as long as the visit. And the log of changes."""

    address: float = 30.0  # of the browser
    user_agent: float = 90.0
    landing_page: float = 0.0
    referrer: float = 0.0
    utm: float = 0.0
    click_id: float = 90.0
    visits: float = 0.0  # whole visits; 0 = for ever
    changes: float = 730.0  # what people have changed, and when they logged in; 0 = for ever
