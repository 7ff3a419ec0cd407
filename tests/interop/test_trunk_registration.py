"""We register with a real registrar, and its calls come to us (PRODUCT section 5)."""

import os

from tests.interop.harness import CALLER, NUMBER, TRUNK, InteropTestCase, Sipp
from tests.interop.processes import Child, eventually, free_port, installed
from tests.interop.test_account import MODULES
from tests.interop.test_baresip import PHONES

REALM = "provider.example"


class RegistrarTests(InteropTestCase):
    def setUp(self) -> None:
        super().setUp()
        self.port = free_port(PHONES)

    def kamailio(self) -> Child:
        """A registrar with one user, u100, who gets every call."""
        program = installed("kamailio", "kamailio")
        folder = os.path.join(self.folder, "kamailio")
        os.makedirs(folder)
        config = os.path.join(folder, "kamailio.cfg")
        with open(config, "w") as file:
            file.write(
                f"""#!KAMAILIO
debug=2
log_stderror=yes
fork=yes
children=2
tcp_children=2
listen=udp:{PHONES}:{self.port}
listen=tcp:{PHONES}:{self.port}
mpath="{MODULES}/"
loadmodule "tm.so"
loadmodule "sl.so"
loadmodule "rr.so"
loadmodule "pv.so"
loadmodule "textops.so"
loadmodule "siputils.so"
loadmodule "xlog.so"
loadmodule "usrloc.so"
loadmodule "registrar.so"
loadmodule "auth.so"
request_route {{
    if (is_method("OPTIONS")) {{ sl_send_reply("200", "OK"); exit; }}
    if (is_method("REGISTER")) {{
        if (!pv_www_authenticate("{REALM}", "secret word", "0")) {{ www_challenge("{REALM}", "0"); exit; }}
        save("location");
        if (registered("location", "sip:u100@{REALM}")) {{ xlog("L_WARN", "HAS $tU by $proto\\n"); }} else {{ xlog("L_WARN", "LOST $tU\\n"); }}
        exit;
    }}
    if (is_method("CANCEL")) {{ t_relay(); exit; }}
    if (has_totag()) {{ loose_route(); t_relay(); exit; }}
    record_route();
    $ru = "sip:u100@{REALM}";
    if (!lookup("location")) {{ sl_send_reply("404", "Not registered"); exit; }}
    t_relay();
}}
"""
            )
        child = Child(self, "kamailio", [program, "-f", config, "-DD", "-E", "-w", folder, "-Y", folder], path=folder)

        async def stop():
            child.signal("TERM")  # it ends its own children, which a kill would leave
            await child.end()

        self.addCleanup(stop)
        return child

    async def serves(self, transport: str) -> None:
        """Register, take a call, log out."""
        suffix = ";transport=tcp" if transport == "tcp" else ""
        more = f"""
[[trunk]]
name = "registered"
country = "US"
outbound = "sip:{PHONES}:{self.port}{suffix}"
aor = "sip:u100@{REALM}"
username = "u100"
password = "secret word"
register = true
"""
        self.configure(trunk=more)
        office = await self.target("target")
        await self.route(self.address_of(office))
        kamailio = self.kamailio()
        await self.start_engine()
        await kamailio.writes(f"HAS u100 by {transport}")

        async def up():
            found = {entry["name"]: entry for entry in await self.cli("trunk", "list")}
            return found if found["registered"]["registered"] else None

        found = await eventually(up, "the trunk is registered")
        self.assertEqual((found["registered"]["state"], found["registered"]["reason"]), ("up", ""))
        self.assertTrue(3000 < found["registered"]["registered_for"] <= 3600, found)
        self.assertEqual(found["provider"]["state"], "unknown")
        way = [f"{PHONES}:{self.port}", "-m", "1", "-s", NUMBER, "-key", "caller", CALLER]
        caller = Sipp(self, "caller", way, TRUNK, free_port(TRUNK), "udp")
        try:
            await caller.succeeds()
        except AssertionError as problem:
            raise AssertionError(f"{problem}\n{kamailio.output[-4000:]}") from None
        await office.succeeds()
        record = await self.record()
        self.assertEqual((record["status"], record["trunk"], record["callee"]), ("ANSWER", "registered", NUMBER))
        self.engine.signal("TERM")
        await kamailio.writes("LOST u100")
        await self.engine.end(15)

    async def test_kamailio_takes_our_registration_and_sends_us_its_calls(self):
        await self.serves("udp")

    async def test_kamailio_takes_our_registration_by_tcp_and_sends_us_its_calls(self):
        await self.serves("tcp")

    async def test_registrar_that_starts_late_gets_its_registration(self):
        self.configure(
            trunk=f"""
[[trunk]]
name = "registered"
outbound = "sip:{PHONES}:{self.port};transport=tcp"
username = "u100"
password = "secret word"
register = true
"""
        )
        await self.start_engine()

        async def down():
            (found,) = [entry for entry in await self.cli("trunk", "list") if entry["name"] == "registered"]
            return found["state"] == "down"

        await eventually(down, "the trunk is down")
        kamailio = self.kamailio()
        await kamailio.writes("HAS u100")
