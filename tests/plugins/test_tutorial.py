"""docs/plugins.md is carried out as it stands: its package is made, installed into a clean virtual environment, tested, and used by a
real `twistd calltrack` that a device logs in to."""

from __future__ import annotations

import json
import os
import re
import sys

from twisted.internet import reactor
from twisted.internet.error import ConnectError
from twisted.trial.unittest import TestCase
from twisted.web.client import Agent, readBody

from tests.interop.harness import CHECKOUT
from tests.interop.processes import Child, eventually, free_port
from tests.interop.test_account import OwnDevice

PASSWORD = "GoodPass1"
HOST = "127.0.0.1"
_STEP = re.compile(r"^(?:<!-- file: (?P<file>\S+) -->\n)?```(?P<language>sh|python|toml)\n(?P<text>.*?)^```$", re.M | re.S)


def steps(document: str) -> list[tuple[str, str, str]]:
    """File (or ""), language and text of each code block, in order."""
    with open(os.path.join(CHECKOUT, document), encoding="utf-8") as file:
        return [(m["file"] or "", m["language"], m["text"]) for m in _STEP.finditer(file.read())]


class TutorialTests(TestCase):
    timeout = 300

    async def setUp(self) -> None:
        self.folder = os.path.abspath(self.mktemp())
        os.makedirs(self.folder)
        self.shelf = os.path.join(self.folder, "kept")
        self.bin = os.path.join(self.folder, "venv", "bin")
        await self.run_it([sys.executable, "-m", "venv", os.path.join(self.folder, "venv")])
        await self.run_it([os.path.join(self.bin, "pip"), "install", "--quiet", CHECKOUT])

    def start(self, arguments: list[str], folder: str) -> Child:
        path = self.bin + os.pathsep + os.environ["PATH"]
        environment = {"PATH": path, "PYTHONPATH": "", "VIRTUAL_ENV": os.path.dirname(self.bin)}
        return Child(self, arguments[0], arguments, path=folder, env=environment)

    async def run_it(self, arguments: list[str], folder: str = "") -> str:
        child = self.start(arguments, folder or self.folder)
        status = await child.end(200)
        self.assertEqual(status, 0, f"{arguments}\n{child.output[-4000:]}")
        return child.printed

    async def test_the_tutorial_s_package_is_built_tested_and_used(self) -> None:
        folder, told = self.folder, {}
        for name, language, text in steps("docs/plugins.md"):
            if name:
                with open(os.path.join(folder, name), "w", encoding="utf-8") as file:
                    file.write(text.replace("/tmp/calltrack-shelf", self.shelf))
                continue
            self.assertEqual(language, "sh", text)
            for line in text.splitlines():
                if line.startswith("cd "):
                    folder = os.path.join(folder, line[3:])
                    continue
                if line.endswith(" check"):
                    self.add_ports(os.path.join(folder, "calltrack.toml"))
                told[line] = await self.run_it(["/bin/bash", "-ec", line], folder)
        listed = [line for line in told["calltrack plugins"].splitlines() if "shelf" in line]
        self.assertRegex(listed[0], r"shelf +0\.1\.0 +ILocationStore +\[locations\] store +ready")
        self.assertRegex(told["calltrack --config calltrack.toml plugins"], r"shelf .* in use ")
        self.assertIn("locations shelf is well", told["calltrack --config calltrack.toml check"])
        await self.use(folder)

    def add_ports(self, config: str) -> None:
        """The ports of the page's configuration are the default ones: here they must be free, and the trunk known."""
        self.sip_port, self.web_port = free_port(HOST), free_port(HOST)
        with open(config, "a") as file:
            file.write(
                f'[sip]\nlisten = ["udp:{HOST}:{self.sip_port}"]\ndomain = "calltrack.example"\n[web]\nlisten = "{HOST}:{self.web_port}"\n'
                f'[media]\nports = [21000, 21039]\nlisten = "{HOST}"\n'
            )

    async def use(self, folder: str) -> None:
        """A device logs in; its binding is on the shelf, and there again after a restart."""
        calltrack = [os.path.join(self.bin, "calltrack"), "--config", "calltrack.toml"]
        project = json.loads(await self.run_it([*calltrack, "project", "add", "Glasses", "--json"], folder))
        account = json.loads(await self.run_it([*calltrack, "account", "show", "--project", str(project["id"]), "--json"], folder))
        line = f"echo {PASSWORD} | calltrack --config calltrack.toml account password --project {project['id']}"
        await self.run_it(["/bin/bash", "-ec", line], folder)
        engine = await self.engine(folder)
        device = OwnDevice(account["user"], PASSWORD, (HOST, self.sip_port), b"SHA-256")
        port = reactor.listenUDP(0, device, interface=HOST)
        self.addCleanup(port.stopListening)
        self.assertEqual((await device.log_in()).status, 200)
        self.assertEqual(os.listdir(self.shelf), [f"{project['id']}.json"])
        await self.stop(engine)
        engine = await self.engine(folder)
        listed = json.loads(await self.run_it([*calltrack, "registrations", "--json"], folder))
        self.assertEqual([entry["user"] for entry in listed], [account["user"]])
        await self.stop(engine)

    async def engine(self, folder: str) -> Child:
        """`twistd calltrack`, ready."""
        arguments = [os.path.join(self.bin, "twistd"), "-n", "--pidfile=", "calltrack", "--config", "calltrack.toml"]
        engine = self.start(arguments, folder)
        self.parts: dict[str, str] = {}

        async def ready() -> bool:
            self.assertIsNone(engine.status, engine.output[-3000:])
            try:
                response = await Agent(reactor).request(b"GET", f"http://{HOST}:{self.web_port}/ready".encode())
            except ConnectError:
                return False
            self.parts = json.loads(await readBody(response))["parts"]
            return response.code == 200

        await eventually(ready, "calltrack is ready", 20)
        self.assertEqual(self.parts["locations shelf"], "")
        return engine

    async def stop(self, engine: Child) -> None:
        engine.signal("TERM")
        await engine.end(15)
        self.assertNotIn("Traceback", engine.output)
