"""Running the original: finding feeds that it accepts, and recording what it makes of them."""

from __future__ import annotations

import re
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from itertools import islice
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np

from onnx_opt.errors import UsageError
from onnx_opt.validate.compare import leaves
from onnx_opt.validate.figures import bits_equal, is_float
from onnx_opt.validate.run import Rejected, Session, Value
from onnx_opt.validate.samples import Sampler
from onnx_opt.validate.sizes import Sizes, numbers_in, other_sizes, starting_points
from onnx_opt.validate.special import (
    SPECIAL_VALUES,
    fed_values,
    says_something,
    undefined_operators,
    with_special_values,
)
from onnx_opt.validate.userdata import Data, user_feeds
from onnx_opt.validate.values import MAGNITUDES, Range
from onnx_opt.validate.walk import operators

if TYPE_CHECKING:
    from onnx_opt.validate.reference import Reference

_KEPT_BYTES = 512 << 20  # of feeds and outputs together
_SEARCH_ATTEMPTS, _SEARCH_SECONDS = 300, 20.0
_ATTEMPTS_BESIDE_DATA = 10  # where the user's samples already run, random ones need not be had at any price
_UNSEEN_SIZE = 3  # of symbols that the user's samples do not show
_GUESSED_RANK_ATTEMPTS = 60
_EXPLORATION_ATTEMPTS = 200
_LEAST_FEEDS, _LEAST_DYNAMIC_FEEDS = 2, 3
_MOST_REPETITIONS = 4
_LEAST_FOR_SPECIAL = 4  # fewer samples are too few for special ones
_MOST_FOR_SPECIAL = 0.5  # of the budget may be spent before these: a big model has no time for them
_WIDEST: Range = (0, 32767)
_RANGE_IN_MESSAGE = re.compile(r"inclusive range \[(-?\d+), ?(-?\d+)\]")
_RANDOM = re.compile(r"Random|Bernoulli|Multinomial|Dropout|Sampling")


@dataclass
class Record:
    """One feed and what the original made of it. `origin` says where the feed comes from."""

    feed: dict[str, Value]
    outputs: list[Value]
    sizes: Sizes
    origin: str
    seconds: float

    @property
    def nbytes(self) -> int:
        return sum(array.nbytes for value in (*self.feed.values(), *self.outputs) for _, array in leaves(value))


