"""What tests of the web side share: visits that do as they are told, pages of a shop, a browser before them."""

import json
import os
from dataclasses import dataclass, field

from twisted.internet import reactor
from twisted.internet.defer import Deferred, fail, succeed
from twisted.trial.unittest import TestCase
from twisted.web.resource import Resource

from calltrack.errors import NoSuchObject
from calltrack.tracking.model import Project, Shown, Swap
from calltrack.web.connections import BoundedSite
from calltrack.web.site import longest_body, put_together
from calltrack.web.request_limits import RequestLimits
from calltrack.web.visits import VisitsResource
from tests.interop.processes import eventually
from tests.web.browser import HOST, Browser

PAGES = os.path.join(os.path.dirname(os.path.abspath(__file__)), "pages")
KEY = "0123456789abcdef"
COOKIE = "123.9f86d08188"
OLD = "19990000000"  # the number that stands in the pages
NUMBER, SHOWN = "11231234567", "8 (112) 312-34-56"
STATIC, STATIC_SHOWN = "12025550199", "+1 202-555-0199"


def swap(number: str = NUMBER, text: str = SHOWN, replace: tuple = (OLD,), selectors: tuple = (), scenario: int = 7):
    """What a page shows for one scenario."""
    return Swap(
        scenario=scenario, number=number, tel="+" + number, text=text, selectors=selectors, replace=replace
    )


def shown(*swaps: Swap, visit: str = COOKIE, beat: float = 20.0, confirm: float = 3.0) -> Shown:
    """An answer to a browser."""
    number = int(visit.partition(".")[0]) if visit else None
    return Shown(visit=visit, number=number, beat=beat, confirm=confirm, swaps=swaps or (swap(),))


@dataclass
class ToldVisits:
    """Plays `tracking.visits.Visits`: keeps what it is asked, answers what a test has put into `answers`."""

    ready = True
    projects: dict[str, Project] = field(default_factory=dict)
    asked: list[tuple[str, dict]] = field(default_factory=list)
    answers: dict[str, object] = field(default_factory=lambda: {"arrive": shown(), "beat": shown(), "leave": None})

    def project(self, key: str) -> Project:
        if key not in self.projects:
            raise NoSuchObject("no project has this key")
        return self.projects[key]

    def arrive(self, key: str, **said) -> Deferred:
        answer = self._answer("arrive", said)
        if said["consent"] or not isinstance(answer, Shown):
            return succeed(answer) if not isinstance(answer, Exception) else fail(answer)
        return succeed(shown(swap(STATIC, STATIC_SHOWN), visit=""))

    def beat(self, key: str, cookie: str) -> Deferred:
        answer = self._answer("beat", {"cookie": cookie})
        return fail(answer) if isinstance(answer, Exception) else succeed(answer)

    def leave(self, key: str, cookie: str) -> Deferred:
        answer = self._answer("leave", {"cookie": cookie})
        return fail(answer) if isinstance(answer, Exception) else succeed(answer)

    def _answer(self, what: str, said: dict) -> object:
        self.asked.append((what, said))
        return self.answers[what]

    def count(self, what: str) -> int:
        return sum(one == what for one, _ in self.asked)

    def last(self, what: str) -> dict:
        return [said for one, said in self.asked if one == what][-1]

    def forget_visits(self) -> None:
        self.answers["beat"] = NoSuchObject("visit 123 is not known")


class ShopPages(Resource):
    """The pages of a site: ``/NAME`` is pages/NAME.html with the snippet's address put in. `headers` of every page."""

    isLeaf = True

    def __init__(self, snippet: str) -> None:
        super().__init__()
        self.snippet = snippet
        self.headers: dict[str, str] = {}
        self.extra: dict[str, str] = {}  # page: HTML that is no file

    def render_GET(self, request) -> bytes:
        name = request.path.decode().strip("/")
        if name not in self.extra and not os.path.exists(os.path.join(PAGES, name + ".html")):
            request.setResponseCode(404)
            return b"no such page"
        for header, value in self.headers.items():
            request.setHeader(header, value)
        request.setHeader("content-type", "text/html; charset=utf-8")
        if name in self.extra:
            text = self.extra[name]
        else:
            with open(os.path.join(PAGES, name + ".html"), encoding="utf-8") as file:
                text = file.read()
        return text.replace("SNIPPET", self.snippet).encode()


class BrowserTestCase(TestCase):
    """A shop with pages, the real HTTP side of visits over told visits, and a Chromium."""

    timeout = 180

    async def setUp(self) -> None:
        self.visits = ToldVisits()
        self.tracker = None
        self.start_tracker()
        tracker_port = self.tracker.getHost().port
        self.snippet = f"http://calltrack.example:{tracker_port}/t/{KEY}.js"
        self.pages = ShopPages(self.snippet)
        shop = reactor.listenTCP(0, BoundedSite(self.pages, 10.0, longest_body), interface=HOST)
        self.addCleanup(stop, shop)
        self.port = shop.getHost().port
        self.shop = f"http://shop.example:{self.port}"
        sites = (self.shop, f"http://m.shop.example:{self.port}")
        self.visits.projects[KEY] = Project(id=1, name="Glasses shop", key=KEY, sites=sites)
        self.browser = await Browser.start(self)

    def start_tracker(self, port: int = 0) -> None:
        """Listen for browsers of visitors; again at `port` after `stop_tracker`."""
        resource = VisitsResource(self.visits, RequestLimits(reactor.seconds, 0, 0))
        self.tracker = reactor.listenTCP(port, put_together({b"t": resource}), interface=HOST)
        self.addCleanup(self.stop_tracker)

    async def stop_tracker(self) -> None:
        """Nobody listens there any more."""
        tracker, self.tracker = self.tracker, None
        if tracker is not None:
            await stop(tracker)

    async def open(self, page: str, query: str = "") -> None:
        await self.browser.open(f"{self.shop}/{page}{query}")

    async def asked(self, what: str, count: int = 1) -> None:
        """Wait until visits have been asked so often."""
        await eventually(lambda: self.visits.count(what) >= count, f"{count} times {what}", 20)

    async def quiet(self) -> None:
        """Nothing was complained about on the console."""
        await self.quiet_but_for("favicon")

    async def quiet_but_for(self, words: str) -> None:
        """Nothing else was complained about on the console; a favicon that is not there may be."""
        told = await self.browser.console()
        self.assertEqual([line for line in told if words not in line and "favicon" not in line], [])


async def stop(port) -> None:
    """Stop listening; returns when the last connection is gone."""
    await port.stopListening()
    for channel in list(port.factory._open):
        channel.transport.abortConnection()
    await eventually(lambda: not port.factory.connections, "every connection is closed")


def quoted(text: str) -> str:
    """`text` as a JavaScript string."""
    return json.dumps(text)
