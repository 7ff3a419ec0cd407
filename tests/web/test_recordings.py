"""Recordings over HTTP: to whoever may listen, whole or in pieces, with a reason where there is none."""

import os

from twisted.internet import reactor
from twisted.internet.defer import Deferred
from twisted.web.client import ResponseFailed

from calltrack.testing.store_contract import call_record
from calltrack.tracking.model import Recording
from calltrack.web.api.site import API
from calltrack.web.recordings import send
from tests.web.browsing import PageTestCase
from tests.web.case import NOW

SOUND = os.urandom(700_001)  # some pieces and a bit
CAPTURE = b"a capture"
DAY = "2026-11-23"


class RecordingCase(PageTestCase):
    def make_services(self, **changes):
        self.directory = os.path.abspath(self.mktemp())
        os.makedirs(os.path.join(self.directory, DAY))
        for name, content in (("c1.wav", SOUND), ("c1.pcap", CAPTURE)):
            with open(os.path.join(self.directory, DAY, name), "wb") as file:
                file.write(content)
        answer = lambda request, name: send(request, reactor, self.directory, name)  # noqa: E731
        return super().make_services(send_recording=answer, **changes)

    def site_resources(self):
        return {**super().site_resources(), b"api": API(self.services).app.resource()}

    async def fill(self):
        await super().fill()
        other = await self.services.catalog.add_project("Shoes")
        kept = Recording(name=f"{DAY}/c1.wav", capture=f"{DAY}/c1.pcap", seconds=1.0, state="complete", began=NOW)
        of = {
            "c1": kept,
            "gone": Recording(name=f"{DAY}/gone.wav", state="complete"),
            "deleted": Recording(state="deleted", reason="kept for 90 days"),
            "failed": Recording(state="failed", reason="no audio came"),
            "silent": None,
            "evil": Recording(name="../../etc/passwd", state="complete"),
        }
        records = [call_record(call, NOW, project=self.project.id, status="ANSWER", recording=one) for call, one in of.items()]
        records.append(call_record("theirs", NOW, project=other.id, status="ANSWER", recording=kept))
        await self.stores.records.write(records)
        self.visitor = await self.logged_in()
        _, self.key = await self.services.keys.add(self.project.id)

    def page(self, call):
        return f"/projects/{self.project.id}/calls/{call}/recording"

    async def api(self, call, query="", **headers):
        headers.setdefault("authorization", f"Bearer {self.key}")
        return await self.ask("GET", f"/api/v1/calls/{call}/recording{query}", **headers)


class RecordingTests(RecordingCase):
    async def test_file_comes_whole_through_page_and_api(self):
        for answer in (await self.visitor.get(self.page("c1")), await self.api("c1")):
            self.assertEqual((answer.status, answer.body == SOUND), (200, True))
            self.assertEqual(answer.headers["content-type"], "audio/wav")
            self.assertEqual((answer.headers["accept-ranges"], answer.headers["x-content-type-options"]), ("bytes", "nosniff"))
            self.assertIn("no-store", answer.headers["cache-control"])
            self.assertIn('filename="c1.wav"', answer.headers["content-disposition"])

    async def test_player_gets_the_piece_that_it_asks_for(self):
        size = len(SOUND)
        for asked, start, end in (
            ("bytes=0-99", 0, 100),
            ("bytes=300000-", 300_000, size),
            ("bytes=-10", size - 10, size),
            (f"bytes={size - 1}-{size + 50}", size - 1, size),
        ):
            answer = await self.visitor.get(self.page("c1"), range=asked)
            self.assertEqual((answer.status, answer.body == SOUND[start:end]), (206, True), asked)
            self.assertEqual(answer.headers["content-range"], f"bytes {start}-{end - 1}/{size}")
        answer = await self.visitor.get(self.page("c1"), range=f"bytes={size}-")
        self.assertEqual((answer.status, answer.body, answer.headers["content-range"]), (416, b"", f"bytes */{size}"))
        for nonsense in ("bytes=-", "bytes=1-2,5-6", "lines=1-2", "bytes=9-x", "bytes=+1-2"):
            self.assertEqual((await self.visitor.get(self.page("c1"), range=nonsense)).status, 200, nonsense)

    async def test_capture_beside_the_sound_can_be_had(self):
        answer = await self.api("c1", "?file=capture")
        self.assertEqual((answer.body, answer.headers["content-type"]), (CAPTURE, "application/vnd.tcpdump.pcap"))
        self.assertEqual((await self.visitor.get(self.page("c1") + "?file=capture")).body, CAPTURE)

    async def test_what_is_not_there_is_404_with_the_reason(self):
        for call, words in {
            "deleted": "deleted when its time was over",
            "failed": "no audio came",
            "silent": "nothing was recorded",
            "gone": "is not there",
            "evil": "is not there",
            "nobody": "does not exist",
        }.items():
            answer = await self.api(call)
            self.assertEqual((answer.status, words in answer.json["detail"]), (404, True), answer.body)
            self.assertEqual((await self.visitor.get(self.page(call))).status, 404)

    async def test_only_who_may_listen_does(self):
        self.assertEqual((await self.ask("GET", self.page("c1"))).status, 303)
        self.assertEqual((await self.visitor.get(self.page("theirs"))).status, 404)
        self.assertEqual((await self.api("theirs")).status, 404)
        _, deaf = await self.services.keys.add(self.project.id, scopes=("calls:read",))
        self.assertEqual((await self.api("c1", authorization=f"Bearer {deaf}")).status, 403)
        self.assertEqual((await self.api("c1", authorization="Bearer nonsense")).status, 401)

    async def test_a_file_that_cannot_be_read_to_its_end_breaks_the_connection(self):
        self.pool.retryAutomatically = False

        def shortened(file, size, at):
            return pread(file, size, at) if at == 0 else b""

        def broken(file, size, at):
            if at:
                raise OSError(5, "Input/output error")
            return pread(file, size, at)

        pread = os.pread
        for read in (shortened, broken):
            self.patch(os, "pread", read)
            await self.assertFailure(Deferred.fromCoroutine(self.visitor.get(self.page("c1"))), ResponseFailed)
