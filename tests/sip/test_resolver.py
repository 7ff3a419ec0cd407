"""RFC 3263 next hops: what is asked, in which order it is tried, what is remembered."""

from twisted.internet import defer, reactor, task
from twisted.names import client, common, dns, error, hosts, server
from twisted.names.authority import FileAuthority
from twisted.python.filepath import FilePath
from twisted.trial.unittest import TestCase

from calltrack.errors import Unresolvable
from calltrack.sip import locating
from calltrack.sip.resolver import NextHop, Resolver, literal

KINDS = {dns.A: "A", dns.AAAA: "AAAA", dns.SRV: "SRV", dns.NAPTR: "NAPTR"}


def a(address, ttl=300):
    return dns.Record_A(address, ttl)


def aaaa(address, ttl=300):
    return dns.Record_AAAA(address, ttl)


def srv(target, port=5060, priority=10, weight=0, ttl=300):
    return dns.Record_SRV(priority, weight, port, target, ttl)


def naptr(service, replacement, order=10, preference=10, flags=b"s"):
    return dns.Record_NAPTR(order, preference, flags, service, b"", replacement, 300)


class Zone(common.ResolverBase):
    """An IResolver over a dict of name -> records. `asked` lists the questions; names in `silent` are not
    answered until `answer`; `failing` maps names to exceptions."""

    def __init__(self, records=None):
        super().__init__()
        self.records = records or {}
        self.asked = []
        self.silent = set()
        self.failing = {}
        self.open = []

    def _lookup(self, name, cls, type, timeout):
        self.asked.append((KINDS[type], name.decode()))
        if name.decode() in self.silent or "*" in self.silent:
            question = defer.Deferred()
            self.open.append((question, name, type))
            return question
        return self._result(name, type)

    def _result(self, name, type):
        text = name.decode()
        if text in self.failing:
            return defer.fail(self.failing[text])
        if text not in self.records:
            return defer.fail(error.DNSNameError(text))
        answers = []
        while name is not None:
            here = self.records.get(name.decode(), [])
            alias = next((record for record in here if record.TYPE == dns.CNAME), None)
            answers += [self._header(name, r) for r in here if r.TYPE in (type, dns.CNAME)]
            name = alias and alias.name.name
        return defer.succeed((answers, [], []))

    def _header(self, name, record):
        return dns.RRHeader(name, record.TYPE, dns.IN, record.ttl, record)

    def answer(self):
        """Answer all open questions, also those that the answers lead to."""
        self.silent.clear()
        while self.open:
            question, name, type = self.open.pop(0)
            if not question.called:
                self._result(name, type).chainDeferred(question)


class ResolverTests(TestCase):
    def setUp(self):
        self.clock = task.Clock()
        self.zone = Zone()
        self.draws = []

    def resolver(self, **options):
        options.setdefault("families", (4,))
        options.setdefault("chance", lambda: self.draws.pop(0) if self.draws else 0.0)
        return Resolver(self.zone, self.clock, **options)

    def resolve(self, *arguments, resolver=None, **options):
        return self.places((resolver or self.resolver(**options)).resolve(*arguments))

    def places(self, waiting):
        """Transports, addresses and ports of the next hops that have been found."""
        return [hop[:3] for hop in self.successResultOf(waiting)]

    def refusal(self, *arguments, resolver=None, **options):
        deferred = (resolver or self.resolver(**options)).resolve(*arguments)
        return str(self.failureResultOf(deferred, Unresolvable).value)


