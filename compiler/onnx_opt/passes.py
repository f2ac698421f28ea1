"""What a pass is, what it is given, and how passes are found.

A pass is a frozen dataclass; its fields are its options (see `onnx_opt.options`):

    @dataclass(frozen=True)
    class DropDropout(Pass):
        \"\"\"Remove Dropout from models that are no longer trained.\"\"\"

        name: ClassVar[str] = "drop-dropout"
        stage: ClassVar[str] = "strip"
        keep_training: bool = option(True, help="leave nodes in training mode alone")

        def run(self, graph, context): ...

Any installed package offers its passes through the entry-point group ``onnx_opt.passes``; the value is a pass class or
a module-level list of them.  The project's own passes have no other way in.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass, field
from difflib import get_close_matches
from functools import cache
from importlib import metadata
from typing import TYPE_CHECKING, Any, ClassVar

from onnx_opt.errors import UsageError
from onnx_opt.journal import Journal
from onnx_opt.options import Option, Size, option, options_of
from onnx_opt.target import PORTABLE, Target

if TYPE_CHECKING:
    from onnx_opt.host import Host
    from onnx_opt.ir import Graph, Node
    from onnx_opt.ir.origin import Origin
    from onnx_opt.proof import Evidence

__all__ = ["STAGES", "Pass", "PassContext", "Registry", "Size", "find_pass", "nearest", "option", "registry"]

ENTRY_POINTS = "onnx_opt.passes"

COUNTEREXAMPLES = "counterexamples"
# Where in a preset a pass that was asked for by name goes: the proper order of a compilation.
STAGES = ("strip", "fold", "cleanup", "fuse", "layout", "pad", "quantize", "precision", "target", "final")


@dataclass(frozen=True)
class Pass:
    """A transformation of a whole graph. Subclasses are frozen dataclasses with a one-line docstring."""

    name: ClassVar[str]
    stage: ClassVar[str] = "cleanup"
    # An exact pass leaves every result as it was to the bit; a pipeline of exact passes is proven bit for bit.
    exact: ClassVar[bool] = False
    # The user asks this pass for another model, as where custom operators are stripped; when such passes come first,
    # the rest of the pipeline is proven against what they leave; with what they take over from the program around the
    # model (`host`), all of it is.
    redefines: ClassVar[bool] = False
    # The type ("float16", "bfloat16") that FP32 becomes: the result is then held to the tolerance of that type.
    lowers_to: ClassVar[str] = ""
    # Results are the same as long as all values are finite; of infinities and NaN, more NaN may come than before.
    finite_only: ClassVar[bool] = False
    # The pass makes of a model what the target can run: it joins the presets where the target needs it, at the end.
    legalizes: ClassVar[bool] = False
    # The pass has rules for liberties that the user grants (--fast-math): then it joins the preset.
    wants_liberties: ClassVar[bool] = False

    @property
    def quantizes_to(self) -> str:
        """The form ("int8", "fp8", "int4") that the result is in: it is judged by the pass's `metric`, at the tolerance
        of that form, on the held-out part of its `data`."""
        return ""

    def host(self, graph: Graph) -> Host | None:
        """What a pass that `redefines` takes over from the program around the model, for `graph` as it is before the
        pass: then the result is proven against that and the original. None: nothing can be proven of it."""
        return None

    def run(self, graph: Graph, context: PassContext) -> None:
        """Transform `graph` in place; an exception undoes everything this run did."""
        raise NotImplementedError

    @classmethod
    def summary(cls) -> str:
        """The first line of the docstring; it feeds --help and --list-passes."""
        return (cls.__doc__ or "").strip().partition("\n")[0]

    @classmethod
    def declared_options(cls) -> tuple[Option, ...]:
        return options_of(cls)


@dataclass
class PassContext:
    """What a run of a pass is given: the target, and the journal of rewrites."""

    target: Target = PORTABLE
    journal: Journal = field(default_factory=Journal)
    pass_name: str = ""
    tolerant: bool = False
    """Leave out an installed pass that fails instead of ending the run; the journal says so."""
    jobs: int = 0
    """Threads for work that is the same in any order; 0 stands for as many as there are cores."""
    report_progress: Callable[[int, int], object] | None = None
    liberties: frozenset[str] = frozenset()
    """What the user grants to rules (`onnx_opt.liberties`): nothing by default."""
    evidence: Evidence | None = None
    """What the user gave to judge results by, for passes that measure; None: random inputs and usual tolerances."""
    memory: dict[str, Any] = field(default_factory=dict)
    """What passes measured, to be used again when the same compilation runs again; what they keep is up to them.
    Under `COUNTEREXAMPLES` are inputs on which earlier results were wrong, for passes that choose by measuring."""

    def admit(self, rule: str, node: Node) -> bool:
        """May `rule` rewrite at `node`? False means skip it: that rewrite is wrong, or validation is looking for one.

        Ask after every other condition held and right before the change: each call that is answered with True gives
        the rewrite its running number.
        """
        return self.journal.admit(self.pass_name, rule, node)

    def applied(
        self,
        rule: str,
        nodes: Iterable[str],
        origin: Origin | None = None,
        values: Iterable[str] = (),
        liberties: Iterable[str] = (),
    ) -> None:
        """Record a rewrite: the names of the nodes it replaced, where they came from, the names of its results, and the
        liberties that it took."""
        self.journal.applied(self.pass_name, rule, nodes, origin, values, liberties)

    def declined(self, rule: str, node: Node, reason: str) -> None:
        """Record why `rule`, which matched at `node`, left it alone; `--explain` shows it."""
        self.journal.declined(self.pass_name, rule, node, reason)

    def progress(self, done: int, total: int) -> None:
        """Tell how far a long run is."""
        if self.report_progress:
            self.report_progress(done, total)


@dataclass(frozen=True)
class Registry:
    """The passes that are installed, by name, and a line on each that could not be used."""

    passes: Mapping[str, type[Pass]]
    problems: Mapping[str, str]


@cache
def registry() -> Registry:
    """All passes of all installed packages; found once, when first asked for."""
    passes: dict[str, type[Pass]] = {}
    problems: dict[str, str] = {}
    sources: dict[str, str] = {}
    points = metadata.entry_points(group=ENTRY_POINTS)
    for point in sorted(points, key=lambda p: (p.dist.name if p.dist else "", p.name)):
        source = f"{point.dist.name if point.dist else 'unknown package'} ({point.value})"
        try:
            found = _as_classes(point.load())
        except Exception as error:  # a third party's module may fail in any way; the rest must go on working
            problems[point.name] = f"cannot load the passes of {source}: {type(error).__name__}: {error}"
            continue
        for cls in found:
            if problem := _problem(cls):
                problems[getattr(cls, "name", "") or point.name] = f"{source}: {problem}"
            elif passes.get(cls.name, cls) is not cls:
                both = f"{sources[cls.name]} and {source}"
                problems[cls.name] = f"pass '{cls.name}' comes from both {both}: uninstall one"
            else:
                passes[cls.name], sources[cls.name] = cls, source
    return Registry({n: c for n, c in passes.items() if n not in problems}, problems)


def find_pass(name: str) -> type[Pass]:
    """The pass class called `name`; UsageError with the nearest name where there is none."""
    known = registry()
    if cls := known.passes.get(name):
        return cls
    if problem := known.problems.get(name):
        raise UsageError(problem)
    raise UsageError(f"unknown pass '{name}'", remedy=nearest(name, known.passes, "onnx-opt --list-passes shows all"))


def nearest(name: str, known: Iterable[str], otherwise: str | None = None) -> str | None:
    """A remedy for a misspelt or incomplete name: the nearest known one."""
    known = list(known)
    close = get_close_matches(name, known, n=2, cutoff=0.5) or [other for other in known if name in other][:2]
    return f"did you mean {' or '.join(repr(c) for c in close)}?" if close else otherwise


def _as_classes(value: Any) -> list[Any]:
    return list(value) if isinstance(value, list | tuple) else [value]


def _problem(cls: Any) -> str | None:
    """What is wrong with a would-be pass class, in words, or None."""
    if not (isinstance(cls, type) and issubclass(cls, Pass)):
        return f"{cls!r} is not a subclass of onnx_opt.Pass"
    if "__dataclass_params__" not in vars(cls) or not vars(cls)["__dataclass_params__"].frozen:
        return f"{cls.__name__} is not a frozen dataclass"
    if not re.fullmatch(r"[a-z][a-z0-9]*(-[a-z0-9]+)*", getattr(cls, "name", "")):
        return f"{cls.__name__}.name is {getattr(cls, 'name', None)!r}: small letters, digits and hyphens are needed"
    if cls.stage not in STAGES:
        return f"{cls.__name__}.stage is {cls.stage!r}: one of {', '.join(STAGES)} is needed"
    if not vars(cls).get("__doc__") or cls.summary().startswith(f"{cls.__name__}("):
        return f"{cls.__name__} has no docstring"
    try:
        options_of(cls)
    except (TypeError, NameError) as error:
        return f"{cls.__name__}: {error}"
    return None
