"""Dims and what is proven of them.

A dim is an int, or a sympy expression over symbols that stand for sizes known only when the model runs. Expressions are
kept in one normal form (expanded polynomials; `floor`, `Max` and `Min` as atoms), so equal dims are mostly the same
object; nothing is ever "simplified". sympy is imported when the first symbol is needed: static models never pay for it.

A statement about dims holds in every run of the model that succeeds: a divisor is not zero, operands that are added do
broadcast, a window fits into what it slides over. Where nothing is proven the answer is "not proven", which is always
allowed, and where no expression fits, a symbol of its own, the same one for the same question.
"""

from __future__ import annotations

import math
from collections import ChainMap
from collections.abc import Callable, Hashable, Iterable, Sequence
from typing import TYPE_CHECKING, Any, TypeAlias

from onnx_opt import intervals
from onnx_opt.intervals import Interval
from onnx_opt.normal_form import MAX_TERMS, exact_quotient, floor_quotient, is_small, linear_in_one, sympy, terms

if TYPE_CHECKING:
    from sympy import Expr

Dim: TypeAlias = "int | Expr"
Dims: TypeAlias = tuple[Any, ...]

_MAX_CACHE = 200_000


def is_symbolic(dim: Any) -> bool:
    """Whether a dim is an expression rather than an int."""
    return not isinstance(dim, int)


def is_static(dims: Sequence[Any] | None) -> bool:
    """Whether the rank and every dim are ints."""
    return dims is not None and all(isinstance(dim, int) for dim in dims)


def is_one(dim: Any) -> bool:
    """Whether a dim is proven to be 1."""
    return isinstance(dim, int) and dim == 1


def symbols_of(dim: Any) -> frozenset[Any]:
    """The symbols in a dim."""
    return frozenset() if isinstance(dim, int) else frozenset(dim.free_symbols)


def text(dim: Any) -> str:
    """A dim as people read it; symbols that the analysis made begin with '?'."""
    return str(dim)