class LiteralTests(ResolverTests):
    def test_address_literal_is_its_own_next_hop_without_dns(self):
        self.assertEqual(self.resolve("192.0.2.7", 5062), [("udp", "192.0.2.7", 5062)])
        self.assertEqual(self.zone.asked, [])

    def test_default_port_depends_on_transport(self):
        self.assertEqual(literal("192.0.2.7")[:3], ("udp", "192.0.2.7", 5060))
        self.assertEqual(literal("192.0.2.7", transport="TCP")[:3], ("tcp", "192.0.2.7", 5060))
        self.assertEqual(literal("192.0.2.7", transport="tls")[:3], ("tls", "192.0.2.7", 5061))
        self.assertEqual(literal("192.0.2.7", secure=True)[:3], ("tls", "192.0.2.7", 5061))
        self.assertEqual(literal("192.0.2.7", transport="tcp", secure=True)[:3], ("tls", "192.0.2.7", 5061))

    def test_ipv6_literal_loses_its_brackets(self):
        self.assertEqual(literal("[2001:db8::7]", 5070)[:3], ("udp", "2001:db8::7", 5070))
        self.assertEqual(literal("2001:db8::7")[:3], ("udp", "2001:db8::7", 5060))

    def test_names_and_near_literals_are_no_literals(self):
        for host in ("office.example", "192.0.2", "0192.0.2.1", "192.0.2.256", "1::2::3", "", "192.0.2.1\0", "[1"):
            self.assertIsNone(literal(host), host)

    def test_port_outside_the_range_is_refused(self):
        for port in (0, -31, 65536):
            self.assertIn("port", self.refusal("192.0.2.7", port))
            self.assertIn("port", self.refusal("office.example", port))

    def test_transport_that_is_not_spoken_is_refused(self):
        self.assertIn("sctp", self.refusal("192.0.2.7", None, "sctp"))
        self.assertIn("sips", self.refusal("office.example", None, "udp", True))

    def test_what_is_no_host_name_is_refused_without_dns(self):
        for host in ("127.1", "a..b", "-a.example", "a" * 64 + ".example", "office example", "ófice.example", "", "."):
            self.assertIn("neither", self.refusal(host))
        self.assertEqual(self.zone.asked, [])

    def test_next_hop_is_a_dictionary_key(self):
        self.assertEqual({literal("192.0.2.7"): 1}[NextHop("udp", "192.0.2.7", 5060)], 1)


class OrderOfQuestionsTests(ResolverTests):
    def setUp(self):
        super().setUp()
        self.zone.records = {
            "office.example": [
                naptr(b"SIP+D2U", b"_sip._udp.office.example", 20, 10),
                naptr(b"SIP+D2T", b"_sip._tcp.office.example", 10, 20),
                naptr(b"SIPS+D2T", b"_sips._tcp.office.example", 10, 10),
                naptr(b"E2U+sip", b"junk.example", 1, 1),
                naptr(b"SIP+D2U", b"junk.example", 1, 1, flags=b"u"),
                a("192.0.2.1"),
            ],
            "_sip._udp.office.example": [srv(b"gw.example", 5070)],
            "_sip._tcp.office.example": [srv(b"gw.example", 5080)],
            "_sips._tcp.office.example": [srv(b"gw.example", 5090)],
            "gw.example": [a("192.0.2.9")],
        }

    def kinds(self):
        return [kind for kind, _ in self.zone.asked]

    def test_naptr_orders_the_transports_that_are_spoken(self):
        self.assertEqual(self.resolve("office.example"), [("tcp", "192.0.2.9", 5080), ("udp", "192.0.2.9", 5070)])

    def test_sips_follows_tls_services_alone(self):
        self.assertEqual(self.resolve("office.example", None, None, True), [("tls", "192.0.2.9", 5090)])

    def test_certificate_must_be_for_the_host_of_the_uri_wherever_dns_leads(self):
        """RFC 5922 section 7.1."""
        for asked in (("office.example", None, None, True), ("Office.example.", None, "tls"), ("office.example", 5061, "tls")):
            (hop,) = self.successResultOf(self.resolver().resolve(*asked))
            self.assertEqual(hop.name, "office.example")
        self.assertEqual(literal("[2001:db8::1]", None, "tls").name, "2001:db8::1")
        self.assertEqual(self.successResultOf(self.resolver().resolve("office.example", None, "tcp"))[0].name, "")

    def test_explicit_transport_asks_no_naptr(self):
        self.assertEqual(self.resolve("office.example", None, "udp"), [("udp", "192.0.2.9", 5070)])
        self.assertEqual(self.kinds(), ["SRV", "A"])

    def test_explicit_port_asks_addresses_alone(self):
        self.assertEqual(self.resolve("office.example", 5066), [("udp", "192.0.2.1", 5066)])
        self.assertEqual(self.kinds(), ["A"])
        self.assertEqual(self.resolve("office.example", 5066, "tcp"), [("tcp", "192.0.2.1", 5066)])

    def test_without_naptr_each_transport_is_asked_in_order_of_preference(self):
        self.zone.records["office.example"] = [a("192.0.2.1")]
        expected = [("udp", "192.0.2.9", 5070), ("tcp", "192.0.2.9", 5080)]
        self.assertEqual(self.resolve("office.example"), expected)
        self.assertEqual(self.resolve("office.example", transports=("tcp", "udp")), expected[::-1])

    def test_without_srv_the_name_itself_is_asked_at_the_default_port(self):
        self.zone.records = {"office.example": [a("192.0.2.1")]}
        self.assertEqual(self.resolve("office.example"), [("udp", "192.0.2.1", 5060)])
        self.assertEqual(self.resolve("office.example", None, "tcp"), [("tcp", "192.0.2.1", 5060)])
        self.assertEqual(self.resolve("office.example", None, None, True), [("tls", "192.0.2.1", 5061)])

    def test_names_are_asked_without_final_dot_and_in_any_case(self):
        self.assertEqual(self.resolve("Office.EXAMPLE.", 5066), [("udp", "192.0.2.1", 5066)])


