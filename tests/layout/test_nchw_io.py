"""The `nchw-io` pass: the interface changes on purpose, and no Transpose is left."""

import numpy as np
import pytest
from onnx import helper

import onnx_opt
from layout_models import Net, count, kinds

NCHW, NHWC = [0, 3, 1, 2], [0, 2, 3, 1]
PIPELINE = "nchw-io,repeat(fuse-conv-bn-relu,layout,fold,cleanup)"


def segmentation(dims: list) -> Net:
    """NHWC image to NHWC mask, and a mean that has no layout."""
    net = Net()
    x = net.op("Mul", net.input("image", dims), np.float32(0.5))
    y = net.op("Conv", net.transpose(x, NCHW), net.weights(4, 3, 3, 3), pads=[1] * 4)
    y = net.op("Relu", net.op("Add", net.transpose(y, NHWC), net.weights(4)))
    net.output(y)
    net.output(net.op("ReduceMean", y, axes=[1, 2], keepdims=0))
    return net


def shapes(model) -> dict[str, list]:
    values = (*model.graph.input, *model.graph.output)
    return {v.name: [d.dim_param or d.dim_value for d in v.type.tensor_type.shape.dim] for v in values}


@pytest.mark.parametrize("dims", [[2, 8, 6, 3], ["N", "H", "W", 3]])
def test_inputs_and_outputs_are_exchanged(dims):
    model = segmentation(dims).model()
    result = onnx_opt.optimize(model, passes=PIPELINE)
    assert result.report.status == "proven"
    found, before = shapes(result.to_proto()), shapes(model)
    assert list(found) == list(before)
    image, mask, mean = found
    assert found[image] == [dims[0], 3, dims[1], dims[2]]
    assert found[mask] == [before[mask][axis] for axis in NCHW]
    assert found[mean] == [dims[0], 4]
    assert count(result.to_proto(), "Transpose") == 0


def test_inputs_of_other_kinds_stay():
    net = Net()
    net.output(net.op("MatMul", net.transpose(net.input("x", ["N", 4, 3]), [0, 2, 1]), net.weights(4, 2)))
    model = net.model()
    result = onnx_opt.optimize(model, passes="nchw-io")
    assert shapes(result.to_proto()) == shapes(model)
    assert kinds(result.to_proto()) == ["Transpose", "MatMul"]


def test_an_input_that_is_an_output_too_stays():
    net = Net()
    x = net.input("x", ["N", 4, 4, 3])
    net.output(net.op("Conv", net.transpose(x, NCHW), net.weights(4, 3, 1, 1)))
    net.outputs.append(helper.make_tensor_value_info("x", 1, ["N", 4, 4, 3]))
    model = net.model()
    result = onnx_opt.optimize(model, passes="nchw-io", validate=False)
    assert shapes(result.to_proto()) == shapes(model)
