"""What the whole suite says at its end."""

from __future__ import annotations

import os
from typing import Any

RANDOM_MODELS = os.environ.setdefault("CONFORMANCE_SEEDS", "1000000:1000320")
"""The seeds of the random models that tests/conformance takes: FIRST:LAST, the last one not included."""


def pytest_terminal_summary(terminalreporter: Any) -> None:
    terminalreporter.write_line(f"seeds of random models (CONFORMANCE_SEEDS): {RANDOM_MODELS}")
