"""The `embed-postprocess` pass: what the program did with the outputs, the model does."""

import numpy as np
import onnx
import onnxruntime as ort
import pytest
from onnx import TensorProto

import onnx_opt
from layout_models import Net, kinds
from onnx_opt.errors import UsageError
from onnx_opt.imaging.detections import Suppression


def classifier(classes: int = 10, opset: int = 17) -> onnx.ModelProto:
    net = Net(opset)
    net.output(net.op("MatMul", net.input("x", ["N", 6]), net.weights(6, classes), name="logits"))
    return renamed(net.model(), "logits")


def segmenter(opset: int = 17, classes: int = 4) -> onnx.ModelProto:
    net = Net(opset)
    net.output(net.op("Conv", net.input("x", ["N", 3, "H", "W"]), net.weights(classes, 3, 1, 1)))
    return renamed(net.model(), "y")


def renamed(model: onnx.ModelProto, *names: str) -> onnx.ModelProto:
    """The model with other names for its outputs."""
    for output, name in zip(model.graph.output, names, strict=True):
        for node in model.graph.node:
            for values in (node.input, node.output):
                values[:] = [name if each == output.name else each for each in values]
        output.name = name
    return model


def outputs(result: onnx_opt.Result) -> dict[str, tuple[str, list]]:
    return {
        v.name: (
            TensorProto.DataType.Name(v.type.tensor_type.elem_type),
            [d.dim_param or d.dim_value or None for d in v.type.tensor_type.shape.dim],
        )
        for v in result.to_proto().graph.output
    }


def run(model: onnx.ModelProto, **feed: np.ndarray) -> dict[str, np.ndarray]:
    session = ort.InferenceSession(model.SerializeToString())
    names = [output.name for output in session.get_outputs()]
    return dict(zip(names, session.run(names, feed), strict=True))


def proven(model: onnx.ModelProto, passes: str, **given) -> onnx_opt.Result:
    result = onnx_opt.optimize(model, passes, **given)
    assert result.report.status == "proven", result.report.warnings
    assert any(note.startswith("held against NumPy and the original model") for note in result.report.notes)
    onnx.checker.check_model(result.to_proto(), full_check=True)
    return result


def to_the_bit(result: onnx_opt.Result) -> bool:
    return result.report.proof["reason"].startswith("equal to the bit")


# -- scores ------------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("opset", [7, 11, 13, 18])
def test_softmax(opset):
    result = proven(classifier(opset=opset), "embed-postprocess{kind=softmax}")
    assert outputs(result) == {"logits": ("FLOAT", ["N", 10])}
    assert np.allclose(run(result.to_proto(), x=np.ones((3, 6), np.float32))["logits"].sum(1), 1)


def test_softmax_over_the_channels_of_a_picture():
    result = proven(segmenter(13), "embed-postprocess{kind=softmax}")
    assert np.allclose(run(result.to_proto(), x=np.ones((1, 3, 4, 5), np.float32))["y"].sum(1), 1)
    with pytest.raises(UsageError, match="before operator set 13"):
        onnx_opt.optimize(segmenter(12), "embed-postprocess{kind=softmax}")


@pytest.mark.parametrize("index", ["int64", "int32", "uint8"])
def test_a_mask_of_classes(index):
    """A byte a pixel in place of four times as many floats as there are classes."""
    result = proven(segmenter(), f"embed-postprocess{{kind=argmax,index={index}}}")
    assert outputs(result) == {"y": (index.upper(), ["N", "H", "W"])}
    assert to_the_bit(result)


@pytest.mark.parametrize("opset", [7, 10, 11, 18])
def test_the_best_few(opset):
    result = proven(classifier(opset=opset), "embed-postprocess{kind=top-k,k=3}")
    assert outputs(result) == {"logits": ("FLOAT", ["N", 3]), "logits_indices": ("INT64", ["N", 3])}
    assert to_the_bit(result)


