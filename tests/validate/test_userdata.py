"""The user's own samples, in every form, and what is wrong with them."""

from __future__ import annotations

import numpy as np
import onnx
import pytest
from onnx import numpy_helper

from onnx_opt.errors import UsageError
from onnx_opt.validate import Reference, prove

TEXT = "g (float[N, 3] x, int64[N] i) => (float[N, 3] y) { y = Gather(x, i) }"


@pytest.fixture
def gather(model) -> bytes:
    return model(TEXT)


def sample(n: int = 2, value: float = 7) -> dict[str, np.ndarray]:
    return {"x": np.full((n, 3), value, np.float32), "i": np.arange(n)}


def users(model: bytes, data) -> list[dict]:
    """The user's feeds as the reference ran them."""
    return [record.feed for record in Reference(model, data=data, samples=0).records]


def test_a_dict_or_several(gather):
    assert len(users(gather, sample())) == 1
    assert [feed["x"].shape[0] for feed in users(gather, [sample(2), sample(5)])] == [2, 5]


def test_an_npz_of_one_sample_and_of_a_stack(gather, tmp_path):
    np.savez(tmp_path / "one.npz", **sample())
    assert len(users(gather, tmp_path / "one.npz")) == 1
    stacked = {name: np.stack([array] * 4) for name, array in sample().items()}
    np.savez(tmp_path / "stack.npz", **stacked)
    assert [feed["i"].tolist() for feed in users(gather, str(tmp_path / "stack.npz"))] == [[0, 1]] * 4


def test_a_directory_of_npy_files(gather, tmp_path):
    for name, array in sample().items():
        np.save(tmp_path / f"{name}.npy", array)
    assert len(users(gather, tmp_path)) == 1


def test_names_that_no_file_can_have(model, tmp_path):
    proto = onnx.ModelProto.FromString(model("g (float[3] x) => (float[3] y) { y = Relu(x) }"))
    proto.graph.input[0].name = proto.graph.node[0].input[0] = "a/b:0"
    np.save(tmp_path / "a_b_0.npy", np.ones(3, np.float32))
    assert list(users(proto.SerializeToString(), tmp_path)[0]) == ["a/b:0"]


def test_a_directory_of_test_data_sets(gather, tmp_path):
    for i in range(3):
        folder = tmp_path / f"test_data_set_{i}"
        folder.mkdir()
        for k, array in enumerate(sample(i + 1).values()):
            (folder / f"input_{k}.pb").write_bytes(numpy_helper.from_array(array).SerializeToString())
    assert [feed["x"].shape[0] for feed in users(gather, tmp_path)] == [1, 2, 3]


def test_a_python_function(gather, tmp_path):
    lines = [
        "import numpy as np",
        "def make():",
        "    for n in (1, 4):",
        "        yield {'x': np.ones((n, 3)), 'i': np.zeros(n, int)}",
    ]
    (tmp_path / "data.py").write_text("\n".join(lines))
    feeds = users(gather, f"{tmp_path}/data.py:make")
    assert [feed["x"].dtype for feed in feeds] == [np.float32, np.float32]


def test_bfloat16_survives_npy(model, tmp_path):
    import ml_dtypes

    text = '<ir_version: 10, opset_import: ["": 21]> g (bfloat16[N] x) => (bfloat16[N] y) { y = Identity(x) }'
    np.save(tmp_path / "x.npy", np.array([1.5, 2.5]).astype(ml_dtypes.bfloat16))
    assert users(model(text), tmp_path)[0]["x"].tolist() == [1.5, 2.5]


def test_random_samples_follow_the_users_sizes(model):
    text = "g (float[A, B] x, int64[A] i) => (float[A, 2] y) { r = Gather(x, i) y = MatMul(r, w) }"
    data = model(text, w=np.ones((917, 2), np.float32))
    reference = Reference(data, data={"x": np.ones((3, 917), "f"), "i": np.array([2, 0, 1])})
    assert {record.origin.partition(" with ")[0] for record in reference.records} == {"user's sample 0", "random"}
    assert reference.tested_sizes()["B"] == [917]


def test_symbols_that_the_users_data_do_not_show(model):
    text = """g (seq(float[N]) s, float[M] x) => (float[N] y, float[M] z) {
        first = Constant <value = int64 {0}> ()
        y = SequenceAt(s, first)
        z = Relu(x)
    }"""
    reference = Reference(model(text), data={"s": [np.ones(2, "f"), np.ones(5, "f")], "x": np.ones(6, "f")})
    assert len(reference.records) > 1
    assert 6 in reference.tested_sizes()["M"]


def test_an_error_that_only_the_users_data_show(model):
    text = """g (float[N] x) => (float[N] y)
    { c = Constant <value = float {1e6}> () h = Constant <value = float {1e30}> () a = Less(x, h) b = Greater(x, c) d = And(a, b) y = Where(d, %s, x) }"""
    before, after = model(text % "c"), model(text % "x")
    assert prove(before, after).proven
    verdict = prove(before, after, data={"x": np.array([2e6], np.float32)})
    assert verdict.failed
    assert "user's sample 0" in verdict.reason


@pytest.mark.parametrize(
    ("data", "message"),
    [
        ({"x": np.ones((2, 3), "f")}, "input 'i' is missing"),
        ({**sample(), "z": np.ones(1)}, "no input 'z'"),
        ({**sample(), "x": np.ones((2, 4), "f")}, "input 'x' is a tensor"),
        ({**sample(), "x": np.ones(2, "f")}, "input 'x' is a tensor"),
        ({**sample(), "i": np.ones(2)}, "not float64"),
        ({**sample(), "x": np.array([["a"] * 3] * 2, object)}, "not object"),
        ([], "no samples"),
        ([3], "not a dict"),
        ({**sample(), "i": np.array([0, 99])}, "the original model refuses sample 0"),
        ("/nowhere.npz", "no such file"),
        ("/nowhere.py:f", "no such Python file"),
    ],
)
def test_what_does_not_fit_is_one_clear_line(gather, data, message):
    with pytest.raises(UsageError, match=message) as caught:
        prove(gather, gather, data=data)
    assert "\n" not in str(caught.value)


def test_broken_files_and_functions(gather, tmp_path):
    (tmp_path / "x.npz").write_bytes(b"PK garbage")
    (tmp_path / "d.py").write_text("def fails():\n    raise KeyError('k')\nvalue = 3\n")
    (tmp_path / "x.txt").write_text("text")
    for data, message in (
        (tmp_path / "x.npz", "cannot be read"),
        (f"{tmp_path}/d.py:fails", "'fails' failed: KeyError"),
        (f"{tmp_path}/d.py:value", "no function 'value'"),
        (tmp_path / "x.txt", "not sample data"),
    ):
        with pytest.raises(UsageError, match=message):
            users(gather, data)
