"""What tests of calltrack and of its plugins stand on: an in-memory network, scripted SIP peers, a wired engine,
fakes that check how they are used, and contract suites for every extension point. Nothing here is needed to run.

    network = MemoryNetwork(Clock())
    engine = TestEngine(network, targets=[sip_target("203.0.113.20")])
    trunk, office = Peer(network, "198.51.100.7"), Peer(network, "203.0.113.20")
    trunk.invite(engine.number)
    office.respond(office.expect("INVITE"), 486)
    trunk.expect(486)

Contracts are mixins for trial's TestCase: derive from one, write the one method that makes what is to be tested.

    media_contract.MediaRelayContract         make_relay, pass_time      IMediaRelay, IMediaSession
    media_tap_contract.TapContract            make_relay, pass_time      IMediaSession.tap
    account_contract.LocationStoreContract    make_locations, log        ILocationStore
    account_contract.AccountStoreContract     make_accounts              IAccountStore
    scenario_contract.ScenarioSourceContract  make_source                IScenarioSource
    store_contract.CallRecordStoreContract    make_records               ICallRecordStore
    search_contract.CallSearchContract        make_records               ICallRecordStore.find, .tally
    store_contract.CatalogStoreContract       make_catalog               ICatalogStore
    visit_contract.VisitStoreContract         make_visits                IVisitStore
    event_contract.EventStoreContract         make_events                IEventStore
    event_contract.EventSinkContract          make_sink, delivered       IEventSink
    access_contract.AccessStoreContract       make_access                IAccessStore
"""

from calltrack.testing.engine import TestEngine, sip_target
from calltrack.testing.fakes import FakeLedger, FakeRelay, FixedResolver, FixedScenarios
from calltrack.testing.network import Link, MemoryNetwork
from calltrack.testing.peers import Peer, sdp

__all__ = [
    "FakeLedger",
    "FakeRelay",
    "FixedResolver",
    "FixedScenarios",
    "Link",
    "MemoryNetwork",
    "Peer",
    "TestEngine",
    "sdp",
    "sip_target",
]
