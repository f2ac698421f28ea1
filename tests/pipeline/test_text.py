"""Pipeline text: what it means, that it round-trips, and that errors point at their place."""

from __future__ import annotations

import dataclasses
from typing import Any

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from onnx_opt.options import Size
from onnx_opt.pipeline import Pipeline, Repeat
from onnx_opt.pipeline_text import PipelineError, parse
from onnx_opt.userfiles import FunctionPass

from .conftest import Cleanup, Fold, Fuse, Half, Pad, Strip

pytestmark = pytest.mark.usefixtures("imaginary")


def test_the_example_of_the_documentation() -> None:
    text = "fold,repeat(fuse-conv-bn-relu,cleanup){max=7},pad-channels{multiple=16},fp16{keep-io}"
    pipeline = Pipeline.parse(text)
    assert pipeline.items == (Fold(), Repeat((Fuse(), Cleanup()), 7), Pad(16), Half(keep_io=True))
    assert str(pipeline) == text


@pytest.mark.parametrize(
    ("text", "canonical"),
    [
        ("", ""),
        (" fold , cleanup ", "fold,cleanup"),
        ("fold{max-growth=1048576}", "fold"),
        ("fold{max-growth=65536}", "fold{max-growth=64KiB}"),
        ("fp16{keep-io=true,careful=false}", "fp16{keep-io,careful=false}"),
        ("fp16{limit=none}", "fp16"),
        ("fp16{note='two words'}", 'fp16{note="two words"}'),
        ('fp16{note="true"}', 'fp16{note="true"}'),
        ("fp16{sizes=[1, 2.5, 1e3]}", "fp16{sizes=[1.0,2.5,1000.0]}"),
        ("strip-custom-ops{ops=devtech::FooOp}", "strip-custom-ops{ops=[devtech::FooOp]}"),
        ("strip-custom-ops{ops=['d::Op=input:1']}", 'strip-custom-ops{ops=["d::Op=input:1"]}'),
        ("repeat(fold){max=10}", "repeat(fold)"),
        ("repeat(repeat(fold),cleanup)", "repeat(repeat(fold),cleanup)"),
    ],
)
def test_canonical_text(text: str, canonical: str) -> None:
    assert str(Pipeline.parse(text)) == canonical
    assert Pipeline.parse(canonical) == Pipeline.parse(text)


@pytest.mark.parametrize(
    ("text", "column", "words"),
    [
        ("fold,fuze-conv-bn-relu", 6, "did you mean 'fuse-conv-bn-relu'?"),
        ("fold,", 6, "the name of a pass is expected"),
        ("fold cleanup", 6, "a comma is expected"),
        ("fold)", 5, "a comma is expected"),
        ("fold(cleanup)", 1, "takes no group"),
        ("repeat", 1, "needs passes"),
        ("repeat()", 1, "needs passes"),
        ("repeat(fold", 12, "found the end"),
        ("repeat(fold){max=0}", 18, "at least 1"),
        ("repeat(fold){min=1}", 14, "no option 'min'"),
        ("fold{max-grow=1}", 6, "did you mean 'max-growth'?"),
        ("fold{max-growth=lots}", 17, "a size such as"),
        ("pad-channels{multiple=1.5}", 23, "a whole number is needed"),
        ("pad-channels{multiple=true}", 23, "a whole number is needed"),
        ("pad-channels{multiple}", 14, "a whole number is needed"),
        ("pad-channels{multiple=0}", 1, "multiple must be positive"),
        ("pad-channels{multiple=1,multiple=2}", 25, "given twice"),
        ("pad-channels{multiple=}", 23, "a value is expected"),
        ("fp16{mode=slow}", 11, "one of fast, safe"),
        ("fp16{note=3}", 11, "put it in quotes"),
        ("fp16{note='open}", 11, "no closing quote"),
        ("fp16{keep-io", 13, "',' or '}'"),
        ("fp16{sizes=[1,a]}", 12, "a number is needed"),
        ("fold{", 6, "the name of an option"),
        ("{}", 1, "the name of a pass"),
        ("nowhere.py:f", 1, "no such Python file"),
    ],
)
def test_errors_point_at_their_place(text: str, column: int, words: str) -> None:
    with pytest.raises(PipelineError) as caught:
        Pipeline.parse(text)
    assert f"pipeline, column {column}: " in str(caught.value)
    assert words in str(caught.value)
    assert "\n" not in str(caught.value)


def test_depth_is_bounded() -> None:
    with pytest.raises(PipelineError, match="nested too deeply"):
        Pipeline.parse("repeat(" * 10_000)


# -- round trips ----------------------------------------------------------------------------------------------------

