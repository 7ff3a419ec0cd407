"""The log of changes is kept as long as the configuration says."""

from twisted.internet.defer import Deferred
from twisted.trial.unittest import SynchronousTestCase

from calltrack.access.guard import LogInGuard
from calltrack.access.people import DAY, People
from calltrack.storage.url import open_stores


class KeepingTests(SynchronousTestCase):
    def kept_after(self, days, **options):
        """What is left of a change when another is made `days` later."""
        access = open_stores("memory:", None).access
        self.now = 1_795_457_000_000
        people = People(access, lambda: self.now, None, LogInGuard(lambda: 0.0), **options)
        for what in ("number.added", "number.removed"):
            self.successResultOf(Deferred.fromCoroutine(people.note("maria", what)))
            self.now += round(days * DAY)
        found = self.successResultOf(Deferred.fromCoroutine(people.audit()))
        return [entry.what for entry in found]

    def test_change_is_forgotten_when_its_time_is_over_and_not_before(self):
        self.assertEqual(self.kept_after(9.9, keep=10.0), ["number.removed", "number.added"])
        self.assertEqual(self.kept_after(10.1, keep=10.0), ["number.removed"])

    def test_changes_are_kept_for_ever_unless_told_otherwise(self):
        self.assertEqual(self.kept_after(4000), ["number.removed", "number.added"])