class ServersTests(ResolverTests):
    def servers(self, *records):
        self.zone.records["_sip._udp.office.example"] = list(records)
        for number, record in enumerate(records, 1):
            self.zone.records.setdefault(record.target.name.decode(), [a(f"192.0.2.{number}")])

    def hosts(self, **options):
        return [host for _, host, _ in self.resolve("office.example", None, "udp", **options)]

    def test_lower_priority_values_come_first(self):
        self.servers(srv(b"b.example", priority=20), srv(b"a.example", priority=10))
        self.assertEqual(self.hosts(), ["192.0.2.2", "192.0.2.1"])

    def test_weights_draw_the_order_within_a_priority(self):
        self.servers(srv(b"a.example", weight=25), srv(b"b.example", weight=75))
        self.draws = [0.2]
        self.assertEqual(self.hosts(), ["192.0.2.1", "192.0.2.2"])
        self.draws = [0.5]
        self.assertEqual(self.hosts(), ["192.0.2.2", "192.0.2.1"])

    def test_weight_zero_has_a_small_chance(self):
        light, heavy = locating.Server(0, ()), locating.Server(9, ())
        self.assertEqual(locating.by_weight([heavy, light], lambda: 0.0), [light, heavy])
        self.assertEqual(locating.by_weight([heavy, light], lambda: 0.11), [heavy, light])

    def test_weighted_order_is_drawn_anew_from_the_cache(self):
        self.servers(srv(b"a.example", weight=50), srv(b"b.example", weight=50))
        resolver = self.resolver()
        self.draws = [0.0, 0.0, 0.9, 0.0]
        first = self.resolve("office.example", None, "udp", resolver=resolver)
        second = self.resolve("office.example", None, "udp", resolver=resolver)
        self.assertEqual(first, second[::-1])

    def test_server_without_address_is_left_out(self):
        self.servers(srv(b"gone.example", priority=1), srv(b"b.example", priority=2))
        del self.zone.records["gone.example"]
        self.assertEqual(self.hosts(), ["192.0.2.2"])

    def test_port_zero_is_no_server(self):
        self.servers(srv(b"a.example", port=0), srv(b"b.example"))
        self.assertEqual(self.hosts(), ["192.0.2.2"])

    def test_target_dot_refuses_the_service_and_the_name_is_not_tried(self):
        self.zone.records = {"_sip._udp.office.example": [srv(b".")], "office.example": [a("192.0.2.1")]}
        self.assertIn("SRV", self.refusal("office.example", None, "udp"))

    def test_next_hops_are_bounded(self):
        self.servers(*(srv(b"s%d.example" % number, priority=number) for number in range(1, 60)))
        self.assertEqual(len(self.hosts()), 16)
        self.assertLess(len(self.zone.asked), 20)

    def test_same_next_hop_is_given_once(self):
        self.servers(srv(b"a.example", priority=1), srv(b"a.example", priority=2))
        self.assertEqual(self.hosts(), ["192.0.2.1"])

    def test_families_take_turns_the_preferred_one_first(self):
        self.zone.records["gw.example"] = [a("192.0.2.1"), a("192.0.2.2"), a("192.0.2.3"), aaaa("2001:db8::1")]
        by_port = ("gw.example", 5060)
        self.assertEqual(
            [host for _, host, _ in self.resolve(*by_port, families=(6, 4))],
            ["2001:db8::1", "192.0.2.1", "192.0.2.2", "192.0.2.3"],
        )
        by_turns = self.resolve(*by_port, families=(4, 6))
        self.assertEqual([host for _, host, _ in by_turns][:2], ["192.0.2.1", "2001:db8::1"])
        self.assertEqual([host for _, host, _ in self.resolve(*by_port, families=(6,))], ["2001:db8::1"])