finite = st.floats(allow_nan=False)
halves = st.builds(
    Half,
    keep_io=st.booleans(),
    careful=st.booleans(),
    mode=st.sampled_from(["fast", "safe"]),
    limit=st.none() | st.integers(),
    note=st.text(),
    sizes=st.lists(finite, max_size=4).map(tuple),
)
single: st.SearchStrategy[Any] = st.one_of(
    st.builds(Fold, max_growth=st.integers(0, 1 << 50).map(Size)),
    st.just(Cleanup()),
    st.just(Fuse()),
    st.builds(Pad, multiple=st.integers(1), weight=finite),
    st.builds(Strip, ops=st.lists(st.text(), max_size=4).map(tuple)),
    halves,
)
items = st.recursive(
    single,
    lambda inner: st.builds(Repeat, st.lists(inner, min_size=1, max_size=3).map(tuple), st.integers(1)),
    max_leaves=8,
)
pipelines = st.lists(items, max_size=5).map(lambda found: Pipeline(tuple(found)))
keep_fixture = settings(suppress_health_check=[HealthCheck.function_scoped_fixture], deadline=None)


@keep_fixture
@given(pipelines)
def test_objects_to_text_and_back(pipeline: Pipeline) -> None:
    text = str(pipeline)
    assert Pipeline.parse(text) == pipeline
    assert str(Pipeline.parse(text)) == text


@keep_fixture
@given(st.text(alphabet="fold,repeat(){}[]=\"'\\ 1.cleanupmax-growth"))
def test_any_text_is_read_or_refused(text: str) -> None:
    try:
        parse(text)
    except PipelineError as error:
        assert 1 <= error.column <= len(text) + 1


# -- a user's own file ----------------------------------------------------------------------------------------------

USER_FILE = '''
from dataclasses import dataclass
from typing import ClassVar
from onnx_opt import Pass, option, rule
from onnx_opt.rewrite import op

@dataclass(frozen=True)
class Mine(Pass):
    """My own pass."""
    name: ClassVar[str] = "mine"
    strength: int = option(1)

ready = Mine(strength=4)
number = 3

def clean(graph):
    graph.cleanup()

@rule(op.Neg(op.Neg("x")), shared=True)
def double_negation(x):
    """Minus minus x is x."""
    return x

both = [double_negation]
mixed = [double_negation, 3]
'''


@pytest.fixture
def user_file(tmp_path: Any) -> str:
    path = tmp_path / "my file.py"
    path.write_text(USER_FILE)
    return str(path)


def test_user_pass_class_round_trips(user_file: str) -> None:
    text = f'"{user_file}:Mine"{{strength=3}}'
    pipeline = Pipeline.parse(text)
    assert str(pipeline) == text
    assert Pipeline.parse(str(pipeline)) == pipeline
    assert dataclasses.asdict(next(pipeline.passes())) == {"strength": 3}


def test_user_pass_instance_takes_options(user_file: str) -> None:
    (mine,) = Pipeline.parse(f'"{user_file}:ready"').items
    assert mine.strength == 4


def test_function_and_rules_round_trip(user_file: str) -> None:
    text = f'"{user_file}:clean","{user_file}:double_negation","{user_file}:both","{user_file}"'
    pipeline = Pipeline.parse(text)
    function, one, many, all_rules = pipeline.items
    assert isinstance(function, FunctionPass)
    assert one.rules == many.rules == all_rules.rules
    assert str(pipeline) == text
    assert Pipeline.parse(text) == pipeline


@pytest.mark.parametrize(
    ("name", "words"),
    [
        ("cleen", "did you mean 'clean'?"),
        ("number", "is a int"),
        ("mixed", "holds more than rules"),
    ],
)
def test_wrong_names_in_a_user_file(user_file: str, name: str, words: str) -> None:
    with pytest.raises(PipelineError, match=words.replace("?", r"\?")):
        Pipeline.parse(f'"{user_file}:{name}"')


def test_a_user_file_that_fails(tmp_path: Any) -> None:
    (tmp_path / "bad.py").write_text("1 / 0")
    with pytest.raises(PipelineError, match="cannot be imported: ZeroDivisionError"):
        Pipeline.parse(f"{tmp_path}/bad.py:x")


def test_pipelines_from_objects(user_file: str) -> None:
    def local(graph: Any) -> None: ...

    pipeline = Pipeline.of([Fold(), "cleanup,fp16", Fuse, local])
    assert str(pipeline) == "fold,cleanup,fp16,fuse-conv-bn-relu,local"
    assert Pipeline.of("fold") == Pipeline.of(Fold()) == Pipeline.of([Fold])
