"""How long to fuzz, and what came of it: inputs by kind, minutes, peak memory.

`make test` runs few inputs of each kind, always the same ones; `make fuzz` runs new ones, as many
as TOSA_FUZZ_EXAMPLES says.
"""

from __future__ import annotations

import os
import resource
import time
from collections import Counter

import pytest
from hypothesis import HealthCheck, settings

SUPPRESSED = [HealthCheck.too_slow, HealthCheck.data_too_large, HealthCheck.filter_too_much]
settings.register_profile(
    'short',
    max_examples=60,
    deadline=None,
    derandomize=True,
    database=None,
    suppress_health_check=SUPPRESSED,
)
settings.register_profile(
    'long',
    max_examples=int(os.environ.get('TOSA_FUZZ_EXAMPLES', '20000')),
    deadline=None,
    suppress_health_check=SUPPRESSED,
    print_blob=True,
)
# Before the tests are imported, which take it up.
settings.load_profile('long' if os.environ.get('TOSA_FUZZ') == 'long' else 'short')
_INPUTS: Counter[str] = Counter()
_BEGAN = time.monotonic()


@pytest.fixture(scope='session')
def fed():
    """Counts an input: fed('clouds')."""
    return lambda kind: _INPUTS.update([kind])


def pytest_terminal_summary(terminalreporter):
    if _INPUTS:
        peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss // 1024
        minutes = (time.monotonic() - _BEGAN) / 60
        kinds = ', '.join(f'{count:,} {kind}' for kind, count in sorted(_INPUTS.items()))
        terminalreporter.write_line(f'fuzzed {kinds}; {minutes:.1f} minutes, peak {peak:,} MiB')
