"""Ranges from data: what is measured, how thresholds cut it, and what onnxruntime.quantization makes of the same."""

import numpy as np
import onnx
import pytest

from onnx_opt.ir import load
from onnx_opt.precision.samples import Meter
from onnx_opt.quantization import FORMS
from onnx_opt.quantization.calibrate import Ranges, calibrate
from onnx_opt.quantization.forms import scale_of
from onnx_opt.quantization.thresholds import BINS, Histogram, entropy, percentile
from onnx_opt.quantization.weights import restored, store, store_bias
from onnx_opt.target import find_target
from onnx_opt.validate import Source
from onnx_opt.validate.userdata import Part
from quantize_models import feeds, model

TEXT = "g (float[2,3,4,4] x) => (float[2,3,4,4] y) { a = Relu(x) b = Exp(a) y = Neg(b) }"
DYNAMIC = TEXT.replace("[2,", "[N,")


def ranges_of(data, method="min-max", percent=99.99, text=TEXT) -> Ranges:
    graph = load(model(text))
    values = [*graph.inputs, *(value for node in graph for value in node.outputs)]
    source = Source(data=model(text).SerializeToString())
    return calibrate(graph, source, values, data, Meter(), method, percent)


def test_the_smallest_and_the_largest_over_all_samples():
    data = [{"x": np.full((2, 3, 4, 4), value, np.float32)} for value in (-2.0, 0.5, 1.5)]
    found = ranges_of(data).bounds
    assert found["x"] == (-2.0, 1.5) and found["a"] == (0.0, 1.5)
    assert found["y"] == pytest.approx((-np.exp(1.5), -1.0))


def test_what_becomes_infinite_has_no_range():
    found = ranges_of([{"x": np.full((2, 3, 4, 4), 100.0, np.float32)}])
    assert "x" in found.bounds and found.infinite == {"b", "y"}
    graph = load(model(TEXT))
    assert "becomes infinite" in found.unfit(graph.nodes[1].outputs[0])


def test_min_max_is_what_onnxruntime_finds(tmp_path):
    from onnxruntime.quantization.calibrate import CalibrationMethod, create_calibrator

    data = feeds(model(TEXT), 5)

    class Reader:
        samples = iter(data)

        def get_next(self):
            return next(self.samples, None)

    onnx.save(model(TEXT), tmp_path / "m.onnx")
    theirs = create_calibrator(
        tmp_path / "m.onnx", ["Exp"], str(tmp_path / "augmented.onnx"), calibrate_method=CalibrationMethod.MinMax
    )
    theirs.collect_data(Reader())
    ours = ranges_of(data).bounds
    for name, tensor in theirs.compute_data().items():
        assert ours[name] == pytest.approx([np.asarray(bound).item() for bound in tensor.range_value], rel=1e-6)


@pytest.mark.parametrize("method", ["entropy", "percentile"])
def test_a_few_large_values_are_cut_off(method):
    data = feeds(model(TEXT), 40)
    data[3]["x"][0, 0, 0, 0] = 60.0
    (low, high), (_, largest) = ranges_of(data, method, 99.9).bounds["x"], ranges_of(data).bounds["x"]
    assert largest == 60.0 and high < 10 and low > -10


def test_all_values_of_a_percentile_of_100_are_in_range():
    data = feeds(model(TEXT), 8)
    assert ranges_of(data, "percentile", 100.0).bounds["x"] == pytest.approx(ranges_of(data).bounds["x"])


def test_samples_of_different_sizes_are_counted_together():
    """onnxruntime.quantization stacks them, and fails. What may be empty counts as a zero, which scales hold anyway."""
    data = [{"x": np.random.default_rng(n).standard_normal((n, 3, 4, 4)).astype(np.float32)} for n in (1, 2, 3)]
    assert ranges_of(data, "entropy", text=DYNAMIC).bounds.keys() == {"x", "a", "b", "y"}


def test_entropy_searches_though_onnxruntime_with_its_defaults_does_not():
    """Of as many bins as levels there is one candidate, the whole range."""
    from onnxruntime.quantization.calibrate import HistogramCollector

    array = np.append(np.random.default_rng(0).laplace(size=100_000), 300.0).astype(np.float32)
    theirs = HistogramCollector("entropy", False, 128, 128, 99.99, "same")
    theirs.collect_value({"x": array})
    low, high = (float(bound) for bound in theirs.compute_entropy()["x"][:2])
    assert high == 300.0 and low == array.min()
    histogram = Histogram(300.0)
    histogram.add(array)
    assert 5 < entropy(histogram) < 40


