"""Leading an instance to where the rule applies.

Many rules want certain numbers: a half, the square root of two, an axis. The harness does not know them; but they
stand in the rule's code, and a rule says why it declines. So constants are tried one after the other with the numbers
that the code names, and a number is kept when the reason becomes a new one.
"""

from __future__ import annotations

import math
from collections.abc import Iterator
from types import CodeType, FunctionType, ModuleType
from typing import Any

import numpy as np

from onnx_opt.harness.check import apply, reasons, targets_of
from onnx_opt.harness.draw import Draw
from onnx_opt.harness.sizes import Sizes, declare, declare_outputs
from onnx_opt.harness.sketch import Unfit, run
from onnx_opt.harness.vary import Subject
from onnx_opt.rewrite.rule import Rule

TRIALS = 60
COMMON = (0, 1, -1, 2, 0.5, 3)
DEPTH = 3
"""How far calls of the rule's own helpers are followed for numbers."""


def coax(rule: Rule, subject: Subject, draw: Draw) -> bool:
    """Change constants of the instance until the rule applies; returns whether it does."""
    known = {_answer(rule, subject)}
    pool = list(dict.fromkeys([*numbers(rule), *COMMON]))
    trials = TRIALS
    progress = True
    while progress and trials > 0 and "" not in known:
        progress = False
        for name, number in _moves(subject, pool, draw):
            trials -= 1
            old = subject.sketch.constants[name]
            subject.sketch.constants[name] = _filled(old, number)
            answer = _answer(rule, subject)
            if answer not in known:
                known.add(answer)
                progress = True
                break
            subject.sketch.constants[name] = old
            if trials <= 0:
                break
    return "" in known


def _moves(subject: Subject, pool: list[Any], draw: Draw) -> Iterator[tuple[str, Any]]:
    return iter(draw.shuffled([(name, number) for name in subject.pattern_constants() for number in pool]))


def _filled(array: np.ndarray, number: Any) -> np.ndarray:
    with np.errstate(all="ignore"):
        return np.full(array.shape, number).astype(array.dtype)


def _answer(rule: Rule, subject: Subject) -> str:
    """Why the rule declines; empty where it applies."""
    sketch = subject.sketch
    model = sketch.model()
    declare(model, sketch.inputs | sketch.constants, Sizes(), Draw(0, ""))
    declare_outputs(model, [sketch.arrays[name] for name in sketch.outputs], static=False)
    try:
        journals = [apply(rule, model.SerializeToString(), target)[1] for target in targets_of(rule)]
    except Exception:  # the rule fails: the check will say so
        return ""
    if any(journal.rewrites for journal in journals):
        return ""
    return "; ".join(sorted({reason for journal in journals for reason in reasons(journal)})) or "no match"


def numbers(rule: Rule) -> list[Any]:
    """The numbers that stand in the code of a rule, of its helpers, and in the constants that they refer to."""
    found: dict[Any, None] = {}
    pending: list[tuple[Any, int]] = [(rule.build, 0)]
    seen: set[int] = set()
    while pending:
        item, depth = pending.pop()
        if id(item) in seen or depth > DEPTH:
            continue
        seen.add(id(item))
        if isinstance(item, FunctionType):
            pending += [(referred, depth + 1) for referred in _referred(item)]
        elif isinstance(item, int | float | np.number) and not isinstance(item, bool) and math.isfinite(item):
            found[float(item) if isinstance(item, np.number) else item] = None
        elif isinstance(item, np.ndarray) and item.size == 1 and item.dtype.kind in "fiu":
            found[item.item()] = None
        elif isinstance(item, tuple | list | frozenset | set) and len(item) < 20:
            pending += [(inner, depth) for inner in item]
    return sorted(found, key=float)


def _referred(function: FunctionType) -> Iterator[Any]:
    """Literals of a function's code, and the globals of its own package that it names."""
    codes: list[CodeType] = [function.__code__]
    package = (function.__module__ or "").partition(".")[0]
    while codes:
        code = codes.pop()
        codes += [item for item in code.co_consts if isinstance(item, CodeType)]
        yield from (item for item in code.co_consts if not isinstance(item, CodeType | str))
        for name in code.co_names:
            item = function.__globals__.get(name)
            if isinstance(item, ModuleType) or getattr(item, "__module__", package) is None:
                continue
            if not isinstance(item, FunctionType) or item.__module__.partition(".")[0] == package:
                yield item
    for cell in function.__closure__ or ():
        yield cell.cell_contents