class Shapes:
    """The dims of one model: its symbols with their bounds, arithmetic, and proofs.

    Arithmetic takes and gives ints and expressions in normal form. Answers are kept, so asking twice costs a lookup.
    """

    def __init__(self, prefix: str = "?") -> None:
        self._prefix = prefix
        self._symbols: dict[str, Any] = {}
        self._fixed: dict[Any, int] = {}
        self._stated: dict[Any, Interval] = {}
        self._learned: dict[Any, Interval] = {}
        self._bounds = ChainMap(self._learned, self._stated)
        self._opaque: dict[Hashable, Any] = {}
        self._made: set[Any] = set()
        self._members: dict[Any, frozenset[Any]] = {}
        self._cache: dict[tuple[Any, ...], Any] = {}
        self._intervals: dict[Any, Interval] = {}
        self._proofs: dict[Any, bool] = {}
        self._count = 0

    # -- symbols ---------------------------------------------------------------------------------------------------

    def symbol(self, name: str) -> Dim:
        """The size that goes by `name` (a `dim_param`): the same symbol each time, or the int that it is fixed to."""
        return self._intern(f"'{name}'" if name.startswith(("?", "'")) else name)

    def input_dim(self, name: str, axis: int) -> Dim:
        """The size along an axis of the model input `name`, where the model gives it no name."""
        return self._intern(f"?{name}.{axis}")

    def _intern(self, printed: str) -> Dim:
        symbol = self._symbols.get(printed)
        if symbol is None:
            symbol = self._symbols[printed] = sympy().Symbol(printed, integer=True, nonnegative=True)
        return self._fixed.get(symbol, symbol)

    def fresh(self, lower: int | None = 0, upper: int | None = None) -> Any:
        """A new symbol, at least `lower` (None: of unknown sign) and at most `upper`."""
        signs = {"nonnegative": True} if lower is not None and lower >= 0 else {}
        symbol = sympy().Symbol(f"{self._prefix}{self._count}", integer=True, **signs)
        self._count += 1
        self._made.add(symbol)
        if lower or upper is not None:
            self._stated[symbol] = (-math.inf if lower is None else lower, math.inf if upper is None else upper)
        return symbol

    def is_made(self, dim: Any) -> bool:
        """Whether a dim holds a symbol that the analysis made: not a size of the model's inputs."""
        return not isinstance(dim, int) and not self._made.isdisjoint(dim.free_symbols)

    def opaque(self, key: Hashable, lower: int | None = 0, upper: int | None = None) -> Any:
        """A symbol for something that is a function of `key` alone: the same one for the same key."""
        symbol = self._opaque.get(key)
        if symbol is None:
            symbol = self._opaque[key] = self.fresh(lower, upper)
        return symbol

    def fix(self, symbol: Any, value: int | tuple[int, int | None]) -> None:
        """Let a symbol be one size, or lie within (lowest, highest or None). What was derived before is not revised.

        Raises ValueError for an empty range or a negative size.
        """
        low, high = (value, value) if isinstance(value, int) else value
        if low < 0 or (high is not None and high < low):
            raise ValueError(f"dim {symbol} can't be {low if low == high else f'{low}:{high}'}")
        if low == high:
            self._fixed[symbol] = low
        self._stated[symbol] = (low, math.inf if high is None else high)
        self._cache.clear()
        self._opaque.clear()
        self.forget_learned()

    def current(self, symbol: Any) -> Dim:
        """The int that a symbol is fixed to, else the symbol."""
        return self._fixed.get(symbol, symbol)

    def learn(self, dim: Any) -> None:
        """Every run that succeeds makes something of size `dim`, so it is not negative; that bounds its parts too."""
        if isinstance(dim, int) or self.interval(dim)[0] >= 0:
            return
        low: Any = 0
        while dim is not None:
            known = self.interval(dim)
            if not known[0] < low <= known[1]:
                break
            self._learned[dim] = (low, known[1])
            dim, low = _implied(dim, low)
        self._forget_proofs()

    def forget_learned(self) -> None:
        """The model has changed its meaning: what its sizes had to be may no longer hold."""
        self._learned.clear()
        self._forget_proofs()

    def _forget_proofs(self) -> None:
        self._intervals.clear()
        self._proofs.clear()

    def bounds(self, symbol: Any) -> tuple[int | None, int | None]:
        """The least and the greatest value that a symbol or expression may have; None where there is no bound."""
        return _whole(self.interval(symbol))

    # -- arithmetic ------------------------------------------------------------------------------------------------

    def add(self, a: Any, b: Any) -> Dim:
        if isinstance(a, int) and isinstance(b, int):
            return a + b
        return self._keep("+", a, b, lambda: a + b)

    def sub(self, a: Any, b: Any) -> Dim:
        if isinstance(a, int) and isinstance(b, int):
            return a - b
        return self._keep("-", a, b, lambda: sympy().expand(a - b))

    def mul(self, a: Any, b: Any) -> Dim:
        if isinstance(a, int) and isinstance(b, int):
            return a * b
        return self._keep("*", a, b, lambda: self._multiply(a, b))

    def product(self, dims: Iterable[Any]) -> Dim:
        """The product of dims; 1 for none."""
        result: Dim = 1
        for dim in dims:
            result = self.mul(result, dim)
        return result

    def floordiv(self, a: Any, b: Any) -> Dim:
        """a / b rounded down, whatever the signs; b is not zero in a run that succeeds."""
        if isinstance(a, int) and isinstance(b, int) and b:
            return a // b
        return self._keep("//", a, b, lambda: self._divide(a, b))

    def ceildiv(self, a: Any, b: Any) -> Dim:
        """a / b rounded up."""
        if isinstance(b, int) and b > 0:
            return self.floordiv(self.add(a, b - 1), b)
        return self.sub(0, self.floordiv(self.sub(0, a), b))

    def quotient(self, a: Any, b: Any) -> Any:
        """a / b where that is proven to leave no remainder and b is not zero; None otherwise."""
        if isinstance(a, int) and isinstance(b, int):
            return a // b if b and a % b == 0 else None
        key = ("/", a, b)
        if key not in self._cache:
            exact = exact_quotient(a, b)
            self._cache[key] = None if exact is None else self._settle(key, exact)
        return self._cache[key]

    def maximum(self, a: Any, b: Any) -> Dim:
        if isinstance(a, int) and isinstance(b, int):
            return max(a, b)
        return self._keep("max", a, b, lambda: self._extreme("Max", a, b))

    def minimum(self, a: Any, b: Any) -> Dim:
        if isinstance(a, int) and isinstance(b, int):
            return min(a, b)
        return self._keep("min", a, b, lambda: self._extreme("Min", a, b))

    def broadcast(self, a: Any, b: Any) -> Dim:
        """The dim that `a` and `b` give under numpy's broadcasting, which they are known to satisfy."""
        if a is b or b == 1:
            return a
        if a == 1:
            return b
        if isinstance(a, int):
            return a
        if isinstance(b, int) or a == b:
            return b
        return self._keep("broadcast", a, b, lambda: self._broadcast(a, b))

    def _broadcast(self, a: Any, b: Any) -> Dim:
        if self.at_least(a, 2) or self._is_cap(b, a):
            return a
        if self.at_least(b, 2) or self._is_cap(a, b):
            return b
        mine, others = self._members.get(a, frozenset((a,))), self._members.get(b, frozenset((b,)))
        both = mine | others
        if both == mine:
            return a
        if both == others:
            return b
        (low, high), (low_b, high_b) = self.bounds(a), self.bounds(b)
        lower = None if low is None or low_b is None else min(low, low_b)
        upper = None if high is None or high_b is None else max(high, high_b)
        symbol = self.opaque(("broadcast", both), lower, upper)
        self._members[symbol] = both
        return symbol

    def _is_cap(self, a: Any, b: Any) -> bool:
        """Whether a = Min(b, k) with k >= 2. Then a broadcasts with b only where it equals b."""
        rest = [arg for arg in a.args if arg != b] if isinstance(a, sympy().Min) else []
        return 0 < len(rest) < len(a.args) and all(self.at_least(arg, 2) for arg in rest)

    # -- proofs ----------------------------------------------------------------------------------------------------

    def equal(self, a: Any, b: Any) -> bool:
        """Whether two dims are proven equal."""
        if a is b:
            return True
        if isinstance(a, int) and isinstance(b, int):
            return a == b
        return a == b or self.sub(a, b) == 0 or self.interval(self.sub(a, b)) == (0, 0)

    def differ(self, a: Any, b: Any) -> bool:
        """Whether two dims are proven different in every run."""
        return self.at_least(self.sub(a, b), 1) or self.at_least(self.sub(b, a), 1)

    def at_least(self, a: Any, k: Any) -> bool:
        """Whether a >= k is proven."""
        if isinstance(a, int) and isinstance(k, int):
            return a >= k
        gap = self.sub(a, k)
        if isinstance(gap, int):
            return gap >= 0
        if gap not in self._proofs:
            self._proofs[gap] = self._nonnegative(gap)
        return self._proofs[gap]

    def at_most(self, a: Any, k: Any) -> bool:
        """Whether a <= k is proven."""
        return self.at_least(k, a)

    def positive(self, a: Any) -> bool:
        """Whether a >= 1 is proven."""
        return self.at_least(a, 1)

    def same(self, a: Sequence[Any] | None, b: Sequence[Any] | None) -> bool:
        """Whether two lists of dims are proven equal, rank included."""
        return a is not None and b is not None and len(a) == len(b) and all(map(self.equal, a, b))

    def positive_unless_empty(self, dim: Any) -> bool:
        """Whether dim >= 1, given that no size of the model's inputs is zero."""
        if isinstance(dim, int):
            return dim >= 1
        assumed = {symbol: self._unless_empty(symbol) for symbol in dim.free_symbols}
        return self.positive(dim) or bool(intervals.of(dim, ChainMap(assumed, self._bounds))[0] >= 1)

    def _unless_empty(self, symbol: Any) -> Interval:
        low, high = self.interval(symbol)
        sizes = self._members.get(symbol, frozenset((symbol,)))
        return (low, high) if any(map(self.is_made, sizes)) else (max(low, 1), high)

    def interval(self, dim: Any) -> Interval:
        """What lies between the proven lowest and highest value (infinite where there is no bound)."""
        if isinstance(dim, int):
            return dim, dim
        found = self._intervals.get(dim)
        if found is None:
            found = self._intervals[dim] = intervals.of(dim, self._bounds)
        return found

    def _nonnegative(self, gap: Any) -> bool:
        low, high = self.interval(gap)
        if low >= 0 or high < 0:
            return bool(low >= 0)
        return bool(intervals.of(*intervals.relax(gap, self._bounds))[0] > -1)

    # -- the normal form -------------------------------------------------------------------------------------------

    def _keep(self, operator: str, a: Any, b: Any, compute: Callable[[], Any]) -> Any:
        """The cached answer, or a new one in normal form: an int, a small expression, or a symbol for a large one."""
        key = (operator, a, b)
        found = self._cache.get(key)
        if found is None:
            if len(self._cache) > _MAX_CACHE:
                self._cache.clear()
            found = self._cache[key] = self._settle(key, compute())
        return found

    def _settle(self, key: tuple[Any, ...], result: Any) -> Any:
        if isinstance(result, int):
            return result
        if result.is_Integer:
            return int(result)
        return result if is_small(result) else self.opaque(key, *self.bounds(result))

    def _multiply(self, a: Any, b: Any) -> Any:
        if terms(a) * terms(b) > MAX_TERMS:
            return self.opaque(("*", a, b), *_whole(intervals.times(self.interval(a), self.interval(b))))
        return sympy().expand(a * b)

    def _divide(self, a: Any, b: Any) -> Any:
        if b == 0:
            return self.opaque(("//", a, b), None)
        exact = exact_quotient(a, b)
        if exact is not None:
            return exact
        if isinstance(b, int):
            found = floor_quotient(a, b) if b > 0 else floor_quotient(self.sub(0, a), -b)
            low, high = intervals.of(found, self._stated)  # a size of at most 64, in windows of 64, is one window
            return int(low) if low == high else found
        return 0 if self.at_least(a, 0) and self.at_least(b, self.add(a, 1)) else floor_quotient(a, b)

    def _extreme(self, function: str, a: Any, b: Any) -> Any:
        if self.at_least(a, b):
            return a if function == "Max" else b
        if self.at_least(b, a):
            return b if function == "Max" else a
        return getattr(sympy(), function)(a, b, evaluate=False)


