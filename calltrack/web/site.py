"""The one HTTP site: resources by their first path segment, and the limits that hold for every request.

Knows sockets' patience, not what the resources do.
"""

from __future__ import annotations

from typing import Mapping

from twisted.web.iweb import IRequest
from twisted.web.pages import notFound
from twisted.web.resource import IResource, Resource
from twisted.web.server import Site

PATIENCE = 10.0  # seconds that a connection may take to say something


def put_together(resources: Mapping[bytes, IResource]) -> Site:
    """A site with `resources`, leaves that see the whole path of their requests: `{b"health": ...}` answers /health
    and what is below it, b"" answers /."""
    site = Site(_Root(resources), timeout=PATIENCE)
    site.displayTracebacks = False
    site.log = lambda request: None  # a line for each question of a load balancer would drown the calls
    return site


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