class Collection:
    """The records of one session of the original."""

    def __init__(self, reference: Reference, session: Session) -> None:
        self.reference, self.session = reference, session
        self.records: list[Record] = []
        self.random_outputs: set[int] = set()
        self.random = self.special = 0  # random feeds recorded, plain ones and others
        self.kept_bytes = 0
        self.spent = 0.0  # seconds of runs that were recorded
        self.attempts = 0
        self.refusal = ""
        self.empty: tuple[Sampler, Sizes, int] | None = None  # what runs, but to no outputs worth comparing

    def collect(self) -> None:
        """Fills `records`. Raises `UsageError` for data that the original refuses, `TypeError` for inputs of which no
        values can be made, `Unreadable` for outputs that Python cannot have."""
        reference = self.reference
        if reference.data is not None:
            self._user_samples(reference.data)
        if reference.samples > 0 and not self._too_much_kept():
            self._random_samples()

    def first(self) -> Record | None:
        """A random feed that the model runs on, indices over the whole range that it takes; None where none is found.

        For those who want to run a model rather than to judge others by it. Raises as `collect`.
        """
        sampler, base = self._find_base()
        if base is None:
            return None
        self._widen_ranges(sampler, base)
        return self.records[-1]

    def failure(self) -> str:
        """Why there are no records."""
        why = f"last refusal: {self.refusal}" if self.refusal else "they would be too large"
        return f"the original runs on none of {self.attempts} random inputs ({why})"

    # -- feeds ---------------------------------------------------------------------------------------------------------

    def _user_samples(self, data: Data) -> None:
        for count, feed in enumerate(user_feeds(data, self.session.signature)):
            self.reference.say(f"original on the user's sample {count}")
            try:
                self._record(feed, {}, f"user's sample {count}")
            except Rejected as error:
                where = str(data) if isinstance(data, str | Path) else None
                raise UsageError(f"the original model refuses sample {count}: {error}", path=where) from error
            if self._too_much_kept():
                return

    def _random_samples(self) -> None:
        sampler, base = self._find_base()
        if base is None:
            return
        self._widen_ranges(sampler, base)
        self._special_samples(sampler, base)
        pool = [base]
        for sizes in other_sizes(sampler.symbols, base, _Explorer(self, sampler)):
            pool.append(sizes)
            if self._enough():
                return
        for i in range(4 * self.reference.samples):
            if self._enough() or not sampler.signature.inputs:
                break
            self.try_sizes(sampler, pool[i % len(pool)])
        self._override_initializers(sampler, base)

    def _find_base(self) -> tuple[Sampler, Sizes | None]:
        """The first sizes and integer ranges at which the original runs, and gives outputs that are not all empty."""
        reference = self.reference
        sampler = Sampler(self.session.signature, reference.dims, reference.shapes, reference.seed)
        for candidate in _rank_choices(sampler):
            known = self._learn_from_data(candidate)
            for sample, limits in _first_values(candidate):
                candidate.fallback = limits
                points = starting_points(candidate.symbols, lambda: numbers_in(self.refusal), known)
                for sizes in islice(points, _GUESSED_RANK_ATTEMPTS if sampler.unknown_ranks else None):
                    if self._gave_up():
                        break
                    if self.try_sizes(candidate, sizes, sample, accept_empty=False):
                        return candidate, sizes
        if self.empty is not None and self.try_sizes(*self.empty):
            return self.empty[0], self.empty[1]
        return sampler, None

    def _learn_from_data(self, sampler: Sampler) -> Sizes | None:
        """Sizes and integer ranges of the user's first sample: random ones like it have the best chances."""
        if not self.records:
            return None
        sizes: Sizes = {}
        for slot in sampler.signature.inputs:
            value = self.records[0].feed.get(slot.name)
            if not isinstance(value, np.ndarray) or value.ndim != len(slot.shape or ()):
                continue
            sizes |= {k: n for k, n in zip(sampler.symbols.keys(slot), value.shape, strict=True) if isinstance(k, str)}
            if value.dtype.kind in "iu" and value.size:
                sampler.ranges[slot.name] = (int(value.min()), int(value.max()))
        return {name: sizes.get(name, _UNSEEN_SIZE) for name in sampler.symbols.free}

    def _widen_ranges(self, sampler: Sampler, base: Sizes) -> None:
        """Indices over the whole of what they index: refusals name the valid range, so two attempts an input do."""
        for name in sampler.index_like():
            before = sampler.ranges.get(name)
            for limits in (_WIDEST, None, (0, 99), (0, 9), before):
                if limits is None:
                    found = _RANGE_IN_MESSAGE.search(self.refusal)
                    if found is None:
                        continue
                    limits = (0, int(found[2]))
                sampler.ranges[name] = limits
                if self.try_sizes(sampler, base, sample=0):
                    break
                del sampler.ranges[name]

    def _special_samples(self, sampler: Sampler, base: Sizes) -> None:
        """Inputs with NaN and with infinities, where the original makes something of them, and that is defined."""
        reference = self.reference
        if reference.samples < _LEAST_FOR_SPECIAL or self.spent > _MOST_FOR_SPECIAL * reference.budget:
            return
        kinds = fed_values(reference.absent)
        if not kinds or undefined_operators(reference.skeleton):
            return
        for kind in kinds:
            plain = sampler.feed(base, self.random)
            feed = with_special_values(plain, self.session.signature, SPECIAL_VALUES[kind], reference.seed)
            if feed is None:
                return
            try:
                self._record(feed, base, f"random with {kind}", accept=says_something)
            except Rejected as error:
                self.refusal = str(error)

    def _override_initializers(self, sampler: Sampler, base: Sizes) -> None:
        names = {slot.name for slot in self.session.signature.overridable}
        if not names or self._too_much_kept():
            return
        defaults = {t.name: t for t in self.reference.skeleton.graph.initializer if t.name in names}
        feed = sampler.feed(base, 0)
        for i, (name, tensor) in enumerate(sorted(defaults.items())):
            value = self.reference.source.array(tensor)
            if is_float(value.dtype):
                # A factor keeps signs and zeros: variances stay positive.
                rng = np.random.default_rng([self.reference.seed, i])
                feed[name] = (value * rng.uniform(0.75, 1.25, value.shape)).astype(value.dtype)
        try:
            self._record(feed, base, "overridden initializers")
        except Rejected as error:
            self.refusal = str(error)

    # -- running -------------------------------------------------------------------------------------------------------

    def try_sizes(self, sampler: Sampler, sizes: Sizes, sample: int | None = None, accept_empty: bool = True) -> bool:
        """Whether the original runs on random values at `sizes`; if so, that is recorded."""
        self.attempts += 1
        if self._would_take(sampler, sizes) > max(self.reference.budget - self.spent, 0.25):
            return False
        sample = self.random if sample is None else sample
        self.reference.say(f"original on random inputs {self.random + 1}")
        try:
            feed = sampler.feed(sizes, sample)
            accept = None if accept_empty else _is_not_empty
            recorded = self._record(feed, {**sampler.symbols.fixed, **sizes}, "random", accept)
        except Rejected as error:
            self.refusal = str(error)
            return False
        if not recorded and self.empty is None:
            self.empty = (sampler, sizes, sample)
        return recorded

    def _would_take(self, sampler: Sampler, sizes: Sizes) -> float:
        """Seconds that a run at `sizes` is expected to take, from the runs so far; 0 where nothing is known."""
        symbols = sampler.symbols
        known = [record for record in self.records if record.sizes and record.origin == "random"]
        rate = min((record.seconds / max(symbols.elements(record.sizes), 1) for record in known), default=0.0)
        return rate * symbols.elements(sizes)

    def _record(
        self, feed: dict[str, Value], sizes: Sizes, origin: str, accept: Callable[[list[Value]], bool] | None = None
    ) -> bool:
        """Run the original and keep what it gives, if that is to be accepted."""
        before = self.session.seconds
        outputs = self.session.run(feed)
        seconds = self.session.seconds - before
        if accept is not None and not accept(outputs):
            self.refusal = "its outputs are empty"
            return False
        if not self.records:
            self._find_random_outputs(feed, outputs)
        record = Record(feed, outputs, sizes, origin, seconds)
        self.records.append(record)
        self.kept_bytes += record.nbytes
        self.spent += seconds
        self.random += origin == "random"
        self.special += origin.startswith("random with")
        return True

    def _find_random_outputs(self, feed: dict[str, Value], outputs: list[Value]) -> None:
        """A random output differs from run to run. The second run is spared models that name no such operator."""
        if not any(_RANDOM.search(op) for op in operators(self.reference.skeleton)):
            return
        for _ in range(_MOST_REPETITIONS):  # few draws of two values may be the same by chance
            again = self.session.run(feed)
            pairs = enumerate(zip(outputs, again, strict=True))
            self.random_outputs |= {i for i, (one, two) in pairs if not _same_bits(one, two)}
            if self.random_outputs:
                return

    def _enough(self) -> bool:
        if self.random + self.special >= self.reference.samples or self._too_much_kept():
            return True
        least = _LEAST_DYNAMIC_FEEDS if any(record.sizes for record in self.records) else _LEAST_FEEDS
        return self.spent > self.reference.budget and self.random >= least

    def _too_much_kept(self) -> bool:
        return self.kept_bytes > _KEPT_BYTES

    def _gave_up(self) -> bool:
        most = _ATTEMPTS_BESIDE_DATA if self.records else _SEARCH_ATTEMPTS
        return self.attempts >= most or self.session.seconds > _SEARCH_SECONDS


