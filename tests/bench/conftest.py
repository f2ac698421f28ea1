"""The benchmarks are scripts, not a package: their folder joins the import path as it does when they are run."""

import sys
from pathlib import Path

BENCH = Path(__file__).resolve().parents[2] / "bench"
sys.path.insert(0, str(BENCH))