def test_the_best_few_shares():
    result = proven(classifier(), "embed-postprocess{kind=top-k,k=10,softmax}")
    assert kinds(result.to_proto()) == ["MatMul", "Softmax", "TopK"]
    assert np.allclose(run(result.to_proto(), x=np.ones((3, 6), np.float32))["logits"].sum(1), 1)


def test_one_after_the_other():
    text = "embed-preprocess{preset=unit},embed-postprocess{kind=softmax},embed-postprocess{kind=top-k,k=2}"
    net = Net()
    y = net.op("ReduceMean", net.op("Conv", net.input("x", ["N", 3, 8, 8]), net.weights(5, 3, 3, 3)), axes=[2, 3])
    net.output(net.op("Flatten", y))
    result = proven(renamed(net.model(), "y"), f"{text},repeat(fuse-conv-bn-relu,fold,cleanup)")
    assert list(outputs(result)) == ["y", "y_indices"]
    assert kinds(result.to_proto()) == ["Transpose", "Cast", "Conv", "ReduceMean", "Flatten", "Softmax", "TopK"]


def test_other_outputs_stay_where_they_are():
    net = Net()
    x = net.input("x", ["N", 6])
    for _ in range(3):
        net.output(net.op("MatMul", x, net.weights(6, 4)))
    model = renamed(net.model(), "a", "b", "c")
    result = proven(model, "embed-postprocess{kind=top-k,k=1,output=b}")
    assert list(outputs(result)) == ["a", "b", "b_indices", "c"]
    with pytest.raises(UsageError, match="several outputs: a, b, c"):
        onnx_opt.optimize(model, "embed-postprocess")


def test_a_value_that_is_read_inside_as_well():
    net = Net()
    y = net.op("MatMul", net.input("x", ["N", 6]), net.weights(6, 4))
    net.output(y)
    net.output(net.op("Neg", y))
    result = proven(renamed(net.model(), "y", "z"), "embed-postprocess{kind=argmax,output=y}")
    assert outputs(result)["y"][0] == "INT64"


# -- pictures ----------------------------------------------------------------------------------------------------------


def restorer(kind: int = TensorProto.FLOAT, channels: int = 3) -> onnx.ModelProto:
    net = Net()
    net.output(net.op("Sigmoid", net.input("x", ["N", channels, "H", "W"], kind)), kind)
    return renamed(net.model(), "y")


@pytest.mark.parametrize("preset", ["unit", "signed", "imagenet", "raw"])
def test_pixels(preset):
    result = proven(restorer(), f"embed-postprocess{{kind=image,preset={preset}}}")
    assert outputs(result) == {"y": ("UINT8", ["N", "H", "W", 3])}
    assert to_the_bit(result)
    assert kinds(result.to_proto())[-1] == "Transpose"  # of bytes


def test_what_lies_outside_is_clipped():
    net = Net()
    net.output(net.op("Identity", net.input("x", [1, 1, 1, 4])))
    result = proven(renamed(net.model(), "y"), "embed-postprocess{kind=image,layout=nchw}")
    found = run(result.to_proto(), x=np.array([[[[-1, 0.1, 0.5, 7]]]], np.float32))["y"]
    assert found.ravel().tolist() == [0, 26, 128, 255]  # 25.5 and 127.5 go to the even one


def test_half_pixels_of_sixteen_bits_backwards():
    result = proven(restorer(TensorProto.FLOAT16), "embed-postprocess{kind=image,order=bgr,pixel=uint16}")
    assert outputs(result) == {"y": ("UINT16", ["N", "H", "W", 3])}


def test_picture_to_picture():
    """In and out as bytes."""
    result = proven(restorer(), "embed-preprocess{preset=signed},embed-postprocess{kind=image,preset=signed}")
    assert to_the_bit(result)


# -- detectors ---------------------------------------------------------------------------------------------------------


def detector(form: str = "corners", scores_last: bool = False, joined: bool = False) -> onnx.ModelProto:
    """Boxes and scores are inputs that are passed on: the data decide what overlaps."""
    net = Net()
    if joined:
        net.output(net.op("Identity", net.input("x", ["N", 4 + 3, "B"])))
        return renamed(net.model(), "y")
    net.output(net.op("Identity", net.input("b", ["N", "B", 4])))
    net.output(net.op("Identity", net.input("s", ["N", "B", 3] if scores_last else ["N", 3, "B"])))
    return renamed(net.model(), "boxes", "scores")


