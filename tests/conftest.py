from __future__ import annotations

import sys

import pytest


@pytest.fixture(autouse=True)
def seeded() -> None:
    """Networks of tests that give no seed start the same; torch is not loaded for tests that do without it."""
    if "torch" in sys.modules:
        sys.modules["torch"].manual_seed(0)
