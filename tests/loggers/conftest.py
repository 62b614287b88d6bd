"""The small nets of the integration tests, for the tests that train with a real logger."""

import sys
from pathlib import Path

sys.path.append(str(Path(__file__).parents[1] / "integration"))