def _implied(dim: Any, low: Any) -> tuple[Any, Any]:
    """(x, k) such that dim >= low means x >= k, x being a part of `dim`; (None, 0) where there is none."""
    if isinstance(dim, sympy().floor):
        return dim.args[0], low
    form = linear_in_one(dim)
    if form is None or form[0] < 0 or form[1] == dim:
        return None, 0
    coefficient, atom, number = form
    return atom, int(sympy().ceiling((low - number) / coefficient))


def _whole(interval: Interval) -> tuple[int | None, int | None]:
    low, high = interval
    return (None if low == -math.inf else math.ceil(low)), (None if high == math.inf else math.floor(high))


# -- statements that need no model -------------------------------------------------------------------------------------

_PLAIN = Shapes("?_")


def equal(a: Any, b: Any) -> bool:
    """Whether two dims are proven equal, knowing no more than that sizes are not negative."""
    return _PLAIN.equal(a, b)


def at_least(a: Any, k: Any) -> bool:
    """Whether a >= k is proven, knowing no more than that sizes are not negative."""
    return _PLAIN.at_least(a, k)


def provably_positive(a: Any) -> bool:
    """Whether a >= 1 is proven, knowing no more than that sizes are not negative."""
    return _PLAIN.at_least(a, 1)


def same(a: Sequence[Any] | None, b: Sequence[Any] | None) -> bool:
    """Whether two lists of dims are proven equal, rank included."""
    return _PLAIN.same(a, b)


def add(a: Any, b: Any) -> Dim:
    """a + b."""
    return _PLAIN.add(a, b)


def sub(a: Any, b: Any) -> Dim:
    """a - b."""
    return _PLAIN.sub(a, b)


def mul(a: Any, b: Any) -> Dim:
    """a * b."""
    return _PLAIN.mul(a, b)


def floordiv(a: Any, b: Any) -> Dim:
    """a / b rounded down."""
    return _PLAIN.floordiv(a, b)


def product(dims: Iterable[Any]) -> Dim:
    """The product of dims; 1 for none."""
    return _PLAIN.product(dims)


def substitute(dim: Any, sizes: dict[Any, int]) -> Any:
    """A dim with sizes put in for symbols: an int where that settles it, otherwise an expression."""
    if isinstance(dim, int):
        return dim
    result = dim.subs(sizes)
    return int(result) if result.is_Integer else result
