"""Deliveries to a webhook and lines of a file sink: how many a second, at what cost. See README.md."""

from __future__ import annotations

import argparse
import os
import subprocess
import sys
import tempfile
import time
from pathlib import Path
from types import SimpleNamespace

sys.path.insert(0, str(Path(__file__).resolve().parents[2]))

from twisted.internet import defer, task  # noqa: E402

from calltrack.events.settings import EventsSettings, SinkSettings, WebhooksSettings  # noqa: E402
from calltrack.events.webhooks import Webhook, new_secret  # noqa: E402
from calltrack.events.wiring import Events  # noqa: E402
from calltrack.service import use_monotonic_time, wall_ms  # noqa: E402
from calltrack.storage.url import open_stores  # noqa: E402
from calltrack.testing.store_contract import call_record  # noqa: E402
from calltrack.timers import Timers  # noqa: E402

_ENDPOINT = """
import sys
from twisted.internet import reactor
from twisted.internet.protocol import Factory, Protocol

class Endpoint(Protocol):
    left = b""
    def dataReceived(self, data):
        self.left += data
        while b"\\r\\n\\r\\n" in self.left:
            head, _, rest = self.left.partition(b"\\r\\n\\r\\n")
            length = int(head.lower().partition(b"content-length: ")[2].partition(b"\\r\\n")[0])
            if len(rest) < length:
                return
            self.left = rest[length:]
            self.transport.write(b"HTTP/1.1 200 OK\\r\\nContent-Length: 0\\r\\n\\r\\n")

place = reactor.listenTCP(0, Factory.forProtocol(Endpoint), interface="127.0.0.1")
print(place.getHost().port, flush=True)
reactor.run()
"""


async def measure(reactor, calls: int, directory: str) -> None:
    endpoint = subprocess.Popen([sys.executable, "-c", _ENDPOINT], stdout=subprocess.PIPE, text=True)
    try:
        await _measure(reactor, calls, directory, endpoint.stdout.readline().strip())
    finally:
        endpoint.kill()
        endpoint.wait()


async def _measure(reactor, calls: int, directory: str, port: str) -> None:
    stores = open_stores(f"sqlite:{directory}/calltrack.db", reactor)
    await stores.migrate()
    await stores.events.position("sink:file")  # from the beginning
    await stores.webhooks.add(Webhook(id=0, project=1, url=f"http://127.0.0.1:{port}/", secret=new_secret()))
    at = wall_ms()
    for first in range(0, calls, 500):
        await stores.records.write(
            [
                call_record(
                    f"{number:032x}", at, caller=f"1202{number:07d}", status="ANSWER", ringing=at, answered=at, ended=at
                )
                for number in range(first, min(first + 500, calls))
            ]
        )
    sink = SinkSettings(name="file", kind="json-lines", options={"path": f"{directory}/events.jsonl"})
    settings = SimpleNamespace(
        events=EventsSettings(),
        webhooks=WebhooksSettings(allow_private=True),
        sinks=(sink,),
        web=SimpleNamespace(public_url=""),
    )
    for name in ("file", "webhook"):
        if name == "file":
            events = Events(settings, stores.events, _NoWebhooks(), reactor, Timers(reactor), wall_ms)
        else:
            settings.sinks = ()
            events = Events(settings, stores.events, stores.webhooks, reactor, Timers(reactor), wall_ms)
        began, used = time.monotonic(), time.process_time()
        events.start()
        while True:
            await task.deferLater(reactor, 0.05)
            if name == "file" and events.feeds[0].delivered >= 4 * calls:
                break
            if name == "webhook":
                standing = (await stores.webhooks.standings())[1]
                if standing.pending == 0 and standing.behind == 0:
                    break
        seconds, cpu = time.monotonic() - began, time.process_time() - used
        count = (4 if name == "file" else 2) * calls
        print(f"{name:8} {count} events in {seconds:.2f} s: {count / seconds:.0f}/s, {cpu / count * 1e6:.0f} us of CPU each")
        await events.stop()
    stores.close()


class _NoWebhooks:
    """A store without webhooks."""

    def version(self):
        return defer.succeed(1)

    def snapshot(self):
        return defer.succeed((1, []))


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--calls", type=int, default=5000)
    chosen = parser.parse_args()
    with tempfile.TemporaryDirectory() as directory:
        from twisted.internet import reactor

        use_monotonic_time(reactor)
        task.react(
            lambda reactor: defer.Deferred.fromCoroutine(measure(reactor, chosen.calls, os.path.abspath(directory)))
        )


if __name__ == "__main__":
    main()
