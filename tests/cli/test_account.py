"""`calltrack account` and `calltrack registrations`: what scripts read, and where a password may come from."""

import json
import os
import sys
import time

from twisted.internet import protocol, reactor
from twisted.internet.defer import Deferred
from twisted.internet.utils import getProcessOutputAndValue

from calltrack.storage.url import open_stores
from calltrack.testing.account_contract import binding
from tests.cli.test_commands import ROOT, RUN, CommandTestCase


class Terminal(protocol.ProcessProtocol):
    """A person at a terminal who types the next line when asked."""

    def __init__(self, *lines):
        self.lines = list(lines)
        self.output = ""
        self.prompts = 0
        self.ended = Deferred()

    def outReceived(self, data):
        self.output += data.decode()
        while self.lines and self.output.count(": ") > self.prompts:
            self.prompts += 1
            self.transport.write(self.lines.pop(0).encode() + b"\n")

    def processEnded(self, reason):
        self.ended.callback(reason.value.exitCode)


class AccountCommandTestCase(CommandTestCase):
    def configure(self, text):
        listen = '[sip]\nlisten = ["udp:127.0.0.1:5070", "tcp:127.0.0.1:5070"]\ndomain = "calltrack.example"\n'
        super().configure(listen + text)

    async def setUp(self):
        super().setUp()
        await self.json("project", "add", "Glasses shop")


class AccountCommandTests(AccountCommandTestCase):
    async def typed(self, *args, text):
        out, err, status = await getProcessOutputAndValue(
            sys.executable,
            ["-c", RUN, "--config", self.config, *args],
            env={"PYTHONPATH": ROOT, "PATH": os.environ.get("PATH", "")},
            stdinBytes=text,
        )
        return out.decode(), err.decode(), status

    async def test_account_is_shown_with_what_a_phone_needs(self):
        account = await self.json("account", "show", "--project", "1")
        self.assertRegex(account.pop("user"), "^[a-z0-9]{10}$")
        self.assertEqual(
            account,
            {
                "project": 1,
                "domain": "calltrack.example",
                "port": 5070,
                "ports": {"udp": 5070, "tcp": 5070},
                "transports": ["udp", "tcp"],
                "enabled": False,
                "usable": False,
            },
        )

    async def test_password_from_standard_input_activates_the_account(self):
        for text in (b"GoodPass1\n", b"GoodPass1\r\n", b"GoodPass1", "Очки очки\nmore\n".encode()):
            out, err, status = await self.typed("account", "password", "--project", "1", "--json", text=text)
            self.assertEqual((err, status), ("", 0))
            self.assertTrue(json.loads(out)["enabled"])
        disabled = await self.json("account", "disable", "--project", "1")
        self.assertFalse(disabled["enabled"])
        self.assertEqual(await self.json("account", "show", "--project", "1"), disabled)

    async def test_every_broken_rule_is_named_and_the_password_is_not(self):
        out, err, status = await self.typed("account", "password", "--project", "1", text=b"qwe1\n")
        self.assertEqual((out, status), ("", 2))
        for words in ("fewer than 7 characters", "no upper-case letter"):
            self.assertIn(words, err)
        self.assertNotIn("qwe1", err)
        self.assertFalse((await self.json("account", "show", "--project", "1"))["enabled"])

    async def test_nothing_and_what_is_no_text_are_refused(self):
        for text in (b"", b"\n", b"\xff\xfe\n"):
            _, err, status = await self.typed("account", "password", "--project", "1", text=text)
            self.assertEqual(status, 2, err)
            self.assertNotIn("Traceback", err)

    async def test_password_is_never_an_argument(self):
        await self.refused("account", "password", "--project", "1", "GoodPass1")
        await self.refused("account", "password", "--project", "1", "--password", "GoodPass1")

    async def test_password_at_a_terminal_is_asked_for_twice_and_not_shown(self):
        person = Terminal("GoodPass1", "GoodPass1")
        command = [sys.executable, "-c", RUN, "--config", self.config, "account", "password", "--project", "1"]
        env = {"PYTHONPATH": ROOT, "TERM": "dumb", "PATH": os.environ.get("PATH", "")}
        reactor.spawnProcess(person, command[0], command, env, usePTY=True)
        self.assertEqual(await person.ended, 0, person.output)
        self.assertNotIn("GoodPass1", person.output)
        self.assertTrue((await self.json("account", "show", "--project", "1"))["enabled"])

    async def test_project_that_does_not_exist(self):
        for command in ("show", "disable"):
            self.assertIn("project 9", await self.refused("account", command, "--project", "9"))

    async def test_scenario_may_forward_to_the_account(self):
        scenario = await self.json(
            "scenario", "add", "Ads", "--project", "1", "--static", "m", "--forward", "account"
        )
        self.assertEqual([target["kind"] for target in scenario["targets"]], ["account"])


class RegistrationsCommandTests(AccountCommandTestCase):
    async def register(self, *bindings):
        stores = open_stores(f"sqlite:{self.database}", reactor)
        await stores.locations.write(list(bindings), [])
        stores.close()

    async def test_entry_a_contact(self):
        account = await self.json("account", "show", "--project", "1")
        soon = time.time() + 600
        await self.register(
            binding(1, 1, expires_at=soon, device="Zoiper 5"), binding(1, 2, expires_at=soon), binding(2, 3, expires_at=soon)
        )
        found = await self.json("registrations")
        self.assertEqual([entry["contact"] for entry in found], [f"sip:a@203.0.113.9:{5060 + n}" for n in (1, 2, 3)])
        first = found[0]
        self.assertEqual(
            (first["user"], first["device"], first["source"], first["transport"], first["q"]),
            (account["user"], "Zoiper 5", "203.0.113.9:5061", "udp", 1.0),
        )
        self.assertIn(first["expires"], range(500, 601))
        self.assertEqual(len(await self.json("registrations", "--project", "2")), 1)

    async def test_what_has_expired_is_not_listed(self):
        await self.register(binding(1, 1, expires_at=time.time() - 1))
        self.assertEqual(await self.json("registrations"), [])

    async def test_table_for_people_escapes_what_devices_say(self):
        await self.register(binding(1, 1, expires_at=time.time() + 600, device="Zoiper \x1b[31m"))
        out, err, status = await self.run_command("registrations")
        self.assertEqual((err, status), ("", 0))
        self.assertIn("203.0.113.9:5061", out)
        self.assertNotIn("\x1b", out)
