"""What is examined: random models, the tests of the onnx package, and model files, each under a name of its own.

random:17                  the random model of seed 17
node:test_add              a test of onnx's backend suite (node, simple, pytorch-converted, pytorch-operator, light)
constant:test_add          the same with its inputs made initializers, so that folding has everything to compute
file:models/silero.onnx    a model file, fed at random
"""

from __future__ import annotations

import warnings
import zlib
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass
from functools import cache
from pathlib import Path
from typing import Any

import generator
import numpy as np
import onnx
from google.protobuf.message import DecodeError
from onnx import numpy_helper

from .protos import Feed, has_equal_node_names, without_node_names

RANDOM, NODE, CONSTANT, LIGHT, FILE = "random", "node", "constant", "light", "file"
STORED = ("simple", "pytorch-converted", "pytorch-operator")
"""Kinds of the onnx package's backend tests that lie in it as files, inputs beside them."""
BACKEND = (NODE, CONSTANT, *STORED, LIGHT)
FEEDS = 4
"""Random feeds of a model file."""


class NoFeeds(Exception):
    """Nothing is known that the model could be fed with."""


@dataclass
class Case:
    """A model and what it is fed with."""

    name: str
    model: onnx.ModelProto
    feeds: Sequence[Feed]

    @property
    def seed(self) -> int:
        """What choices about this case are drawn from."""
        kind, _, rest = self.name.partition(":")
        return int(rest) if kind == RANDOM else zlib.crc32(Path(rest).name.encode())

    @property
    def symbols(self) -> dict[str, int]:
        """The sizes of the named dims in the first feed."""
        found = {}
        for value in self.model.graph.input:
            array = self.feeds[0].get(value.name)
            if isinstance(array, np.ndarray) and value.type.tensor_type.HasField("shape"):
                named = zip(value.type.tensor_type.shape.dim, array.shape, strict=False)
                found.update((dim.dim_param, size) for dim, size in named if dim.dim_param)
        return found


def kind_of(name: str) -> str:
    """The part of a case's name that says where it comes from."""
    return name.partition(":")[0]


# -- names -------------------------------------------------------------------------------------------------------------


def random_names(seeds: Iterable[int]) -> list[str]:
    """The random models of `seeds`."""
    return [f"{RANDOM}:{seed}" for seed in seeds]


def backend_names(kinds: Sequence[str] = BACKEND) -> list[str]:
    """The tests of the onnx package."""
    return [f"{kind}:{name}" for kind in kinds for name in sorted(_tests(NODE if kind == CONSTANT else kind))]


def file_names(paths: Iterable[Path]) -> list[str]:
    """The model files under `paths`, each of which is a file or a folder."""
    files = [file for path in paths for file in (sorted(path.rglob("*.onnx")) if path.is_dir() else [path])]
    return [f"{FILE}:{file}" for file in files]


# -- cases -------------------------------------------------------------------------------------------------------------


def load(name: str) -> Case:
    """The case of that name. Raises `NoFeeds`."""
    kind, _, rest = name.partition(":")
    if kind == RANDOM:
        made = generator.make(int(rest))
        return Case(name, made.model, made.feeds)
    if kind == FILE:
        try:
            model = onnx.load(rest)
        except (OSError, DecodeError, onnx.checker.ValidationError) as error:
            raise NoFeeds(f"no whole model: {error}") from error
        return Case(name, model, sampled(model))
    test = _tests(NODE if kind == CONSTANT else kind)[rest]
    if kind == LIGHT:
        model = onnx.load(test)
        return Case(name, model, sampled(model))
    if kind in STORED:
        return Case(name, *_stored(Path(test.model_dir)))
    feed = dict(_named(test.model, test.data_sets[0][0]))
    if kind == CONSTANT:
        return Case(name, with_inputs_as_initializers(test.model, feed), [{}])
    return Case(name, test.model, [feed])


def sampled(model: onnx.ModelProto) -> list[Feed]:
    """Feeds that ONNX Runtime accepts, at several sizes of the dynamic dims."""
    from onnx_opt.validate.reference import Reference

    runnable = without_node_names(model) if has_equal_node_names(model) else model
    reference = Reference(runnable.SerializeToString(), samples=FEEDS)
    if not reference.records:
        raise NoFeeds(reference.problem)
    return [record.feed for record in reference.records]


def with_inputs_as_initializers(model: onnx.ModelProto, feed: Feed) -> onnx.ModelProto:
    """The model with nothing left to feed. Raises `NoFeeds` where an input is no tensor, or an output too."""
    made = onnx.ModelProto()
    made.CopyFrom(model)
    outputs = {output.name for output in model.graph.output}
    for name, value in feed.items():
        if not isinstance(value, np.ndarray) or name in outputs:
            raise NoFeeds("an input that no initializer can stand for")
        made.graph.initializer.append(numpy_helper.from_array(value, name))
    del made.graph.input[:]
    return made


@cache
def _tests(kind: str) -> dict[str, Any]:
    """The tests of a kind, by name: the path of a model for 'light', the onnx package's own description for others."""
    if kind == LIGHT:
        folder = Path(onnx.__file__).parent / "backend/test/data/light"
        return {path.stem: path for path in sorted(folder.glob("*.onnx"))}
    if kind in STORED:
        from onnx.backend.test.loader import load_model_tests

        return {test.name: test for test in load_model_tests(kind=kind)}
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        from onnx.backend.test.case.node import collect_testcases

        return {test.name: test for test in collect_testcases(None) if test.model is not None and test.data_sets}


def _stored(folder: Path) -> tuple[onnx.ModelProto, list[Feed]]:
    model = onnx.load(folder / "model.onnx")
    feeds = []
    for data in sorted(folder.glob("test_data_set_*")):
        files = sorted(data.glob("input_*.pb"), key=lambda path: int(path.stem.partition("_")[2]))
        values = [_value(slot, file) for slot, file in zip(model.graph.input, files, strict=False)]
        feeds.append(dict(_named(model, values)))
    return model, feeds or [{}]


def _value(slot: onnx.ValueInfoProto, file: Path) -> Any:
    data = file.read_bytes()
    kind = slot.type.WhichOneof("value")
    if kind == "sequence_type":
        return numpy_helper.to_list(onnx.SequenceProto.FromString(data))
    if kind == "optional_type":
        return numpy_helper.to_optional(onnx.OptionalProto.FromString(data))
    return numpy_helper.to_array(onnx.TensorProto.FromString(data))


def _named(model: onnx.ModelProto, values: Iterable[Any]) -> Iterator[tuple[str, Any]]:
    return ((slot.name, value) for slot, value in zip(model.graph.input, values, strict=False))