class AliasTests(ResolverTests):
    def test_alias_is_followed_within_one_answer(self):
        self.zone.records = {"office.example": [dns.Record_CNAME(b"gw.example", 60)], "gw.example": [a("192.0.2.1")]}
        self.assertEqual(self.resolve("office.example", 5060), [("udp", "192.0.2.1", 5060)])
        self.assertEqual(len(self.zone.asked), 1)

    def test_alias_whose_target_is_missing_is_asked_for(self):
        self.zone.records = {"office.example": [dns.Record_CNAME(b"gw.example", 60)], "gw.example": [a("192.0.2.1")]}
        whole = self.zone._result
        self.zone._result = lambda name, kind: whole(name, kind).addCallback(lambda found: (found[0][:1], [], []))
        self.assertEqual(self.resolve("office.example", 5060), [("udp", "192.0.2.1", 5060)])

    def test_alias_loop_ends(self):
        self.zone.records = {"a.example": []}
        loop = {b"a.example": b"b.example", b"b.example": b"a.example"}
        self.zone._result = lambda name, kind: defer.succeed(
            ([self.zone._header(name, dns.Record_CNAME(loop[name], 60))], [], [])
        )
        self.assertIn("no address", self.refusal("a.example", 5060))
        self.assertLessEqual(len(self.zone.asked), 8)

    def test_records_of_another_name_are_ignored(self):
        stranger = dns.RRHeader(b"victim.example", dns.A, dns.IN, 60, a("203.0.113.66"))
        self.zone._result = lambda name, kind: defer.succeed(([stranger], [], []))
        self.assertIn("no address", self.refusal("office.example", 5060))


class RefusalTests(ResolverTests):
    def test_unknown_name_says_so(self):
        self.assertEqual(self.refusal("nobody.example"), "nobody.example: there is no such name")

    def test_name_without_address_says_so(self):
        self.zone.records = {"mail.example": []}
        self.assertEqual(self.refusal("mail.example"), "mail.example: the name has no address that can be used")

    def test_server_failure_is_no_answer(self):
        self.zone.failing["office.example"] = error.DNSServerError("office.example")
        self.assertEqual(self.refusal("office.example", 5060), "office.example: DNS does not answer")

    def test_bug_of_a_resolver_is_logged_and_told(self):
        self.zone.failing["office.example"] = KeyError("bug")
        self.assertIn("failed", self.refusal("office.example", 5060))
        self.assertEqual(len(self.flushLoggedErrors()), 1)

    def test_refusal_is_remembered_for_a_short_time(self):
        resolver = self.resolver()
        self.refusal("late.example", 5060, resolver=resolver)
        self.zone.records["late.example"] = [a("192.0.2.1")]
        self.refusal("late.example", 5060, resolver=resolver)
        self.clock.advance(locating.NEGATIVE_TTL)
        self.assertEqual(len(self.resolve("late.example", 5060, resolver=resolver)), 1)


