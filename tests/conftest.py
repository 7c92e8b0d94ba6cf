from __future__ import annotations

import sys

import pytest


@pytest.fixture(autouse=True)
def seeded() -> None:
    """Networks of tests that give no seed start the same; torch is not loaded for tests that do without it.

    One thread, as in a trial: threads that wait for each other on busy cores make small networks many times slower.
    """
    if "torch" in sys.modules:
        sys.modules["torch"].manual_seed(0)
        sys.modules["torch"].set_num_threads(1)
