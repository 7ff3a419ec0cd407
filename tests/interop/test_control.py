"""An operator at a running engine: the command line, signals, systemd's socket, the log."""

import json
import os
import shlex
import shutil
import socket
import stat
import subprocess
import sys
from signal import SIGTERM

from twisted.trial.unittest import SkipTest, SynchronousTestCase

from tests.interop.harness import CHECKOUT, CLI, InteropTestCase
from tests.interop.processes import Child, eventually

UNIT = os.path.join(CHECKOUT, "etc", "calltrack.service")


def unit(key):
    """The values of a key of the unit file."""
    with open(UNIT) as file:
        pairs = (line.rstrip("\n").partition("=") for line in file if not line.startswith("#"))
        return [value for name, _, value in pairs if name == key]


class ControlTests(InteropTestCase):
    def configure(self, more: str = "", **options) -> None:
        super().configure(**options)
        self.log = os.path.join(self.folder, "engine.jsonl")
        # Paths of sockets are short, those of trial's folders long.
        self.socket = f"/tmp/calltrack-{os.getpid()}-{self.sip_port}"
        self.addCleanup(lambda: os.path.exists(self.socket) and os.unlink(self.socket))
        with open(self.config, "a") as file:
            file.write(f'[control]\nsocket = "{self.socket}"\n[log]\nformat = "json"\nfile = "{self.log}"\n{more}')

    async def ctl(self, *arguments: str):
        return await self.cli("ctl", *arguments)

    def logged(self) -> list[dict]:
        with open(self.log) as file:
            return [json.loads(line) for line in file.read().split("\n") if line]

    async def test_a_call_is_seen_and_hung_up_and_its_log_lines_have_its_id(self):
        office = await self.target("target")
        await self.route(self.address_of(office))
        await self.start_engine()
        self.assertEqual(await self.ctl("calls"), [])
        self.call("caller", "-d", "30000")

        async def talking():
            found = await self.ctl("calls")
            return found and found[0]["state"] == "talking" and found[0]

        call = await eventually(talking, "a call in progress", 10)
        self.assertEqual((await self.ctl("status"))["calls"], 1)
        self.assertEqual(await self.ctl("hangup", call["id"]), {"hung_up": [call["id"]]})
        record = await self.record()
        self.assertEqual((record["id"], record["hangup"], record["reason"]), (call["id"], "engine", "operator"))
        [line] = [line for line in self.logged() if line.get("call_id") == call["id"]]
        self.assertIn("operator", line["text"])
        self.assertEqual(stat.S_IMODE(os.stat(self.socket).st_mode), 0o600)

    async def test_drained_engine_refuses_calls_and_stops_after_the_last_one(self):
        office = await self.target("target")
        await self.route(self.address_of(office))
        await self.start_engine()
        caller = self.call("caller", "-d", "3000")

        async def talking():
            return [call for call in await self.ctl("calls") if call["state"] == "talking"]

        await eventually(talking, "a call in progress", 10)
        self.assertTrue((await self.ctl("drain", "--stop"))["draining"])
        refused = self.call("caller-refused")
        await refused.end()
        self.assertTrue(refused.received("SIP/2.0 503"))
        self.assertIsNone(self.engine.status)
        await caller.succeeds()
        self.assertEqual(await self.engine.end(15), 0)
        self.assertEqual((await self.record())["status"], "ANSWER")

    async def test_sighup_reads_the_configuration_again_and_says_what_counts(self):
        await self.start_engine()
        with open(self.config) as file:
            text = file.read()
        with open(self.config, "w") as file:
            file.write(text.replace('name = "provider"', 'name = "provider"\nmax_calls = 7') + "[calls]\nmax_calls = 3\nheader_prefix = \"x-shop\"\n")
        os.rename(self.log, self.log + ".1")
        self.engine.signal("HUP")

        def told():
            return os.path.exists(self.log) and len([line for line in self.logged() if "reloaded: " in line["text"]]) == 3

        await eventually(told, "what was reloaded")
        texts = " ".join(line["text"] for line in self.logged())
        for words in ("[calls] max_calls counts from now on", "[[trunk]] counts from now on", "[calls] header_prefix has changed, which counts at the next start"):
            self.assertIn(words, texts)
        self.assertEqual((await self.ctl("reload"))["waiting"], ["[calls] header_prefix"])
        with open(self.config, "a") as file:
            file.write("[sip2]\n")
        self.engine.signal("HUP")
        await eventually(lambda: any("everything stays as it was" in line["text"] for line in self.logged()), "the error")
        self.assertIsNone(self.engine.status)

    async def test_engine_that_does_not_run_is_told_in_words(self):
        child = Child(self, "calltrack ctl", [sys.executable, "-c", CLI, "--config", self.config, "ctl", "status"],
                      path=self.folder, env={"PYTHONPATH": CHECKOUT})  # fmt: skip
        self.assertEqual(await child.end(), 1)
        self.assertIn("no engine runs on this configuration", child.output)

    async def test_the_units_own_command_tells_systemd_that_it_is_ready_and_alive(self):
        path = self.socket + "-notify"
        self.addCleanup(os.unlink, path)
        with socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM | socket.SOCK_NONBLOCK) as systemd:
            systemd.bind(path)
            [command] = unit("ExecStart")
            program, *arguments = shlex.split(command.replace("/etc/calltrack/calltrack.toml", self.config))
            self.assertEqual(os.path.basename(program), "twistd")
            start = "from twisted.scripts.twistd import run; run()"
            environment = {"PYTHONPATH": CHECKOUT, "NOTIFY_SOCKET": path, "WATCHDOG_USEC": "400000"}
            engine = Child(self, "calltrack", [sys.executable, "-c", start, *arguments], path=self.folder, env=environment)
            heard: list[str] = []

            def listen(word):
                try:
                    heard.append(systemd.recv(4096).decode())
                except BlockingIOError:
                    pass
                return any(word in said for said in heard)

            await eventually(lambda: listen("READY=1"), "READY", 20)
            await eventually(lambda: listen("WATCHDOG=1"), "WATCHDOG")
            self.assertIn("STATUS=0 calls", heard[0])
            engine.signal("TERM")
            await eventually(lambda: listen("STOPPING=1"), "STOPPING")
            self.assertEqual(await engine.end(15), -SIGTERM)  # which systemd takes for a clean end


class UnitTests(SynchronousTestCase):
    def test_systemd_takes_the_unit(self):
        program = shutil.which("systemd-analyze")
        if program is None:
            raise SkipTest("systemd-analyze is not installed: apt-get install systemd")
        folder = self.mktemp()
        os.makedirs(folder)
        path = os.path.join(folder, "calltrack.service")
        with open(UNIT) as source, open(path, "w") as target:
            target.write(source.read().replace("/opt/calltrack/bin/twistd", "/bin/true"))
        done = subprocess.run([program, "verify", "--man=no", path], capture_output=True, text=True, timeout=60)
        self.assertEqual((done.returncode, [line for line in done.stderr.split("\n") if "calltrack" in line]), (0, []))
        self.assertEqual((unit("Type"), unit("Restart"), unit("NoNewPrivileges")), (["notify"], ["on-failure"], ["yes"]))