class TimeTests(ResolverTests):
    def setUp(self):
        super().setUp()
        self.zone.records = {"office.example": [a("192.0.2.1", ttl=60)]}
        self.cached = self.resolver()

    def ask(self, port=5060):
        return self.cached.resolve("office.example", port)

    def test_silent_dns_is_given_up_after_four_seconds(self):
        self.zone.silent.add("*")
        waiting = self.cached.resolve("office.example")
        self.clock.pump([0.25] * 15)
        self.assertNoResult(waiting)
        self.clock.pump([0.25])
        self.assertIn("does not answer", str(self.failureResultOf(waiting, Unresolvable).value))
        self.assertEqual(self.clock.getDelayedCalls(), [])

    def test_dropped_naptr_and_srv_questions_leave_time_for_the_address(self):
        slow = self.cached
        self.zone.silent.add("_sip._udp.office.example")
        self.zone.silent.add("_sip._tcp.office.example")
        waiting = slow.resolve("office.example")
        self.clock.pump([0.1] * 40)
        self.assertEqual(self.places(waiting), [("udp", "192.0.2.1", 5060)])

    def test_dropped_questions_of_the_other_family_leave_the_preferred_one(self):
        resolver = self.resolver(families=(4, 6))
        self.zone.lookupIPV6Address = lambda name, timeout: defer.Deferred()
        waiting = resolver.resolve("office.example", 5060)
        self.clock.pump([0.1] * 25)
        self.assertEqual(self.places(waiting), [("udp", "192.0.2.1", 5060)])

    def test_answer_is_cached_for_its_time_to_live(self):
        self.successResultOf(self.ask())
        self.clock.advance(59)
        self.successResultOf(self.ask())
        self.assertEqual(len(self.zone.asked), 1)
        self.clock.advance(1)
        self.successResultOf(self.ask())
        self.assertEqual(len(self.zone.asked), 2)

    def test_expired_answer_serves_when_dns_is_silent(self):
        self.successResultOf(self.ask())
        self.clock.advance(60)
        self.zone.silent.add("*")
        waiting = self.ask()
        self.assertNoResult(waiting)
        self.clock.advance(0.5)
        self.assertEqual(self.places(waiting), [("udp", "192.0.2.1", 5060)])
        self.assertEqual(len(self.successResultOf(self.ask())), 1)  # the next call does not wait again

    def test_expired_answer_serves_for_a_day_and_no_longer(self):
        self.successResultOf(self.ask())
        self.zone.failing["office.example"] = error.DNSServerError("gone")
        self.clock.advance(60 + locating.STALE_FOR - 1)
        self.assertEqual(len(self.successResultOf(self.ask())), 1)
        self.clock.advance(60)
        self.failureResultOf(self.ask(), Unresolvable)

    def test_name_that_was_taken_out_does_not_serve_on(self):
        self.successResultOf(self.ask())
        self.clock.advance(60)
        self.zone.records.clear()
        self.failureResultOf(self.ask(), Unresolvable)

    def test_expired_answer_is_replaced_when_dns_answers_late(self):
        self.successResultOf(self.ask())
        self.clock.advance(60)
        self.zone.silent.add("*")
        waiting = self.ask()
        self.clock.advance(0.5)
        self.successResultOf(waiting)
        self.zone.records["office.example"] = [a("192.0.2.2")]
        self.zone.answer()
        self.assertEqual(self.places(self.ask()), [("udp", "192.0.2.2", 5060)])

    def test_servers_found_before_are_kept_when_their_records_do_not_come(self):
        self.zone.records["_sip._udp.office.example"] = [srv(b"gw.example", 5070, ttl=60)]
        self.zone.records["gw.example"] = [a("192.0.2.9", ttl=60)]
        first = self.resolve("office.example", None, "udp", resolver=self.cached)
        self.clock.advance(60)
        self.zone.failing["_sip._udp.office.example"] = error.DNSServerError("flaky")
        self.assertEqual(self.resolve("office.example", None, "udp", resolver=self.cached), first)

    def test_cache_is_bounded(self):
        for number in range(1, 1200):
            self.successResultOf(self.ask(number))
        self.assertLessEqual(len(self.cached._answers), 1024)