@pytest.mark.parametrize("form", ["corners", "center"])
@pytest.mark.parametrize("scores_last", [False, True])
def test_suppression(form, scores_last):
    flag = "true" if scores_last else "false"
    text = f"embed-postprocess{{kind=nms,boxes=boxes,scores=scores,box-form={form},scores-last={flag},threshold=0}}"
    result = proven(detector(form, scores_last), text)
    assert outputs(result) == {
        "kept_boxes": ("FLOAT", [None, 4]),
        "kept_scores": ("FLOAT", [None]),
        "kept_classes": ("INT64", [None]),
        "kept_images": ("INT64", [None]),
    }


def test_suppression_of_one_output():
    text = "embed-postprocess{kind=nms,boxes=y,box-form=center,threshold=0,prefix=best_}"
    assert list(outputs(proven(detector(joined=True), text))) == [
        "best_boxes", "best_scores", "best_classes", "best_images",
    ]  # fmt: skip


@pytest.mark.parametrize("seed", range(6))
@pytest.mark.parametrize("form", ["corners", "center"])
def test_crowded_boxes(seed, form):
    """Many boxes of a few sizes, equal scores among them: NumPy and ONNX Runtime keep the same ones."""
    random = np.random.default_rng(seed)
    boxes = random.integers(1, 12, (2, 60, 4)).astype(np.float32)
    scores = (random.integers(0, 12, (2, 3, 60)) / 10).astype(np.float32)
    work = Suppression("boxes", "scores", form, most=7, overlap=0.3, threshold=0.2)
    text = "embed-postprocess{kind=nms,boxes=boxes,scores=scores,box-form=FORM,most=7,overlap=0.3,threshold=0.2}"
    result = onnx_opt.optimize(detector(form), text.replace("FORM", form), validate=False)
    expected = work.apply({"boxes": boxes, "scores": scores})
    for name, found in run(result.to_proto(), b=boxes, s=scores).items():
        assert np.array_equal(found, expected[name]), (seed, name)
    assert len(expected["kept_scores"]) > 10


# -- what it refuses ---------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("model", "options", "reason"),
    [
        (classifier(), "output=y", "no output 'y'"),
        (classifier(), "kind=top-k,k=11", "has 10 elements along axis 1, not 11"),
        (classifier(), "kind=softmax,axis=2", "has 2 dims, and no axis 2"),
        (classifier(300), "kind=argmax,index=uint8", "more classes than uint8 can count"),
        (classifier(), "kind=image", "no output looks like a picture"),
        (restorer(channels=1), "kind=image,preset=imagenet", "mean has 3 numbers, output 'y' has 1 channels"),
        (classifier(), "kind=nms,boxes=logits", "has 2 dims: three are needed"),
        (classifier(), "kind=nms", "nms needs the name of the output with boxes"),
        (classifier(), "kind=softmax,boxes=logits", "boxes and scores are for nms"),
    ],
)
def test_refusals(model, options, reason):
    with pytest.raises(UsageError, match=reason):
        onnx_opt.optimize(model, f"embed-postprocess{{{options}}}", validate=False)


def test_names_that_are_taken_are_refused():
    net = Net()
    net.output(net.op("Neg", net.input("x", ["N", 6])))
    net.output(net.op("Abs", "x"))
    with pytest.raises(UsageError, match="there is an output 'y_indices' already"):
        model = renamed(net.model(), "y", "y_indices")
        onnx_opt.optimize(model, "embed-postprocess{kind=top-k,output=y,k=2}", validate=False)


def test_an_output_that_is_an_input_is_refused():
    model = classifier()
    model.graph.output.append(model.graph.input[0])
    with pytest.raises(UsageError, match="no result of a node"):
        onnx_opt.optimize(model, "embed-postprocess{output=x}", validate=False)
