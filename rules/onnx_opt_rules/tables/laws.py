"""Laws of arithmetic: neutral and absorbing elements, equal operands, association.

Floating point, by IEEE 754: x + (-0.0) and x - 0.0 are x for every x, but -0.0 + 0.0 is 0.0. x * 0.0 is NaN where x is
NaN or infinite, and -0.0 where x is negative; x - x is NaN where x is, or is infinite; x / x also where x is zero.
Comparisons with NaN are false. Integers wrap around in Add, Sub and Mul, so their laws hold for all of them; an integer
divided by zero ends the process, so x / x stays where x might be zero.
"""

from __future__ import annotations

from onnx_opt.laws import BOOLS, FLOATS, INTEGERS, Law
from onnx_opt.liberties import NO_INFS, NO_NANS, NO_SIGNED_ZEROS, REASSOCIATE
from onnx_opt.traits import declare, define

define("neutral", "constants that leave the other operand as it is (onnx_opt.laws.Law)")
define("absorbing", "constants that settle the result whatever the other operand is (onnx_opt.laws.Law)")
define("cancelling", "what the result is where both operands are one value (onnx_opt.laws.Law)")
define("associative", "whether f(f(x, y), z) = f(x, f(y, z)) (onnx_opt.laws.Law)")

RIGHT = (1,)
"""The constant must be the second operand."""
FINITE = frozenset({NO_NANS, NO_INFS})
UNSIGNED_ZEROS = frozenset({NO_SIGNED_ZEROS})

NEUTRAL: dict[str, tuple[Law, ...]] = {
    "Add": (Law(FLOATS, -0.0), Law(FLOATS, 0.0, needs=UNSIGNED_ZEROS), Law(INTEGERS, 0)),
    "And": (Law(BOOLS, True),),
    "BitShift": (Law(INTEGERS, 0, sides=RIGHT),),
    "BitwiseAnd": (Law(INTEGERS, -1),),
    "BitwiseOr": (Law(INTEGERS, 0),),
    "BitwiseXor": (Law(INTEGERS, 0),),
    "Div": (Law(FLOATS, 1.0, sides=RIGHT), Law(INTEGERS, 1, sides=RIGHT)),
    "Mul": (Law(FLOATS, 1.0), Law(INTEGERS, 1)),
    "Or": (Law(BOOLS, False),),
    # Of floats; powers of integers may be computed in floating point, which large ones do not survive.
    "Pow": (Law(FLOATS, 1.0, sides=RIGHT),),
    "Sub": (Law(FLOATS, 0.0, sides=RIGHT), Law(FLOATS, -0.0, needs=UNSIGNED_ZEROS, sides=RIGHT),
            Law(INTEGERS, 0, sides=RIGHT)),
    "Xor": (Law(BOOLS, False),),
}  # fmt: skip

ZERO_PRODUCT = FINITE | UNSIGNED_ZEROS
ABSORBING: dict[str, tuple[Law, ...]] = {
    "And": (Law(BOOLS, False, False),),
    "BitwiseAnd": (Law(INTEGERS, 0, 0),),
    "BitwiseOr": (Law(INTEGERS, -1, -1),),
    "Mul": (Law(FLOATS, 0.0, 0.0, ZERO_PRODUCT), Law(FLOATS, -0.0, 0.0, ZERO_PRODUCT), Law(INTEGERS, 0, 0)),
    "Or": (Law(BOOLS, True, True),),
}

CANCELLING: dict[str, tuple[Law, ...]] = {
    "BitwiseXor": (Law(INTEGERS, result=0),),
    "Div": (Law(FLOATS, result=1.0, needs=FINITE),),
    "Equal": (
        Law(FLOATS, result=True, needs=frozenset({NO_NANS})), Law(INTEGERS, result=True), Law(BOOLS, result=True),
    ),
    "Greater": (Law(FLOATS, result=False), Law(INTEGERS, result=False)),
    "GreaterOrEqual": (Law(FLOATS, result=True, needs=frozenset({NO_NANS})), Law(INTEGERS, result=True)),
    "Less": (Law(FLOATS, result=False), Law(INTEGERS, result=False)),
    "LessOrEqual": (Law(FLOATS, result=True, needs=frozenset({NO_NANS})), Law(INTEGERS, result=True)),
    "Sub": (Law(FLOATS, result=0.0, needs=FINITE), Law(INTEGERS, result=0)),
    "Xor": (Law(BOOLS, result=False),),
}  # fmt: skip

ROUNDED = Law(FLOATS, needs=frozenset({REASSOCIATE}))
ASSOCIATIVE: dict[str, tuple[Law, ...]] = {
    "Add Mul": (ROUNDED, Law(INTEGERS)),
    "And Or Xor": (Law(BOOLS),),
    "BitwiseAnd BitwiseOr BitwiseXor": (Law(INTEGERS),),
}

for _trait, _table in (
    ("neutral", NEUTRAL),
    ("absorbing", ABSORBING),
    ("cancelling", CANCELLING),
    ("associative", ASSOCIATIVE),
):
    for _ops, _laws in _table.items():
        declare("", _ops, **{_trait: _laws})
