"""``python -m onnx_opt``."""

import sys

from onnx_opt.cli import main

sys.exit(main())
