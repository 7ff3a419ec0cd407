"""The trace of a real call: on the terminal, in Wireshark's engine, and at a real HEP receiver."""

import os
import subprocess
import sys

from twisted.internet import reactor, task

from tests.interop.harness import CHECKOUT, CLI, ENGINE, NUMBER, InteropTestCase
from tests.interop.processes import Child, eventually, free_port, installed, listening
from tests.test_pcap import fields

FLUSHED = 1.5  # seconds after which sngrep and the engine have written what they have


class TraceTests(InteropTestCase):
    def configure(self, more: str = "", **options) -> None:
        super().configure(**options)
        if more:
            with open(self.config, "a") as file:
                file.write(more)

    async def show(self, *arguments: str) -> str:
        """What `calltrack call show` prints."""
        whole = [sys.executable, "-c", CLI, "--config", self.config, "call", "show", *arguments]
        child = Child(self, "calltrack call", whole, path=self.folder, env={"PYTHONPATH": CHECKOUT})
        self.assertEqual(await child.end(), 0, child.output)
        return child.printed

    async def one_call(self, transport: str = "udp") -> dict:
        office = await self.target("target", transport=transport)
        await self.route(self.address_of(office))
        await self.start_engine()
        await self.call(transport=transport).succeeds()
        record = await self.record()
        await task.deferLater(reactor, FLUSHED)
        return record

    async def test_messages_are_shown_as_text_and_opened_by_wireshark(self):
        for transport in ("udp", "tcp"):
            if transport == "tcp":
                await self.engine.kill()
                self.setUp()
            record = await self.one_call(transport)
            shown = await self.cli("call", "show", record["id"])
            messages = await self.cli("call", "show", record["id"], "--sip")
            self.assertEqual(len(messages), len(shown["ladder"]))
            self.assertTrue(messages[0]["lines"][0].startswith(f"INVITE sip:{NUMBER}@"))
            text = await self.show(record["id"], "--sip")
            self.assertIn(f"target-1: sent to {messages[2]['remote'][0]}", text)
            self.assertIn("    x-roistat-phone: " + NUMBER, text)

            path = os.path.join(self.folder, "call.pcap")
            self.assertEqual(await self.show(record["id"], "--pcap", path), "")
            self.assertEqual(os.stat(path).st_mode & 0o777, 0o600)
            seen = fields(path, "sip.Request-Line", "sip.Status-Line", only="sip")
            lines = [request or status for request, status in seen]
            self.assertEqual(lines, [message["lines"][0] for message in messages], transport)
            self.assertEqual(fields(path, "frame.number", only="_ws.malformed"), [("",)])
            self.assertEqual({source for (source,) in fields(path, "ip.src")} & {ENGINE}, {ENGINE})

    async def test_call_in_progress_has_a_ladder_too(self):
        office = await self.target("target")
        await self.route(self.address_of(office))
        await self.start_engine()
        caller = self.call("caller", "-d", "4000")

        async def talking():
            seen.extend(await self.cli("call", "list"))
            return seen and seen[-1]["status"] == "ACTIVE"

        seen: list[dict] = []
        await eventually(talking, "a call that lasts", 10)
        text = ""

        async def drawn():
            nonlocal text
            text = await self.show(seen[-1]["id"])
            return "--INVITE sdp--" in text

        await eventually(drawn, "a ladder", 10)
        self.assertIn("target-1", text)
        await caller.succeeds()

    async def test_homer_gets_every_message_as_hep(self):
        """sngrep as the server; what it has received it writes as a capture."""
        program = installed("sngrep", "sngrep")
        port = free_port("127.0.0.1")
        path = os.path.join(self.folder, "homer.pcap")
        self.configure(f'[trace]\nhep = "127.0.0.1:{port}"\nhep_password = "secret"\n')
        arguments = [program, "-F", "-N", "-q", "-L", f"udp:127.0.0.1:{port}", "-O", path]
        homer = Child(self, "sngrep", arguments, path=self.folder)
        await eventually(lambda: listening("udp", "127.0.0.1", port), "sngrep listens")
        record = await self.one_call()
        messages = await self.cli("call", "show", record["id"], "--sip")
        await task.deferLater(reactor, FLUSHED)
        homer.signal("INT")
        await homer.end(10)
        seen = fields(path, "ip.src", "udp.srcport", "sip.Request-Line", "sip.Status-Line", only="sip")
        expected = []
        for message in messages:
            host, number = message["local"] if message["sent"] else message["remote"]
            expected.append((host, str(number), message["lines"][0]))
        self.assertEqual([(host, number, request or status) for host, number, request, status in seen], expected)

    async def test_what_is_not_kept_is_said_in_words(self):
        self.configure("[trace]\nkeep = 0\n")
        record = await self.one_call()
        done = subprocess.run(
            [sys.executable, "-c", CLI, "--config", self.config, "call", "show", record["id"], "--sip"],
            capture_output=True, text=True, env={**os.environ, "PYTHONPATH": CHECKOUT}, cwd=self.folder,
        )  # fmt: skip
        self.assertEqual((done.returncode, done.stdout), (2, ""))
        self.assertIn("[trace] keep is 0", done.stderr)
        self.assertFalse(os.path.exists(os.path.join(self.folder, "calltrack.db-traces")))
