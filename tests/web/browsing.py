"""Somebody at the page, without a browser: keeps cookies, fills in forms as they stand in the HTML."""

import re
from html import unescape
from urllib.parse import urlencode

from calltrack.access.model import Grant
from calltrack.web.pages.routes import ROUTES
from calltrack.web.pages.site import SEGMENTS, Pages

from tests.web.case import WebTestCase

PASSWORD = "a sentence nobody guesses"


class Visitor:
    """A browser's cookies, and the last page: `answer`."""

    def __init__(self, case):
        self.case = case
        self.cookies = {}
        self.answer = None

    async def get(self, path, **headers):
        return await self._ask("GET", path, None, headers)

    async def post(self, path, fields=None, csrf=None, **headers):
        """Send a form; its token is that of the last page unless told."""
        if csrf is None:
            csrf = re.search(r'<meta name="csrf" content="([^"]*)"', self.answer.text)[1]
        body = urlencode({"csrf": csrf, **(fields or {})}, doseq=True).encode()
        return await self._ask("POST", path, body, {"content_type": "application/x-www-form-urlencoded", **headers})

    async def follow(self, answer):
        while answer.status == 303:
            answer = await self.get(answer.headers["location"])
        return answer

    async def _ask(self, method, path, body, headers):
        if self.cookies:
            headers["cookie"] = "; ".join(f"{name}={value}" for name, value in self.cookies.items())
        answer = await self.case.ask(method, path, body, **headers)
        for cookie in answer.raw.getRawHeaders("set-cookie") or ():
            name, _, value = cookie.partition(";")[0].partition("=")
            self.cookies[name] = value
            if "Max-Age=0" in cookie:
                del self.cookies[name]
        if answer.status != 303:
            self.answer = answer
        return answer


class PageTestCase(WebTestCase):
    """A site with the page, a project, and people with roles in it: `owner`, `operator`, `analyst`."""

    def site_resources(self):
        pages = Pages(self.services, ROUTES).app.resource()
        return {segment: pages for segment in SEGMENTS}

    async def fill(self):
        catalog = self.services.catalog
        self.project = await catalog.add_project("Glasses", ("https://shop.example",))
        self.other = await catalog.add_project("Shoes")

    async def person(self, name, role, project=None):
        """Somebody who can log in."""
        people = self.services.people
        person = await people.add(name, [Grant(project=project, role=role)])
        await people.choose_password(await people.link(person.id), PASSWORD)
        return person

    async def logged_in(self, name="maria", role="owner", project=None):
        """A visitor who has logged in."""
        await self.person(name, role, project)
        visitor = Visitor(self)
        await visitor.get("/log-in")
        answer = await visitor.post("/log-in", {"name": name, "password": PASSWORD})
        self.assertEqual(answer.status, 303, answer.text)
        return visitor


def text_of(html):
    """What a page says, without its tags."""
    return " ".join(unescape(re.sub(r"<[^>]*>", " ", html)).split())