class WaitingTests(ResolverTests):
    def setUp(self):
        super().setUp()
        self.zone.records = {"office.example": [a("192.0.2.1")]}
        self.zone.silent.add("*")
        self.one = self.resolver()

    def test_concurrent_lookups_of_one_name_are_one(self):
        both = [self.one.resolve("office.example", 5060), self.one.resolve("OFFICE.example", 5060)]
        self.assertEqual(len(self.zone.asked), 1)
        self.zone.answer()
        self.assertEqual([len(self.successResultOf(each)) for each in both], [1, 1])

    def test_cancelling_one_waiter_leaves_the_others(self):
        gone, stays = self.one.resolve("office.example", 5060), self.one.resolve("office.example", 5060)
        gone.cancel()
        self.failureResultOf(gone, defer.CancelledError)
        self.zone.answer()
        self.assertEqual(len(self.successResultOf(stays)), 1)

    def test_lookup_that_nobody_waits_for_still_fills_the_cache(self):
        self.failureResultOf(self._cancelled(), defer.CancelledError)
        self.zone.answer()
        self.assertEqual(len(self.successResultOf(self.one.resolve("office.example", 5060))), 1)

    def _cancelled(self):
        waiting = self.one.resolve("office.example", 5060)
        waiting.cancel()
        return waiting

    def test_caller_may_ask_again_from_its_callback(self):
        again = []
        self.one.resolve("office.example", 5060).addCallback(
            lambda _: again.append(self.one.resolve("office.example", 5060))
        )
        self.zone.answer()
        self.assertEqual(len(self.successResultOf(again[0])), 1)

    def test_lookups_at_once_are_bounded(self):
        waiting = [self.one.resolve(f"n{number}.example", 5060) for number in range(256)]
        self.assertIn("already", self.refusal("one-more.example", 5060, resolver=self.one))
        self.zone.answer()
        self.assertEqual(len([self.failureResultOf(each, Unresolvable) for each in waiting]), 256)


class HostsTests(ResolverTests):
    def hosts_file(self, text):
        path = FilePath(self.mktemp())
        path.setContent(text)
        return hosts.Resolver(path.path, ttl=60)

    def test_localhost_needs_no_dns(self):
        self.assertEqual(self.resolve("localhost"), [("udp", "127.0.0.1", 5060)])
        self.assertEqual(self.resolve("LocalHost", 5062, "tcp", families=(6, 4))[0], ("tcp", "::1", 5062))
        self.assertEqual(self.zone.asked, [])

    def test_name_in_the_hosts_file_needs_no_dns(self):
        known = self.hosts_file(b"192.0.2.5 pbx pbx.example\n")
        self.assertEqual(self.resolve("pbx", hosts=known), [("udp", "192.0.2.5", 5060)])
        self.assertEqual(self.zone.asked, [])

    def test_name_outside_the_hosts_file_is_asked_of_dns(self):
        self.zone.records = {"office.example": [a("192.0.2.1")]}
        self.assertEqual(self.resolve("office.example", 5060, hosts=self.hosts_file(b"")), [("udp", "192.0.2.1", 5060)])


class MemoryAuthority(FileAuthority):
    """A DNS server's zone that is read from no file."""

    def loadFile(self, zone):
        self.soa, self.records = zone


class OverTheNetworkTests(TestCase):
    """Against a real DNS server on loopback, through the real client."""

    def test_real_server_is_followed_from_naptr_to_address(self):
        authority = dns.Record_SOA(b"ns.example", b"root.example", minimum=60)
        records = {
            b"example": [authority],
            b"office.example": [naptr(b"SIP+D2T", b"_sip._tcp.office.example")],
            b"_sip._tcp.office.example": [srv(b"alias.example", 5070)],
            b"alias.example": [dns.Record_CNAME(b"gw.example", 60)],
            b"gw.example": [a("192.0.2.9"), aaaa("2001:db8::9")],
        }
        zone = MemoryAuthority(((b"example", authority), records))
        protocol = dns.DNSDatagramProtocol(server.DNSServerFactory(authorities=[zone], verbose=0))
        port = reactor.listenUDP(0, protocol, interface="127.0.0.1")
        self.addCleanup(port.stopListening)
        asking = client.Resolver(servers=[("127.0.0.1", port.getHost().port)], reactor=reactor)
        resolver = Resolver(asking, reactor, families=(6, 4))

        async def walk():
            found = await resolver.resolve("office.example")
            self.assertEqual(found, [NextHop("tcp", "2001:db8::9", 5070), NextHop("tcp", "192.0.2.9", 5070)])
            with self.assertRaises(Unresolvable):
                await resolver.resolve("nobody.example")

        return defer.Deferred.fromCoroutine(walk())
