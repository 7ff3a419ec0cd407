"""How often browsers of visitors may ask, by address and by project. Knows no HTTP and no visits."""

from __future__ import annotations

from typing import Callable

from calltrack.tracking.visit_limits import Buckets, neighbourhood

SIGNS = 10  # signs of life for each page that may be opened
PATIENT = 6  # questions a minute that an address may ask of a flooded project


class RequestLimits:
    """Questions a minute of one address, and of all addresses to one project; 0 = no limit.

    A flood empties its project's bucket. An address that has asked little lately gets through then all the same, so
    that honest visitors of a flooded site are still served.
    """

    def __init__(self, now: Callable[[], float], per_address: int, per_project: int) -> None:
        """Pages opened a minute; ten times as many signs of life may come."""
        self._pages = Buckets(now, per_address), Buckets(now, per_project)
        self._signs = Buckets(now, per_address * SIGNS), Buckets(now, per_project * SIGNS)
        self._patient = Buckets(now, PATIENT)

    def refusal(self, project: int, address: str, arrives: bool) -> int:
        """0: go on. Else seconds after which to ask again. `arrives`: a page is opened."""
        addresses, projects = self._pages if arrives else self._signs
        neighbours = neighbourhood(address)
        wait = addresses.take(neighbours)
        if not wait:
            wait = projects.take(project) and self._patient.take(neighbours)
        return wait
