"""A real Chromium of a test, driven over the WebDriver protocol (W3C). Knows no page.

Each name below `.example` leads to loopback, and nothing else leads anywhere: a browser of a test asks nobody outside.
"""

import json
import os
import tempfile
from io import BytesIO
from shutil import rmtree
from typing import Any

from twisted.internet import reactor
from twisted.internet.error import ConnectError
from twisted.trial.unittest import TestCase
from twisted.web.client import Agent, FileBodyProducer, HTTPConnectionPool, readBody
from twisted.web.http_headers import Headers

from tests.interop.processes import Child, eventually, free_port, installed

HOST = "127.0.0.1"
AGENT = "Mozilla/5.0 (X11; Linux x86_64) AppleWebKit/537.36 (KHTML, like Gecko) Chrome/140.0.0.0 Safari/537.36"
SWITCHES = (
    *("--headless=new", "--no-sandbox", "--disable-gpu", "--disable-dev-shm-usage", "--no-first-run"),
    *("--disable-background-networking", "--disable-component-update", "--disable-sync", "--disable-extensions"),
    *("--no-default-browser-check", "--disable-domain-reliability", "--disable-client-side-phishing-detection"),
    f"--user-agent={AGENT}",
)


class Browser:
    """One Chromium with a profile of its own; `await Browser.start(test)`."""

    def __init__(self, url: str, home: str) -> None:
        self._url = url
        self._home = home
        self._agent = Agent(reactor, pool=HTTPConnectionPool(reactor, persistent=False))

    @classmethod
    async def start(cls, test: TestCase, hosts: dict[str, str] | None = None) -> "Browser":
        """A browser that ends with the test. `hosts`: loopback addresses of names; all other names below ``.example``
        are 127.0.0.1. SkipTest without Chromium."""
        chromium, driver = installed("chromium", "chromium"), installed("chromedriver", "chromium-driver")
        port = free_port(HOST)
        home = tempfile.mkdtemp(prefix="calltrack-browser-")
        test.addCleanup(rmtree, home, ignore_errors=True)
        environment = {"HOME": home, "XDG_CONFIG_HOME": home, "XDG_CACHE_HOME": home}
        child = Child(test, "chromedriver", [driver, f"--port={port}"], env=environment)
        browser = cls(f"http://{HOST}:{port}", home)

        async def up() -> bool:
            try:
                return (await browser._ask("GET", "/status"))["ready"]
            except ConnectError:
                assert child.status is None, child.output
                return False

        await eventually(up, "chromedriver answers", 60)
        names = {**(hosts or {}), "*.example": HOST}
        rules = ", ".join(f"MAP {name} {address}" for name, address in names.items()) + ", MAP * ~NOTFOUND"
        profile = os.path.join(home, "profile")
        switches = [*SWITCHES, f"--user-data-dir={profile}", f"--host-resolver-rules={rules}"]
        wanted = {
            "browserName": "chrome",
            "pageLoadStrategy": "normal",
            "goog:chromeOptions": {"binary": chromium, "args": switches},
            "goog:loggingPrefs": {"browser": "ALL"},
        }
        session = await browser._ask("POST", "/session", {"capabilities": {"alwaysMatch": wanted}})
        browser._url += "/session/" + session["sessionId"]
        test.addCleanup(browser._ask, "DELETE", "")
        return browser

    async def _ask(self, method: str, path: str, body: Any = None) -> Any:
        """One command of the protocol; AssertionError with the driver's words when it fails."""
        sent = None if method != "POST" else FileBodyProducer(BytesIO(json.dumps(body or {}).encode()))
        headers = Headers({b"Content-Type": [b"application/json"]})
        answer = await self._agent.request(method.encode(), (self._url + path).encode(), headers, sent)
        value = json.loads(await readBody(answer))["value"]
        if answer.code != 200:
            raise AssertionError(f"{method} {path}: {value['error']}: {value['message'][:1000]}")
        return value

    async def open(self, url: str) -> None:
        """Load a page; returns after its `load` event."""
        await self._ask("POST", "/url", {"url": url})

    async def run(self, script: str, *arguments: Any) -> Any:
        """What the function body `script` returns in the page."""
        return await self._ask("POST", "/execute/sync", {"script": script, "args": list(arguments)})

    async def value(self, expression: str) -> Any:
        """What a JavaScript expression is in the page."""
        return await self.run(f"return ({expression});")

    async def until(self, expression: str, expected: Any = True, seconds: float = 20.0) -> None:
        """Wait until an expression has the expected value; AssertionError with the last one."""
        seen: list[Any] = []

        async def same() -> bool:
            seen[:] = [await self.value(expression)]
            return seen == [expected]

        try:
            await eventually(same, f"{expression} is {expected!r}", seconds)
        except AssertionError as problem:
            raise AssertionError(f"{problem}; it is {seen[0]!r}; the console: {await self.console()}") from None

    async def text(self, selector: str) -> str:
        """The text of the first element that the selector finds."""
        return await self.run("return document.querySelector(arguments[0]).textContent", selector)

    async def shows(self, selector: str, text: str) -> None:
        """Wait until an element has this text."""
        await self.until(f"(document.querySelector({json.dumps(selector)}) || {{}}).textContent", text)

    async def console(self) -> list[str]:
        """What the browser wrote to its console since it was asked last."""
        return [line["message"] for line in await self._ask("POST", "/se/log", {"type": "browser"})]

    async def devtools(self, command: str, **parameters: Any) -> Any:
        """A command of the Chrome DevTools protocol."""
        return await self._ask("POST", "/goog/cdp/execute", {"cmd": command, "params": parameters})

    async def put_away(self) -> None:
        """Minimise the window: the page is hidden."""
        await self._state("minimized")

    async def bring_back(self) -> None:
        """The page is seen again."""
        await self._state("normal")

    async def _state(self, state: str) -> None:
        window = (await self.devtools("Browser.getWindowForTarget"))["windowId"]
        await self.devtools("Browser.setWindowBounds", windowId=window, bounds={"windowState": state})

    async def back(self) -> None:
        await self._ask("POST", "/back")
