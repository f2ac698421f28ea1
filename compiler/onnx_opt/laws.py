"""Laws of arithmetic that tables state of operators, each for the types for which it holds.

A law holds to the bit, NaN and the sign of zeros included, or else names the liberties that it `needs`.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any

import numpy as np
from onnx import TensorProto

from onnx_opt import types
from onnx_opt.traits import ask

FLOATS, INTEGERS, BOOLS = "floats", "integers", "bools"


@dataclass(frozen=True)
class Law:
    """A law of an operator f for operands of `kind`.

    In the trait 'neutral', f(x, value) = x; in 'absorbing', f(x, value) = result; in 'cancelling', f(x, x) = result; in
    'associative', f(f(x, y), z) = f(x, f(y, z)). A `value` of -1 among integers is all bits. A zero among floats
    matches with its sign alone. `sides` are the positions that the value may have.
    """

    kind: str
    value: Any = None
    result: Any = None
    needs: frozenset[str] = frozenset()
    sides: tuple[int, ...] = (0, 1)

    def holds_for(self, constant: np.ndarray, side: int) -> bool:
        """Whether every element of a constant at position `side` is the law's value."""
        return side in self.sides and is_everywhere(constant, self.value)


def is_everywhere(array: np.ndarray | None, number: Any) -> bool:
    """Whether every element is `number`, a zero with its sign, and -1 all bits of an integer. The first element spares
    most scans of weights."""
    if array is None or array.size == 0 or array.dtype.kind == "O":
        return False
    wanted = np.asarray(number).astype(array.dtype)
    if array.flat[0] != wanted or not (array == wanted).all():
        return False
    is_float_zero = array.dtype.kind not in "biu" and wanted == 0
    return not is_float_zero or bool((np.signbit(array.astype(np.float32)) == np.signbit(number)).all())


def kind_of(elem_type: int) -> str:
    """The kind of numbers that an element type is; '' for others."""
    if types.is_float(elem_type):
        return FLOATS
    if types.is_integer(elem_type):
        return INTEGERS
    return BOOLS if elem_type == TensorProto.BOOL else ""


def laws(domain: str, op: str, trait: str, elem_type: int) -> Iterator[Law]:
    """What is stated of an operator for operands of a type."""
    kind = kind_of(elem_type)
    return (law for law in ask(domain, op, trait, ()) if law.kind == kind)
