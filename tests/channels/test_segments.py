"""Dims that must agree: what unifying them leaves of their freedom."""

from __future__ import annotations

import numpy as np
import pytest

from onnx_opt.channels.segments import (
    Layout,
    Segment,
    fresh,
    has_holes,
    holes,
    is_leading,
    leaves,
    padded_size,
    pin,
    places,
    scaled,
    segments,
    size_of,
    unify,
)


def pad_all(*layouts: Layout, multiple: int = 8) -> None:
    for layout in layouts:
        for leaf in leaves(layout):
            if not leaf.pin:
                leaf.padded = -(-leaf.size // multiple) * multiple


def test_equal_dims_become_one() -> None:
    a, b, c = fresh(10), fresh(10), fresh(10)
    unify(a, b)
    unify(b, c)
    assert leaves(a) == leaves(b) == leaves(c)


def test_a_dim_is_cut_where_the_other_one_has_a_boundary() -> None:
    joined, whole = fresh(3) + fresh(5), fresh(8)
    unify(whole, joined)
    assert [leaf.size for leaf, _ in segments(whole)] == [3, 5]
    pad_all(whole, multiple=4)
    assert padded_size(joined) == 4 + 8
    assert places(whole).tolist() == [0, 1, 2, 4, 5, 6, 7, 8]
    assert holes(whole).tolist() == [3, 9, 10, 11]


def test_boundaries_on_both_sides() -> None:
    one, other = fresh(3) + fresh(7), fresh(6) + fresh(4)
    unify(one, other)
    assert [leaf.size for leaf, _ in segments(one)] == [leaf.size for leaf, _ in segments(other)] == [3, 3, 4]


def test_a_flattened_dim_takes_the_form_of_its_channels() -> None:
    channels, columns = fresh(5), fresh(20)
    unify(columns, scaled(channels, 4))
    pad_all(channels)
    assert padded_size(columns) == 32
    assert places(columns).tolist() == list(range(20))
    assert is_leading(columns)


def test_groups_are_padded_each() -> None:
    group, weights = fresh(3), fresh(6)
    unify(weights, group * 2)
    pad_all(group, multiple=4)
    assert places(weights).tolist() == [0, 1, 2, 4, 5, 6]
    assert not is_leading(weights)


def test_groups_of_groups_share_what_is_common() -> None:
    fine, coarse = fresh(2) * 6, fresh(4) * 3
    fine, coarse = (fine[0],) * 6, (coarse[0],) * 3
    unify(fine, coarse)
    assert len(leaves(fine)) == 1
    assert [leaf.size for leaf, _ in segments(coarse)] == [2] * 6


def test_interleaved_by_two_and_by_three_meet_in_six() -> None:
    one, other = scaled(fresh(6), 2), scaled(fresh(4), 3)
    unify(one, other)
    (segment,) = segments(one)
    assert (segment.leaf.size, segment.inner) == (2, 6)
    assert list(segments(other)) == [segment]


def test_a_boundary_inside_of_a_channel_pins_both() -> None:
    wide, parts = scaled(fresh(5), 2), fresh(5) + fresh(5)
    unify(wide, parts)
    assert all("regrouped" in leaf.pin for leaf in (*leaves(wide), *leaves(parts)))


def test_a_pin_spreads_with_its_reason() -> None:
    fixed, free, rest = fresh(4, "for a reason"), fresh(6), fresh(2)
    unify(free, fixed + rest)
    assert [leaf.pin for leaf in leaves(free)] == ["for a reason"]
    assert [leaf.pin for leaf in leaves(rest)] == ["for a reason"]


def test_a_later_pin_reaches_what_was_unified() -> None:
    a, b = fresh(10), fresh(4) + fresh(6)
    unify(a, b)
    pin(a, "late")
    assert {leaf.pin for leaf in leaves(b)} == {"late"}


@pytest.mark.parametrize("seed", range(30))
def test_unified_dims_have_their_channels_in_the_same_places(seed: int) -> None:
    random = np.random.default_rng(seed)
    pool = [fresh(int(size)) for size in random.integers(1, 7, 6)]

    def row() -> Layout:
        found: Layout = ()
        for _ in range(random.integers(1, 5)):
            found += scaled(pool[random.integers(6)], int(random.integers(1, 3))) * int(random.integers(1, 3))
        return found

    rows = [row() for _ in range(4)]
    longest = max(map(size_of, rows))
    rows = [each + (fresh(longest - size_of(each)) if size_of(each) < longest else ()) for each in rows]
    for other in rows[1:]:
        unify(rows[0], other)
    pad_all(*rows)
    for other in rows:
        assert places(other).tolist() == places(rows[0]).tolist(), f"seed {seed}"
        assert padded_size(other) == padded_size(rows[0])
        assert len(places(other)) == longest
    assert size_of(rows[0]) == longest


def test_without_padding_nothing_moves() -> None:
    layout = (Segment(fresh(3)[0].leaf, 2), *fresh(4))
    assert not has_holes(layout)
    assert places(layout).tolist() == list(range(10))
