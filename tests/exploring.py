"""How hard the suites that search for trouble search: the same few examples each time, or as many new ones as the
environment variable CALLTRACK_EXPLORE says:

    CALLTRACK_EXPLORE=5000 python -m twisted.trial tests.races tests.torture
"""

import os
from typing import Callable

from hypothesis import HealthCheck, settings

ASKED = int(os.environ.get("CALLTRACK_EXPLORE", "0"))


def explored(examples: int) -> Callable:
    """Settings for a test: `examples` of them, unless the environment asks for another number."""
    return settings(
        max_examples=ASKED or examples,
        derandomize=not ASKED,
        database=None,
        deadline=None,
        report_multiple_bugs=False,
        suppress_health_check=list(HealthCheck),
    )
