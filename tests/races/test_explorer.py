"""Whatever order messages come in, however the network loses, doubles and delays them: one record a call, nothing left,
nobody disagrees (EDGE-CASES 1 to 29; issue: SIP that holds under every race)."""

from hypothesis import given
from hypothesis import strategies as st
from twisted.trial.unittest import SynchronousTestCase

from calltrack.testing.network import Link
from tests.exploring import explored
from tests.races.players import CALLER, MANNERS, TARGET
from tests.races.world import Broken, Setting, Step, World

WAITS = (0.0, 0.0005, 0.0015, 0.0025, 0.01, 0.05, 0.3, 0.6, 1.1, 5.0, 33.0)
LINKS = (
    Link(),
    Link(delay=0.05),
    Link(delay=0.001, jitter=0.02),
    Link(delay=0.01, jitter=0.05, duplication=0.3),
    Link(delay=0.01, jitter=0.05, loss=0.2, duplication=0.2),
)

_variants, _waits = st.integers(0, 29), st.sampled_from(WAITS)
_steps = st.one_of(
    st.builds(Step, st.just("caller"), st.sampled_from(CALLER), _variants, _waits),
    st.builds(Step, st.sampled_from(("one", "one", "two")), st.sampled_from(TARGET), _variants, _waits),
    st.builds(Step, st.just("engine"), st.sampled_from(("silence", "hang-up", "unusable")), _variants, _waits),
)
_CALL = (Step("caller", "invite", 0, 1.5), Step("one", "take", 0, 1.5), Step("caller", "ack", 1))
_beginnings = st.one_of(
    st.builds(lambda how, wait: [Step("caller", "invite", how, wait)], _variants, _waits),
    st.just([*_CALL]),
    st.builds(lambda wait: [*_CALL, Step("one", "refer", 0, wait)], _waits),
)
_scripts = st.builds(lambda beginning, rest: beginning + rest, _beginnings, st.lists(_steps, max_size=18))
_manners = st.frozensets(st.sampled_from(MANNERS))
_settings = st.builds(
    Setting,
    manners=st.fixed_dictionaries({"caller": _manners, "one": _manners, "two": _manners}),
    ring=st.sampled_from(("in-order", "all")),
    link=st.sampled_from(LINKS),
    seed=st.integers(0, 1000),
    lookup=st.sampled_from((0.0, 0.0, 0.01, 1.0)),
    rewriting=st.sampled_from((0.0, 0.0, 0.003, 0.2)),
    limit=st.sampled_from((0, 1)),
    transfers=st.booleans(),
)


class RaceTests(SynchronousTestCase):
    @explored(250)
    @given(_settings, _scripts)
    def test_any_script(self, setting, script):
        world = World(setting)
        world.play(script)
        failures = self.flushLoggedErrors()
        if failures:
            told = "\n".join(failure.getTraceback() for failure in failures)
            raise Broken(told + world.ladder(script))
