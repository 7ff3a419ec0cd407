import ipaddress
import re
from pathlib import Path

import msgspec
from hypothesis import given
from hypothesis import strategies as st
from twisted.trial.unittest import SynchronousTestCase

import calltrack
from calltrack import config
from calltrack.checks import HostPort, Listen
from calltrack.config.backends import CHOSEN
from calltrack.errors import ConfigErrors
from calltrack.plugins.backends import Choice
from calltrack.plugins.points import POINTS

EXAMPLE = Path(calltrack.__file__).parents[1] / "etc" / "calltrack.toml"


class DefaultsTests(SynchronousTestCase):
    def test_nothing_configured_is_the_default(self):
        self.assertEqual(config.load(""), config.defaults())
        self.assertEqual(config.load("[sip]\n[media]\n[calls]\n[storage]\n[web]\n"), config.defaults())

    def test_defaults_are_what_the_service_promises(self):
        settings = config.defaults()
        self.assertEqual([str(where) for where in settings.sip.listen], ["udp:0.0.0.0:5060", "tcp:0.0.0.0:5060"])
        self.assertEqual((settings.media.relay, settings.media.ports), ("twisted", (20000, 29999)))
        self.assertEqual((settings.storage.url, str(settings.web.listen)), ("sqlite:calltrack.db", "127.0.0.1:8080"))
        self.assertEqual((settings.calls.lookup_budget, settings.trunks), (0.2, ()))


class ExampleTests(SynchronousTestCase):
    def test_example_loads_and_says_the_defaults(self):
        settings = config.load(EXAMPLE.read_text("utf-8"))
        self.assertEqual([trunk.name for trunk in settings.trunks], ["provider"])
        for section in ("sip", "tls", "media", "calls", "registrar", "storage", "web", "events", "webhooks", "tariff"):
            self.assertEqual(getattr(settings, section), getattr(config.defaults(), section))

    def test_example_loads_with_every_comment_taken_from_its_keys(self):
        text = re.sub(r"(?m)^# ([a-z_]+ = )", r"\1", EXAMPLE.read_text("utf-8"))
        settings = config.load(text)
        self.assertEqual((settings.sip.advertise, settings.trunks[0].realm), ("203.0.113.5", "provider.example"))

    def test_example_names_every_key_that_exists(self):
        text = EXAMPLE.read_text("utf-8")
        named = set(re.findall(r"(?m)^(?:# )?([a-z][a-z0-9_]*) = ", text))
        values = (getattr(config.defaults(), name) for name in config.Settings.__struct_fields__)
        sections = [value for value in values if not isinstance(value, (tuple, Choice))]
        sections += [value for section in sections for value in msgspec.structs.astuple(section) if _is_section(value)]
        known = {
            field.name
            for section in (*map(type, sections), config.TrunkSettings)
            for field in msgspec.structs.fields(section)
            if not _is_section(field.default) and field.name != "options"
        } | {POINTS[name].key for name in CHOSEN}
        self.assertEqual(named, known)


def _is_section(value):
    return isinstance(value, msgspec.Struct)


class LoadTests(SynchronousTestCase):
    def test_every_key_of_a_trunk(self):
        (trunk,) = config.load(
            """
            [[trunk]]
            name = "provider"
            sources = ["198.51.100.0/24", "2001:db8::7"]
            inbound_username = "their"
            inbound_password = "word"
            number_from = "p-called-party-ID"
            country = "us"
            outbound = "SIP:Trunk.Example:5061;transport=TCP"
            username = "u"
            password = "p w"
            realm = "r"
            register = true
            aor = "12025550143@Provider.example"
            register_expires = 600
            max_calls = 7
            max_rate = 2
            caller_id = "+12125550100"
            number_format = "National"
            trust_identity = false
            pass_diversion = true
            """
        ).trunks
        self.assertEqual(
            trunk,
            config.TrunkSettings(
                name="provider",
                sources=(ipaddress.ip_network("198.51.100.0/24"), ipaddress.ip_network("2001:db8::7/128")),
                inbound_username="their",
                inbound_password="word",
                number_from="p-called-party-id",
                country="US",
                outbound="sip:trunk.example:5061;transport=tcp",
                username="u",
                password="p w",
                realm="r",
                register=True,
                aor="sip:12025550143@provider.example",
                register_expires=600,
                max_calls=7,
                max_rate=2.0,
                caller_id="+12125550100",
                number_format="national",
                trust_identity=False,
                pass_diversion=True,
            ),
        )

    def test_listen_addresses_of_both_families(self):
        sip = config.load('[sip]\nlisten = ["udp:[::1]:0", "TCP:127.0.0.1:5070"]').sip
        self.assertEqual(sip.listen, (Listen("udp", "::1", 0), Listen("tcp", "127.0.0.1", 5070)))
        self.assertEqual(config.load('[web]\nlisten = "[::1]:0"').web.listen, HostPort("::1", 0))

    def test_media_addresses_alone_or_in_a_list(self):
        self.assertEqual(config.load('[media]\nlisten = "::"').media.listen, ("::",))
        media = config.load('[media]\nlisten = ["0.0.0.0", "::"]\nadvertise = "203.0.113.5"').media
        self.assertEqual((media.listen, media.advertise), (("0.0.0.0", "::"), ("203.0.113.5",)))


