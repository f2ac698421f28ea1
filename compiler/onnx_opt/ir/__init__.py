"""The intermediate representation: GraphSurgeon's classes, lossless and fast."""

from onnx_opt.ir.attributes import AttributeRef
from onnx_opt.ir.graph import Function, Graph
from onnx_opt.ir.load import gc_paused, load
from onnx_opt.ir.model import Model
from onnx_opt.ir.node import Node
from onnx_opt.ir.origin import Origin
from onnx_opt.ir.save import fingerprint, save, to_bytes
from onnx_opt.ir.values import Constant, Value, Variable

__all__ = [
    "AttributeRef", "Constant", "Function", "Graph", "Model", "Node", "Origin", "Value", "Variable",
    "fingerprint", "gc_paused", "load", "save", "to_bytes",
]  # fmt: skip
