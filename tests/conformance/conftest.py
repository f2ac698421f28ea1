"""Makes the generator and the runner importable."""

import sys
from pathlib import Path

sys.path.insert(0, str(Path(__file__).parent))