class _Explorer:
    """Tries sizes for `other_sizes`, until that has taken long enough."""

    def __init__(self, collection: Collection, sampler: Sampler) -> None:
        self.collection, self.sampler = collection, sampler
        first = collection.records[-1].seconds
        self.deadline = collection.session.seconds + max(2 * collection.reference.budget, 6 * first)
        self.attempts = 0

    def __call__(self, sizes: Sizes) -> bool:
        self.attempts += 1
        if self.attempts > _EXPLORATION_ATTEMPTS or self.collection.session.seconds > self.deadline:
            return False
        return self.collection.try_sizes(self.sampler, sizes)


def _rank_choices(sampler: Sampler) -> Iterator[Sampler]:
    if not sampler.unknown_ranks:
        yield sampler
        return
    yield from (sampler.with_rank(rank) for rank in (2, 4, 3, 1, 0, 5))


def _first_values(sampler: Sampler) -> list[tuple[int, Range | None]]:
    """(sample, integer range) to look for sizes with: normal values, then ones that fewer models refuse."""
    positive = list(MAGNITUDES).index("positive")
    if not sampler.takes_integers:
        return [(0, None), (positive, None)]
    return [(0, None), (0, (1, 1)), (0, (0, 3)), (positive, (0, 0))]


def _is_not_empty(outputs: list[Value]) -> bool:
    return not outputs or any(not isinstance(value, np.ndarray) or value.size for value in outputs)


def _same_bits(one: Value, two: Value) -> bool:
    left, right = leaves(one), leaves(two)
    if [(path, a.shape, a.dtype) for path, a in left] != [(path, a.shape, a.dtype) for path, a in right]:
        return False
    return all(
        bool((a == b).all()) if a.dtype.kind == "O" else bits_equal(a, b)
        for (_, a), (_, b) in zip(left, right, strict=True)
    )
