"""Types and their protobuf form."""

from __future__ import annotations

import pytest
from onnx import TensorProto, TypeProto, helper

from onnx_opt import types
from onnx_opt.shapes import Shapes
from onnx_opt.types import MapType, OpaqueType, OptionalType, SequenceType, SparseTensorType, TensorType


@pytest.mark.parametrize(
    "kind",
    [
        TensorType(1, None),
        TensorType(1, ()),
        TensorType(10, (1, "N", None)),
        SparseTensorType(1, (3, "M")),
        SequenceType(None),
        SequenceType(TensorType(8, (None,))),
        OptionalType(SequenceType(TensorType(1, ("N",)))),
        MapType(TensorProto.INT64, SequenceType(TensorType(1, ()))),
        OpaqueType("my.domain", "Thing"),
    ],
)
def test_types_survive_protobuf(kind: types.Type) -> None:
    proto = types.to_proto(kind)
    assert types.from_proto(proto) == kind
    assert proto.WhichOneof("value") == types.proto_field(kind)


def test_a_type_that_states_nothing() -> None:
    assert types.from_proto(TypeProto()) is None
    assert types.to_proto(None) == TypeProto()


def test_negative_and_empty_dims_are_unnamed() -> None:
    proto = helper.make_tensor_type_proto(1, [-1, "", 0])
    assert types.from_proto(proto) == TensorType(1, (None, None, 0))
    assert types.declare(1, [-1, "", "N", 3]) == TensorType(1, (None, None, "N", 3))


def test_symbols_that_the_analysis_made_stay_out_of_files() -> None:
    shapes = Shapes()
    dims = (shapes.symbol("N"), shapes.floordiv(shapes.symbol("H"), 2), shapes.fresh(), shapes.input_dim("x", 0))
    assert types.from_proto(types.to_proto(TensorType(1, dims))) == TensorType(1, ("N", "floor(H/2)", None, None))
    assert types.from_proto(types.to_proto(TensorType(1, ("?odd",)))) == TensorType(1, ("?odd",))


def test_element_types() -> None:
    sizes = {"FLOAT": 32, "BFLOAT16": 16, "FLOAT8E5M2": 8, "FLOAT6E3M2": 6, "INT4": 4, "UINT2": 2, "COMPLEX128": 128}
    for name, bits in sizes.items():
        assert types.element_bits(TensorProto.DataType.Value(name)) == bits
    with pytest.raises(ValueError, match="999"):
        types.element_bits(999)
    assert types.is_integer(TensorProto.UINT4)
    assert not types.is_integer(TensorProto.BOOL)
    assert types.is_signed_integer(TensorProto.INT2)
    assert not types.is_signed_integer(TensorProto.UINT8)
    assert types.is_float(TensorProto.FLOAT8E8M0)
    assert types.is_complex(TensorProto.COMPLEX64)
    assert types.numpy_dtype(0) is None
