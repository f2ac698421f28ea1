"""Random valid ONNX models: the same seed gives the same model and the same feeds.

A model grows node by node, and every node is run in ONNX Runtime before it stays, on several feeds with different sizes
of the dynamic dims ("worlds"). So each operator's sampler sees the values that it works on, shape arithmetic included,
and nearly every model is accepted.
"""

from .case import Case, make

__all__ = ["Case", "make"]
