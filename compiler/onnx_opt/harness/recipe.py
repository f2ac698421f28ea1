"""What a rule wants of its constants, found by asking it.

Many rules want certain numbers: a half, the square root of two, a scale per channel. The harness does not know them;
but the numbers stand in the rule's code, and a rule says why it declines. So the constants of some instances are tried
one after the other, and a change is kept when the reason becomes a new one, until the rule applies. What was found is
the recipe by which later instances are made.
"""

from __future__ import annotations

import math
from collections.abc import Iterator
from dataclasses import replace
from functools import lru_cache
from types import CodeType, FunctionType, ModuleType
from typing import Any

import numpy as np

from onnx_opt.harness.check import apply, liberties_of, reasons, targets_of
from onnx_opt.harness.draw import Draw
from onnx_opt.harness.instance import sketch_plain
from onnx_opt.harness.samplers.elementwise import broadcast
from onnx_opt.harness.site import Hint, Recipe
from onnx_opt.harness.sizes import Sizes, declare, declare_outputs
from onnx_opt.harness.sketch import Unfit
from onnx_opt.harness.vary import Subject
from onnx_opt.rewrite.rule import Rule

SEARCHES = 8
"""Instances that are tried."""
OFTEN = 0.2
"""The share of instances that a rule applies to by chance which makes a recipe needless."""
TRIALS, JOINT_TRIALS = 400, 300
"""Changes of one constant, and of all at once, that are tried on each."""
COMMON = (0, 1, -1, 2, 0.5, 3)
FORMS = ("scalar", "last", "channel")
DEPTH = 3
"""How far calls of the rule's own helpers are followed for numbers."""


@lru_cache(maxsize=256)
def recipe_of(rule: Rule) -> Recipe:
    """Hints for the constants of a rule, by the names that its pattern has for them; none where it needs none, and the
    most that was found where nothing makes it apply."""
    subjects = list(_subjects(rule))
    applied = sum(not _answer(rule, subject) for subject in subjects)
    if applied > OFTEN * len(subjects):
        return {}
    best: Recipe = {}
    for number, subject in enumerate(subjects):
        search = _Search(rule, subject, Draw(number, f"{rule.name} search"))
        if search.run():
            return search.recipe
        best = max(best, search.recipe, key=len)
    return best


def _subjects(rule: Rule) -> Iterator[Subject]:
    for number in range(SEARCHES):
        try:
            yield sketch_plain(rule, Draw(number, f"{rule.name} recipe"))
        except Unfit:
            continue


class _Search:
    """Changes of one instance's constants until the rule applies to it."""

    def __init__(self, rule: Rule, subject: Subject, draw: Draw):
        self.rule, self.subject, self.draw = rule, subject, draw
        self.recipe: dict[str, Hint] = {}
        self.own = numbers(rule)
        self.numbers = list(dict.fromkeys([*self.own, *COMMON]))

    def run(self) -> bool:
        """Whether it succeeds; `recipe` says how."""
        found = bool(self.subject.leaves) and (self._one_by_one() or self._all_at_once())
        for name, hint in self.recipe.items() if found else ():
            if self.subject.sketch.constants[self.subject.leaves[name]].ndim == 0:
                self.recipe[name] = replace(hint, form="scalar")
        return found

    def _one_by_one(self) -> bool:
        known = {_answer(self.rule, self.subject)}
        trials = TRIALS
        moves = self._moves()
        while moves and trials > 0:
            trials -= 1
            name, hint = moves.pop()
            undo = self._change(name, hint)
            answer = _answer(self.rule, self.subject)
            if answer in known:
                self._set(name, undo)
                continue
            known.add(answer)
            self.recipe[name] = self._merged(name, hint)
            if not answer:
                return True
            moves = self._moves()
        return False

    def _all_at_once(self) -> bool:
        start = {name: self.subject.sketch.constants[constant] for name, constant in self.subject.leaves.items()}
        for _ in range(JOINT_TRIALS if len(start) > 1 else 0):
            form = self.draw.pick(["", "scalar"])
            chosen = {name: Hint(self.draw.pick(self.own or self.numbers), form) for name in start}
            for name, hint in chosen.items():
                self._set(name, start[name])
                self._change(name, hint)
            if not _answer(self.rule, self.subject):
                self.recipe = chosen
                return True
        return False

    def _moves(self) -> list[tuple[str, Hint]]:
        hints = [Hint(number, form) for number in self.numbers for form in ("", "scalar")]
        hints += [Hint(form=form) for form in FORMS]
        return self.draw.shuffled([(name, hint) for name in self.subject.leaves for hint in hints])

    def _change(self, name: str, hint: Hint) -> np.ndarray:
        """Change a constant; returns what it was."""
        old = self.subject.sketch.constants[self.subject.leaves[name]]
        new = old
        if hint.form:
            neighbour = self.subject.neighbour_dims(self.subject.leaves[name], self.draw)
            new = np.resize(old, broadcast(self.draw, neighbour, hint.form)) if old.size else old
        if hint.number is not None:
            new = hint.fill(new.shape, new.dtype)
        self._set(name, new)
        return old

    def _set(self, name: str, array: np.ndarray) -> None:
        constant = self.subject.leaves[name]
        self.subject.sketch.constants[constant] = self.subject.sketch.arrays[constant] = array

    def _merged(self, name: str, hint: Hint) -> Hint:
        before = self.recipe.get(name, Hint())
        return Hint(before.number if hint.number is None else hint.number, hint.form or before.form)


def _answer(rule: Rule, subject: Subject) -> str:
    """Why the rule declines; empty where it applies."""
    sketch = subject.sketch
    model = sketch.model()
    declare(model, sketch.inputs | sketch.constants, Sizes(), Draw(0, ""))
    declare_outputs(model, [sketch.arrays[name] for name in sketch.outputs], static=False)
    try:
        data, liberties = model.SerializeToString(), liberties_of(rule)[-1]
        journals = [apply(rule, data, target, liberties)[1] for target in targets_of(rule)]
    except Exception:  # the rule fails: the check will say so
        return ""
    if any(journal.rewrites for journal in journals):
        return ""
    return "; ".join(sorted({reason for journal in journals for reason in reasons(journal)})) or "no match"


# -- numbers in code ---------------------------------------------------------------------------------------------------


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
            if isinstance(item, ModuleType):
                continue
            if not isinstance(item, FunctionType) or item.__module__.partition(".")[0] == package:
                yield item
    for cell in function.__closure__ or ():
        yield cell.cell_contents