def test_percentile_is_numpys_to_the_width_of_a_bin():
    array = np.random.default_rng(1).standard_normal(50_000).astype(np.float32)
    histogram = Histogram(float(np.abs(array).max()))
    histogram.add(array)
    for percent in (90.0, 99.0, 99.9):
        assert abs(percentile(histogram, percent) - np.percentile(np.abs(array), percent)) <= histogram.width


def test_zeros_behind_a_relu_do_not_outweigh_the_rest():
    array = np.abs(np.random.default_rng(2).standard_normal(10_000)).astype(np.float32)
    plain, padded = Histogram(8.0), Histogram(8.0)
    plain.add(array)
    padded.add(np.concatenate([array, np.zeros(1_000_000, np.float32)]))
    assert entropy(plain) == entropy(padded) > 2


@pytest.mark.parametrize("threshold", [entropy, lambda histogram: percentile(histogram, 99.0)])
def test_a_tensor_of_zeros_keeps_its_range(threshold):
    histogram = Histogram(0.0)
    histogram.add(np.zeros(100, np.float32))
    assert threshold(histogram) == 0.0


def test_bins_are_symmetric():
    histogram = Histogram(1.0)
    histogram.add(np.array([-1.0, -0.9999, 0.9999, 1.0], np.float32))
    assert histogram.counts[0] == histogram.counts[-1] == 2 and histogram.magnitudes[BINS - 1] == 4


# -- scales ------------------------------------------------------------------------------------------------------------


def test_scales_hold_zero_exactly():
    from onnx_opt.quantization import form_for

    signed, unsigned = FORMS["int8"], form_for("int8", find_target("ort-cpu"))
    assert scale_of(-1.0, 2.54, signed).scale == pytest.approx(0.02) and scale_of(-1.0, 2.54, signed).zero_point == 0
    assert scale_of(0.0, 2.55, unsigned) == scale_of(1.0, 2.55, unsigned)
    assert scale_of(0.0, 2.55, unsigned).zero_point == 0 and scale_of(-2.55, 0.0, unsigned).zero_point == 255
    assert scale_of(0.0, 0.0, signed).scale == 1.0
    assert scale_of(0.0, 1e-44, signed).scale >= np.finfo(np.float32).tiny


@pytest.mark.parametrize("seed", range(4))
def test_weights_come_back_to_half_a_step(seed):
    random = np.random.default_rng(seed)
    array = (random.standard_normal((6, 5, 3, 3)) * 10.0 ** random.integers(-30, 30, (6, 1, 1, 1))).astype(np.float32)
    array[2] = 0
    stored = store(array, FORMS["int8"], 0, 1)
    assert stored.values.dtype == np.int8 and np.abs(stored.values.astype(int)).max() == 127
    assert (np.abs(restored(stored) - array) <= 0.5001 * stored.scales.reshape(-1, 1, 1, 1)).all(), f"seed {seed}"
    assert stored.scales[2] == 1.0 and not stored.values[2].any()


def test_weights_are_what_onnxruntime_quantizes_them_to():
    import onnxruntime as ort

    array = np.random.default_rng(0).standard_normal((8, 4)).astype(np.float32)
    stored = store(array, FORMS["int8"], 0, 1)
    text = "g () => (int8[8,4] y) { y = QuantizeLinear<axis=0>(w, s, z) }"
    proto = model(text, w=array, s=stored.scales, z=np.zeros(8, np.int8))
    session = ort.InferenceSession(proto.SerializeToString(), providers=["CPUExecutionProvider"])
    assert np.array_equal(session.run(None, {})[0], stored.values)


def test_a_bias_beyond_32_bits_is_left_alone():
    assert store_bias(np.array([1e6], np.float32), np.array([1e-6], np.float32)) is None
    assert store_bias(np.array([1.0, -2.0], np.float32), np.array([0.5, 0.25], np.float32)).tolist() == [2, -8]


# -- samples -----------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("count", "most", "fitted", "held_out"),
    [(1, 9, [0], [0]), (2, 9, [0], [1]), (6, 9, [0, 2, 3, 4], [1, 5]), (6, 3, [0, 2], [1])],
)
def test_one_sample_in_four_is_held_out(count, most, fitted, held_out):
    samples = [{"n": number} for number in range(count)]
    for part, expected in ((False, fitted), (True, held_out)):
        assert [sample["n"] for sample in Part(None, part, most).of(iter(samples))] == expected
