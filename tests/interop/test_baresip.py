"""Two real softphones talk through a real engine, and hear each other."""

import os
import re

from twisted.internet import reactor, task

from tests.interop import audio
from tests.interop.harness import ENGINE, NUMBER, RELAY_PORTS, InteropTestCase
from tests.interop.processes import Child, eventually, free_port, installed, listening

MODULES = next((p for p in ("/usr/lib/baresip/modules", "/usr/local/lib/baresip/modules") if os.path.isdir(p)), "")
TALK = 4.0  # seconds
PHONES = "127.0.0.1"  # baresip sends its media from wherever the kernel likes, which is here


class Softphone(Child):
    """A baresip that plays a tone and records what it hears. `account`: parameters of its account, or with
    `registered` the whole account; `settings`: more lines of its configuration; `prefix`: what the program is started
    with."""

    def __init__(
        self,
        test: InteropTestCase,
        name: str,
        frequency: float,
        *arguments: str,
        account: str = "",
        registered: bool = False,
        settings: str = "",
        host: str = PHONES,
        prefix: list[str] = [],
    ) -> None:
        program = installed("baresip", "baresip-core")
        folder = os.path.abspath(test.mktemp())
        os.makedirs(folder)
        self.folder = folder
        self.host = host
        self.port = free_port(PHONES)
        at = f"[{host}]" if ":" in host else host
        # baresip cuts file names at 127 bytes; it runs in this folder, so that these stay short.
        audio.write_tone(os.path.join(folder, "tone.wav"), frequency, 30)
        with open(os.path.join(folder, "config"), "w") as config:
            config.write(
                f"""net_interface {host}
sip_listen {at}:{self.port}
audio_source aufile,tone.wav
audio_player aubridge,{name}
audio_alert aubridge,{name}
ausrc_srate {audio.RATE}
auplay_srate {audio.RATE}
ausrc_channels 1
auplay_channels 1
snd_path .
module_path {MODULES}
module g711.so
module aufile.so
module aubridge.so
module sndfile.so
module_app account.so
module_app menu.so
{settings}
"""
            )
        with open(os.path.join(folder, "accounts"), "w") as accounts:
            accounts.write((account if registered else f"<sip:{name}@{at}:{self.port}>;regint=0{account}") + "\n")
        with open(os.path.join(folder, "contacts"), "w"):
            pass
        super().__init__(test, f"baresip {name}", [*prefix, program, "-f", folder, *arguments], path=folder)

    async def ready(self) -> None:
        await eventually(lambda: listening("udp", PHONES, self.port), f"{self.name} listens")

    def heard(self) -> list[int]:
        """The samples that came out of its decoder."""
        [recording] = [name for name in os.listdir(self.folder) if name.endswith("-dec.wav")]
        return audio.read(os.path.join(self.folder, recording))

    def media_sources(self) -> set[tuple[str, int]]:
        """Where its RTP came from, by its own account."""
        found = re.findall(r"incoming rtp for 'audio' established, receiving from (\S+):(\d+)", self.output)
        return {(host, int(port)) for host, port in found}


class SoftphoneTests(InteropTestCase):
    async def test_both_hear_the_other_through_the_relay_alone(self):
        self.configure(trunk_address=PHONES)
        office = Softphone(self, "office", 880, account=";answermode=auto")
        await office.ready()
        await self.route(f"sip:office@{PHONES}:{office.port}")
        await self.start_engine()
        dial = f"/dial sip:{NUMBER}@{ENGINE}:{self.sip_port}"
        caller = Softphone(self, "12025550143", 440, "-e", dial)
        for phone in (caller, office):
            await phone.writes("Call established")
        await task.deferLater(reactor, TALK)
        caller.signal("TERM")  # hangs up
        await caller.end(15)
        await office.writes("terminated")
        office.signal("TERM")
        await office.end(15)

        self.assertGreater(audio.seconds_of_tone(office.heard(), 440), TALK * 0.75)
        self.assertGreater(audio.seconds_of_tone(caller.heard(), 880), TALK * 0.75)
        self.assertEqual(audio.seconds_of_tone(office.heard(), 880), 0)
        for phone in (caller, office):
            [(host, port)] = phone.media_sources()
            self.assertEqual(host, ENGINE)
            self.assertIn(port, range(RELAY_PORTS[0], RELAY_PORTS[1] + 1))
        record = await self.record()
        self.assertEqual((record["status"], record["hangup"]), ("ANSWER", "caller"))
        self.assertEqual(record["media"]["verdict"], "both-ways")
        for party in ("caller", "target"):
            self.assertGreater(record["media"][party]["packets"], TALK * 50 * 0.75)
            self.assertEqual(record["media"][party]["strangers"], 0)
