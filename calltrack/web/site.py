"""The one HTTP site: resources by their first path segment, and the limits that hold for every request.

Knows how long requests and their bodies may be, not what the resources do.
"""

from __future__ import annotations

from typing import Mapping

from twisted.web.iweb import IRequest
from twisted.web.pages import notFound
from twisted.web.resource import IResource, Resource

from calltrack.web.connections import BoundedSite

PATIENCE = 10.0  # seconds that a request may take to arrive
LONGEST_BODY = 1 << 20  # bytes of a request
LONGEST_BODIES = {b"t": 8192}  # by first path segment: browsers of anybody ask here


def put_together(resources: Mapping[bytes, IResource]) -> BoundedSite:
    """A site with `resources`, leaves that see the whole path of their requests: `{b"health": ...}` answers /health
    and what is below it, b"" answers /."""
    site = BoundedSite(_Root(resources), PATIENCE, longest_body)
    site.displayTracebacks = False
    site.log = lambda request: None  # a line for each question of a load balancer would drown the calls
    return site


def longest_body(path: bytes) -> int:
    """Bytes that a request may bring whose target is `path`."""
    return LONGEST_BODIES.get(path.lstrip(b"/").partition(b"/")[0], LONGEST_BODY)


class _Root(Resource):
    def __init__(self, resources: Mapping[bytes, IResource]) -> None:
        super().__init__()
        self._resources = resources

    def getChild(self, path: bytes, request: IRequest) -> IResource:
        resource = self._resources.get(path)
        if resource is None:
            return notFound()
        request.postpath.insert(0, request.prepath.pop())
        return resource
