"""Which visit a call belongs to: every case of the rules."""

from hypothesis import given
from hypothesis import strategies as st
from twisted.trial.unittest import SynchronousTestCase

from calltrack.tracking.attribution import attribute
from calltrack.tracking.model import Candidate, Lease


def lease(visit, begun, ended=None, confirmed=True):
    return Lease(
        number="1", begun=begun, ended=ended, project=1, scenario=1, visit=visit, marker=f"m{visit}", confirmed=confirmed
    )


class AttributionTests(SynchronousTestCase):
    def test_active_lease_is_exact(self):
        found = attribute([lease(1, 0, 1000), lease(2, 2000)], 5000)
        self.assertEqual((found.visit, found.marker, found.reason), (2, "m2", "exact lease"))

    def test_every_candidate_is_kept_with_its_reason_the_likeliest_first(self):
        found = attribute([lease(1, 0, 1000), lease(2, 2000, 3000), lease(3, 250_000)], 243_000 + 60_000)
        self.assertEqual(
            found.candidates,
            (
                Candidate(visit=3, marker="m3", reason="exact lease"),
                Candidate(visit=2, marker="m2", reason="lease ended 300 s before"),
                Candidate(visit=1, marker="m1", reason="lease ended 302 s before"),
            ),
        )

    def test_without_an_active_one_the_latest_ended_counts(self):
        found = attribute([lease(1, 0, 1000), lease(2, 2000, 60_000)], 300_000)
        self.assertEqual((found.visit, found.reason), (2, "lease ended 240 s before"))

    def test_visitor_who_left_at_once_is_called_so(self):
        found = attribute([lease(1, 0, 10_000, confirmed=False)], 30_000)
        self.assertEqual(found.reason, "lease ended 20 s before, its visitor left at once")

    def test_number_that_nobody_was_shown_belongs_to_nobody(self):
        self.assertEqual(attribute([], 5).reason, "never leased")
        self.assertEqual(attribute([lease(1, 3, 3)], 5).reason, "never leased")
        self.assertEqual(attribute([lease(1, 3, 3)], 5).candidates, ())

    def test_shared_number_belongs_to_nobody_in_particular(self):
        found = attribute([lease(1, 0)], 5, shared=True)
        self.assertEqual((found.visit, found.reason), (None, "shared"))

    def test_call_in_the_past_is_attributed_as_it_would_have_been(self):
        history = [lease(1, 0, 1000), lease(2, 2000, 3000)]
        self.assertEqual(attribute(history, 500).reason, "exact lease")
        self.assertEqual(attribute(history, 1500).visit, 1)
        self.assertEqual(attribute(history, 2500).visit, 2)

    @given(st.lists(st.integers(1, 1000), min_size=1, max_size=12), st.integers(0, 12_000))
    def test_any_history_without_overlap_gives_the_holder_or_the_last_one(self, lengths, at):
        history, clock = [], 0
        for visit, length in enumerate(lengths, 1):
            history.append(lease(visit, clock, clock + length))
            clock += length + length % 3
        found = attribute(history, at)
        holder = [one.visit for one in history if one.begun <= at < one.ended]
        past = [one.visit for one in history if one.ended <= at]
        self.assertEqual(found.visit, (holder or past[-1:] or [None])[0])
        self.assertEqual(len(found.candidates), len(holder) + len(past))
