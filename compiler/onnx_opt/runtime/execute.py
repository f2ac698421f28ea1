"""Running a model once: on the user's inputs, or on random ones that it takes."""

from __future__ import annotations

import math
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from itertools import islice
from typing import Any

import numpy as np

from onnx_opt import worker
from onnx_opt.errors import ModelError, OnnxOptError, TargetError, UsageError
from onnx_opt.validate.collect import Collection
from onnx_opt.validate.compare import leaves
from onnx_opt.validate.figures import is_float
from onnx_opt.validate.reference import Reference
from onnx_opt.validate.run import CannotLoad, Feed, Rejected, Runtime, Session, Unreadable, Value
from onnx_opt.validate.signature import Signature
from onnx_opt.validate.sizes import Fixed
from onnx_opt.validate.source import Source
from onnx_opt.validate.userdata import Data, user_feeds

_MARKS = ("none", "map", "sequence")  # what `leaves` calls the containers themselves


@dataclass(frozen=True)
class Sample:
    """A feed, what a model made of it, and the sizes that were chosen for its dynamic dims."""

    feed: Feed
    outputs: list[Value]
    names: tuple[str, ...]
    sizes: Mapping[str, int] = field(default_factory=dict)

    def fed(self) -> dict[str, np.ndarray]:
        """The inputs by name, as `arrays` has the outputs."""
        return _named(self.feed.items())

    def arrays(self) -> dict[str, np.ndarray]:
        """The outputs by name; the parts of a sequence or a map are called 'NAME[0]' and 'NAME{key}'."""
        return _named(zip(self.names, self.outputs, strict=True))


def _named(values: Iterable[tuple[str, Value]]) -> dict[str, np.ndarray]:
    return {
        f"{name}{path}": array for name, value in values for path, array in leaves(value) if not path.endswith(_MARKS)
    }


def execute(
    model: Source,
    runtime: Runtime,
    data: Data | None = None,
    dims: Mapping[str, Fixed] | None = None,
    shapes: Mapping[str, Sequence[int]] | None = None,
    seed: int = 0,
    limit: int | None = None,
) -> list[Sample]:
    """Run `model` on each sample of `data` (the first `limit` of them), or on a random one of the sizes that `dims` and
    `shapes` say.

    Raises TargetError where ONNX Runtime or the provider lacks what the model needs, ModelError for what is no valid
    model, UsageError for inputs that it refuses.
    """
    try:
        if data is not None:
            return list(islice(_on_users(model, runtime, data), limit))
        return [_on_random(model, runtime, dims or {}, shapes or {}, seed)]
    except CannotLoad as problem:
        raise load_error(problem, model) from problem
    except OnnxOptError as error:
        error.locate(model.path)
        raise


def load_error(problem: CannotLoad, model: Source) -> OnnxOptError:
    """The error for a model that does not load."""
    if problem.is_lack:
        return TargetError(str(problem), path=model.name)
    return ModelError(f"ONNX Runtime does not load it: {problem}", path=model.name)


class located:
    """Says of what goes wrong inside which model it is."""

    def __init__(self, model: Source) -> None:
        self._model = model

    def __enter__(self) -> None: ...

    def __exit__(self, kind: object, error: BaseException | None, trace: object) -> None:
        if isinstance(error, OnnxOptError):
            error.locate(self._model.path)
        elif isinstance(error, Rejected):
            raise UsageError(f"the model refuses its inputs: {error}", path=self._model.name) from error
        elif isinstance(error, worker.Crashed):
            raise UsageError(f"ONNX Runtime {error} while the model ran", path=self._model.name) from error


def _on_users(model: Source, runtime: Runtime, data: Data) -> Iterator[Sample]:
    with Session(model, runtime) as session:
        for count, feed in enumerate(user_feeds(data, session.signature)):
            try:
                yield Sample(feed, session.run(feed), _names(session.signature))
            except (Rejected, Unreadable) as problem:
                raise UsageError(f"the model does not run on sample {count}: {problem}", path=model.name) from problem


def _on_random(
    model: Source,
    runtime: Runtime,
    dims: Mapping[str, Fixed],
    shapes: Mapping[str, Sequence[int]],
    seed: int,
) -> Sample:
    reference = Reference(model, dims=dims, shapes=shapes, seed=seed, budget=math.inf, runtime=runtime)
    with Session(model, runtime) as session:
        collection = Collection(reference, session)
        try:
            record = collection.first()
        except (TypeError, Unreadable) as problem:
            raise UsageError(str(problem), path=model.name, remedy="give it inputs with --data") from problem
        if record is None:
            remedy = "give it inputs with --data, or sizes with --dim"
            raise UsageError(collection.failure().replace("original", "model"), path=model.name, remedy=remedy)
        chosen = {name: size for name, size in record.sizes.items() if not isinstance(dims.get(name), int)}
        return Sample(record.feed, record.outputs, _names(session.signature), chosen)


def _names(signature: Signature) -> tuple[str, ...]:
    return tuple(slot.name for slot in signature.outputs)


def figures(array: np.ndarray) -> dict[str, Any]:
    """Type, shape, and of numbers the least and largest finite one, the mean, and how many are NaN or infinite."""
    found: dict[str, Any] = {"type": "string" if array.dtype.kind in "OUS" else array.dtype.name}
    found["shape"] = list(array.shape)
    if array.dtype.kind in "OUSc" or not array.size:
        return found
    numbers = array.astype(np.float64) if is_float(array.dtype) else array
    finite = numbers[np.isfinite(numbers)] if is_float(array.dtype) else numbers
    if is_float(array.dtype):
        found["nan"] = int(np.isnan(numbers).sum())
        found["inf"] = int(np.isinf(numbers).sum())
    if finite.size:
        found |= {"min": finite.min().item(), "max": finite.max().item(), "mean": float(finite.mean(dtype=np.float64))}
    return found
