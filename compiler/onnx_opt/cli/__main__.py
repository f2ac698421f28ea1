"""``python -m onnx_opt.cli``."""

import sys

from onnx_opt.cli import main

sys.exit(main())