class ErrorTests(SynchronousTestCase):
    def errors(self, text, source="calltrack.toml"):
        return self.assertRaises(ConfigErrors, config.load, text, source).errors

    def error(self, text, start, *words):
        (error,) = self.errors(text)
        self.assertTrue(error.startswith(start + ": "), error)
        for word in words:
            self.assertIn(word, error)

    def test_number_outside_its_limits_names_key_limits_and_unit(self):
        self.assertEqual(self.errors("[sip]\nt1 = 0"), ["[sip] t1: 0 is outside 0.01 to 5 (seconds)"])

    def test_session_that_expires_before_the_least_interval_is_refused_and_0_asks_for_none(self):
        self.assertEqual(
            self.errors("[sip]\nsession_expires = 100\nmin_se = 120"),
            ["[sip] session_expires: 100 is less than min_se, which is 120 (seconds)"],
        )
        self.assertEqual(config.load("[sip]\nsession_expires = 0\nmin_se = 120").sip.session_expires, 0)
        self.assertEqual(self.errors("[sip]\nmin_se = 89"), ["[sip] min_se: 89 is outside 90 to 86400"])

    def test_all_errors_come_at_once_in_order(self):
        errors = self.errors(
            """
            [sip]
            t1 = 0
            lisen = []
            [web]
            listen = "localhost"
            [spi]
            [[trunk]]
            name = "a"
            sources = ["nobody"]
            [[trunk]]
            country = "XX"
            """
        )
        starts = ["[sip] t1", "[sip] lisen", "[web] listen", "[spi]", '[[trunk]] "a" sources']
        starts += ["[[trunk]] number 2 country", "[[trunk]] number 2 name"]
        self.assertEqual([error[: len(start)] for error, start in zip(errors, starts, strict=True)], starts)

    def test_a_section_within_a_section_is_read_and_judged_like_any_other(self):
        settings = config.load('[media]\nrelay = "rtpengine"\n[media.rtpengine]\nnodes = ["10.0.0.5:2223 weight=2", "[::1]:2223"]')
        self.assertEqual(settings.media.rtpengine.nodes, (("10.0.0.5", 2223, 2), ("::1", 2223, 1)))
        self.error("[media.rtpengine]\nnode = 1", "[media.rtpengine] node", "unknown key", "did you mean nodes?")
        self.error('[media.rtpengine]\nnodes = ["rtp.example:2223"]', "[media.rtpengine] nodes", "no IPv4 or IPv6 address")
        self.error('[media.rtpengine]\nnodes = ["10.0.0.5"]', "[media.rtpengine] nodes", "address:port")
        self.error('[media.rtpengine]\nnodes = ["10.0.0.5:0"]', "[media.rtpengine] nodes", "no port from 1 to 65535")
        self.error('[media.rtpengine]\nnodes = ["10.0.0.5:2223 2"]', "[media.rtpengine] nodes", "weight from 1 to 9999")
        self.error('[media.rtpengine]\nnodes = []', "[media.rtpengine] nodes", "empty list")
        self.error('[media.rtpengine]\ninterfaces = ["pub"]', "[media.rtpengine] interfaces", "no pair of names")
        self.error('[media.rtpengine]\nlearning = "yes"', "[media.rtpengine] learning", "none of auto, off, heuristic")
        self.error("[media]\nrtpengine = 1", "[media.rtpengine]", "no section")

    def test_unknown_key_and_section_name_the_nearest_known_one(self):
        self.error("[sip]\nlisen = 1", "[sip] lisen", "unknown key", "did you mean listen?")
        self.error("[trunks]\n", "[trunks]", "unknown section", "did you mean trunk?")
        self.error("[sip]\nzzz = 1", "[sip] zzz", "known: listen, domain")
        self.error("x = 1", "[x]", "known: sip, tls, media")

    def test_syntax_error_names_file_line_and_column(self):
        self.assertEqual(self.errors("[sip]\nt1 = = 3", "a.toml"), ["a.toml: Invalid value (at line 2, column 6)"])

    def test_every_wrong_item_of_a_list_is_named(self):
        self.error('[sip]\nlisten = ["x", "udp:1.2.3.4:5060", "tcp:host:1"]', "[sip] listen", "'x'", "'host'")

    def test_wrong_kinds_of_values(self):
        for text, start in {
            "sip = 1": "[sip]",
            "[sip]\nlisten = 'udp:0.0.0.0:5060'": "[sip] listen",
            "[sip]\nlisten = []": "[sip] listen",
            "[sip]\nt1 = '1'": "[sip] t1",
            "[sip]\nt1 = true": "[sip] t1",
            "[sip]\nt1 = nan": "[sip] t1",
            "[sip]\nt1 = inf": "[sip] t1",
            "[sip]\ndomain = ''": "[sip] domain",
            "[sip]\ndomain = 'a b'": "[sip] domain",
            "[sip]\ndomain = 5": "[sip] domain",
            "[sip]\nadvertise = 'pbx.example'": "[sip] advertise",
            "[sip]\nt1 = 5\nt2 = 1": "[sip] t2",
            "[calls]\nmax_calls = -1": "[calls] max_calls",
            "[calls]\nmax_calls = 1.5": "[calls] max_calls",
            "[calls]\nmax_calls = true": "[calls] max_calls",
            "[calls]\nlookup_budget = 0": "[calls] lookup_budget",
            '[calls]\nheader_prefix = "x-a\\r\\n"': "[calls] header_prefix",
            "[calls]\nheader_prefix = 'via'": "[calls] header_prefix",
            "[media]\nports = [29999, 20000]": "[media] ports",
            "[media]\nports = [80, 20000]": "[media] ports",
            "[media]\nports = [20000]": "[media] ports",
            "[media]\nports = 20000": "[media] ports",
            "[media]\nlisten = 'localhost'": "[media] listen",
            "[media]\nlisten = ['::', '::']": "[media] listen",
            "[storage]\nurl = 'postgres:x'": "[storage] url",
            "[storage]\nurl = 'sqlite:'": "[storage] url",
            "[web]\nlisten = '127.0.0.1'": "[web] listen",
            "[web]\nlisten = '127.0.0.1:65536'": "[web] listen",
            "[web]\nlisten = '::1:80'": "[web] listen",
            "[web]\nlisten = '127.0.0.1:٣'": "[web] listen",
            "[trunk]\nname = 'a'": "[trunk]",
        }.items():
            self.error(text, start)

    def trunk_errors(self, *trunks):
        return self.errors("".join(f"[[trunk]]\n{trunk}\n" for trunk in trunks))

    def test_wrong_values_of_a_trunk(self):
        for line in (
            "sources = ['10.0.0.1/8']",
            "sources = ['10.0.0.0/33']",
            "sources = ['provider.example']",
            "number_from = 'from'",
            "country = 'USA'",
            "outbound = 'sip:office@198.51.100.10'",
            "outbound = 'http://198.51.100.10'",
            "outbound = 'sip:198.51.100.10:99999'",
            "caller_id = '12'",
            "number_format = 'e164'",
            'password = "a\\nb"',
            "max_rate = -1",
        ):
            key = line.partition(" ")[0]
            (error,) = self.trunk_errors(f"name = 'a'\n{line}")
            self.assertTrue(error.startswith(f'[[trunk]] "a" {key}: '), error)

    def test_address_with_bits_beyond_its_mask_is_corrected(self):
        self.assertIn("write 10.0.0.0/8", self.trunk_errors("name = 'a'\nsources = ['10.0.0.1/8']")[0])

    def test_trunk_that_carries_no_call(self):
        self.assertIn("carries no call", self.trunk_errors("name = 'a'")[0])

    def test_credentials_go_together_and_with_outbound(self):
        (error,) = self.trunk_errors("name = 'a'\noutbound = 'sip:a.example'\nusername = 'u'")
        self.assertIn("go together", error)
        (error,) = self.trunk_errors("name = 'a'\nsources = ['10.0.0.1']\nusername = 'u'\npassword = 'p'")
        self.assertTrue(error.startswith('[[trunk]] "a" outbound: is missing'), error)

    def test_name_is_there_once(self):
        one, two = (f"name = 'a'\nsources = ['10.0.0.{n}']" for n in (1, 2))
        self.assertEqual(self.trunk_errors(one, two), ['[[trunk]] "a" name: another trunk has it already'])

    def test_sources_that_overlap_name_both(self):
        (error,) = self.trunk_errors(
            "name = 'a'\nsources = ['10.0.0.0/8', '::/0']", "name = 'b'\nsources = ['10.1.0.0/16']"
        )
        self.assertTrue(error.startswith('[[trunk]] "b" sources: 10.1.0.0/16 overlaps 10.0.0.0/8 of trunk "a"'), error)

    def test_control_characters_are_never_shown_raw(self):
        for error in self.errors(
            '[[trunk]]\nname = "a\\u001b[31m"\nsources = ["\\u0007"]\n["\\u001b"]\n[sip]\n"\\u001b" = 1'
        ):
            self.assertTrue(error.isprintable(), error)

    @given(st.text(max_size=200))
    def test_any_text_is_read_or_refused(self, text):
        try:
            config.load(text)
        except ConfigErrors as refused:
            self.assertTrue(refused.errors)
