"""``python -m onnx_opt``."""

import sys

from onnx_opt.start import main

sys.exit(main())
