"""Comparing two outputs: what counts as equal, and the figures."""

from __future__ import annotations

import ml_dtypes
import numpy as np
import pytest

from onnx_opt.validate.compare import Tolerance, compare, resolve_tolerance
from onnx_opt.validate.figures import measure, scale_of

F32 = np.float32


def f32(*values: float) -> np.ndarray:
    return np.array(values, F32)


def test_equal_arrays_have_no_problem_and_equal_bits():
    difference = compare("y", f32(1, -2, 3), f32(1, -2, 3))
    assert not difference.problem
    assert difference.figures.bit_equal
    assert difference.figures.elements == 3


def test_dtype_must_be_the_same():
    assert "dtype" in compare("y", f32(1), np.array([1.0])).problem


def test_shape_must_be_the_same_even_if_it_broadcasts():
    assert "shape differs: [1, 2] became [2]" in compare("y", f32(1, 2).reshape(1, 2), f32(1, 2)).problem


@pytest.mark.parametrize(
    ("reference", "candidate"),
    [
        (f32(np.nan, 1), f32(0, 1)),
        (f32(0, 1), f32(np.nan, 1)),
        (f32(np.inf, 1), f32(-np.inf, 1)),
        (f32(np.inf, 1), f32(3e38, 1)),
        (f32(1, 1), f32(np.inf, 1)),
    ],
)
def test_nan_and_infinity_only_answer_themselves(reference, candidate):
    assert compare("y", reference, candidate, tolerance=1.0).problem


def test_nan_answers_nan_and_infinity_infinity():
    values = f32(np.nan, np.inf, -np.inf, 0)
    other_nan = values.copy()
    other_nan.view(np.uint32)[0] ^= 1
    assert not compare("y", values, other_nan).problem
    assert not compare("y", values, other_nan, exact=True).problem


def test_signed_zeros_are_equal_unless_exact():
    assert not compare("y", f32(0.0, 1), f32(-0.0, 1)).problem
    assert not compare("y", f32(0.0, 1), f32(-0.0, 1)).figures.bit_equal
    assert "1 of 2 elements" in compare("y", f32(0.0, 1), f32(-0.0, 1), exact=True).problem


def test_one_ulp_fails_exactly_and_passes_otherwise():
    moved = np.nextafter(f32(1, 2, 3), F32(9))
    assert not compare("y", f32(1, 2, 3), moved).problem
    difference = compare("y", f32(1, 2, 3), moved, exact=True)
    assert "up to 1 ULP apart" in difference.problem
    assert not difference.rounding


def test_ulp_distance_counts_across_zero_and_powers_of_two():
    tiny = np.nextafter(F32(0), F32(1))
    figures, _ = measure(f32(tiny, 2), f32(-tiny, np.nextafter(F32(2), F32(0))), 0, 0)
    assert figures.max_ulp == 2


@pytest.mark.parametrize("dtype", [np.float16, np.float32, np.float64, ml_dtypes.bfloat16, ml_dtypes.float8_e5m2])
def test_ulp_distance_of_every_float_type(dtype):
    one = np.array([1.0]).astype(dtype)
    bits = one.view(f"u{one.dtype.itemsize}")
    figures, _ = measure(one, (bits + bits.dtype.type(3)).view(dtype), 0, 0)
    assert figures.max_ulp == 3


def test_figures_of_a_known_difference():
    figures, ratios = measure(f32(100, 1, 0), f32(101, 1, 0), rtol=1e-3, atol=0)
    assert (figures.mismatches, figures.beyond, figures.max_abs) == (1, 1, 1.0)
    assert figures.max_rel == pytest.approx(0.01)
    assert ratios == pytest.approx([10])


def test_a_few_huge_entries_do_not_hide_errors_in_the_rest():
    reference = np.full(1000, 1, F32)
    reference[:10] = -1e9
    candidate = reference.copy()
    candidate[500] += 0.01
    assert scale_of(reference) == 16
    assert compare("y", reference, candidate).problem


def test_integers_and_booleans_must_be_equal():
    assert "by up to 1" in compare("y", np.array([1, 2]), np.array([1, 3])).problem
    assert compare("y", np.array([True]), np.array([False])).problem
    assert compare("y", np.array([2**62]), np.array([2**62 + 1])).problem


def test_a_few_quantized_values_may_be_one_step_off_unless_exact():
    reference = np.zeros(1000, np.uint8)
    candidate = reference.copy()
    candidate[:9] = 1
    assert not compare("y", reference, candidate).problem
    assert compare("y", reference, candidate, exact=True).problem
    candidate[:20] = 1
    assert compare("y", reference, candidate).problem
    candidate[:] = 0
    candidate[0] = 2
    assert compare("y", reference, candidate).problem


def test_strings_must_be_equal():
    assert not compare("y", np.array(["a", "b"], object), np.array(["a", "b"], object)).problem
    assert "1 of 2 strings" in compare("y", np.array(["a", "b"], object), np.array(["a", "c"], object)).problem


def test_complex_numbers_compare_as_pairs():
    one = np.array([1 + 2j], np.complex64)
    assert not compare("y", one, one * (1 + 1e-7)).problem
    assert compare("y", one, one.conj()).problem


def test_sequences_maps_and_optionals_compare_by_structure():
    assert not compare("y", [f32(1), f32(2, 3)], [f32(1), f32(2, 3)]).problem
    assert "a sequence of 2 became a sequence of 1" in compare("y", [f32(1), f32(2)], [f32(1)]).problem
    assert "[1]: " in compare("y", [f32(1), f32(2)], [f32(1), f32(3)]).problem
    assert not compare("y", None, None).problem
    assert "nothing became a tensor" in compare("y", None, f32(1)).problem
    assert not compare("y", [{"a": 1.0}], [{"a": 1.0}]).problem
    assert compare("y", [{"a": 1.0}], [{"b": 1.0}]).problem
    assert compare("y", [{"a": 1.0}], [{"a": 2.0}]).problem


def test_tolerance_by_number_pair_output_or_dtype():
    f32_type = np.dtype(F32)
    assert resolve_tolerance(0.1, "y", f32_type) == Tolerance(0.1, 0.1)
    assert resolve_tolerance((0.1, 0.2), "y", f32_type) == Tolerance(0.1, 0.2)
    assert resolve_tolerance({"y": 0.1}, "y", f32_type) == Tolerance(0.1, 0.1)
    assert resolve_tolerance({"float32": 0.1}, "z", f32_type) == Tolerance(0.1, 0.1)
    assert resolve_tolerance({"x": 0.1}, "z", f32_type) == resolve_tolerance(None, "z", f32_type)


def test_large_arrays_are_measured_in_blocks():
    reference = np.ones(3 << 20, F32)
    candidate = reference.copy()
    candidate[-1] = 2
    figures, ratios = measure(reference, candidate, 1e-3, 0)
    assert figures.mismatches == ratios.size == 1


def test_errors_are_distributed_by_their_share_of_the_tolerance():
    reference = np.full(6, 1.0)
    candidate = reference + np.array([0.0, 5e-8, 5e-4, 5e-2, 5.0, np.inf])
    figures, _ = measure(reference, candidate, 0.0, 1.0)
    # up to 1e-6, 1e-5, 1e-4, 1e-3, 1e-2, 1e-1, 1, 10, and beyond; equal elements are in none
    assert figures.distribution == [1, 0, 0, 1, 0, 1, 0, 1, 1]
    assert sum(figures.distribution) == figures.mismatches == 5
    figures.merge(figures)
    assert figures.distribution == [2, 0, 0, 2, 0, 2, 0, 2, 2]
