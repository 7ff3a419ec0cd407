"""The suites of calltrack. No test asks the wall clock, so Hypothesis must not measure examples by it either."""

from hypothesis import settings

settings.register_profile("calltrack", deadline=None)
settings.load_profile("calltrack")
