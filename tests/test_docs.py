"""What the documents say can be typed and written works: configurations, commands, links."""

import os
import re
import shlex
import sys

import calltrack
from calltrack.config import load
from twisted.trial.unittest import SynchronousTestCase, TestCase

from tests.interop.processes import Child

CHECKOUT = os.path.dirname(os.path.dirname(os.path.abspath(calltrack.__file__)))
DOCUMENTS = (
    "README.md",
    "docs/first-trunk.md",
    "docs/snippet.md",
    "docs/tracking.md",
    "docs/operating.md",
    "docs/media.md",
    "docs/exchanges.md",
    "docs/accounts.md",
    "docs/architecture.md",
    "docs/api.md",
    "docs/page.md",
    "docs/recording.md",
    "docs/rtpengine.md",
    "docs/webhooks.md",
    "docs/events.md",
    "docs/tracing.md",
    "docs/running.md",
)
CLI = "from calltrack.cli import main; main(prog_name='calltrack')"


def text_of(document):
    with open(os.path.join(CHECKOUT, document), encoding="utf-8") as file:
        return file.read()


def blocks(document, language):
    """The code blocks of a document in one language."""
    return re.findall(rf"^```{language}\n(.*?)^```", text_of(document), re.MULTILINE | re.DOTALL)


def commands(document):
    """The `calltrack` commands in the shell blocks, but those with a placeholder in capitals, in order."""
    lines = "\n".join(blocks(document, "sh")).replace("\\\n", "").split("\n")
    typed = [line for line in lines if line.startswith("calltrack ")]
    return [shlex.split(line)[1:] for line in typed if not re.search(r"\b[A-Z]{2,}$", line)]


class DocumentTests(SynchronousTestCase):
    def test_every_configuration_shown_is_accepted(self):
        shown = [(document, block) for document in DOCUMENTS for block in blocks(document, "toml")]
        self.assertGreater(len(shown), 2)
        for document, block in shown:
            load(block, document)

    def test_every_local_link_leads_somewhere(self):
        for document in (*DOCUMENTS, "docs/plugins.md"):  # whose configuration needs the package that it builds
            for target in re.findall(r"\]\(([^)#:]+)(?:#[^)]*)?\)", text_of(document)):
                path = os.path.join(CHECKOUT, os.path.dirname(document), target)
                self.assertTrue(os.path.exists(path), f"{document}: {target}")

    def test_test_command_is_marked_for_continuous_integration(self):
        self.assertIn("<!-- test command -->\n```sh\n", text_of("README.md"))


class CommandTests(TestCase):
    timeout = 60

    async def run_all(self, document):
        """Run a document's commands in order beside its first configuration, where it has one."""
        folder = os.path.abspath(self.mktemp())
        os.makedirs(folder)
        # The port checked must not depend on what else this machine does.
        shown = next(iter(blocks(document, "toml")), "")
        free = '[sip]\nlisten = ["udp:127.0.0.1:0"]\n' if "[sip]" not in shown else ""
        settings = shown.replace("[sip]", '[sip]\nlisten = ["udp:127.0.0.1:0"]')
        with open(os.path.join(folder, "calltrack.toml"), "w") as file:
            file.write(free + '[web]\nlisten = "127.0.0.1:0"\n' + settings)
        typed = commands(document)
        self.assertGreater(len(typed), 4)
        for arguments in typed:
            child = Child(self, "calltrack", [sys.executable, "-c", CLI, *arguments], path=folder, env={"PYTHONPATH": CHECKOUT})
            status = await child.end()
            self.assertEqual(status, 0, f"{shlex.join(arguments)}\n{child.output}")

    async def test_commands_of_the_readme_work_in_their_order(self):
        await self.run_all("README.md")

    async def test_commands_of_accounts_work_in_their_order(self):
        await self.run_all("docs/accounts.md")

    async def test_commands_of_webhooks_work_in_their_order(self):
        await self.run_all("docs/webhooks.md")

    async def test_commands_of_the_snippet_work_in_their_order(self):
        await self.run_all("docs/snippet.md")

    async def test_commands_of_the_first_trunk_work_in_their_order(self):
        await self.run_all("docs/first-trunk.md")
