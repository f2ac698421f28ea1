"""The generated networks in NHWC, optimized and proven: what is left of their Transposes."""

import pytest
from channels_last import NETWORKS

import onnx_opt

LEFT = {
    # blocks -> (Transposes before, after)
    "nhwc-resnet": (10, 1),
    "nhwc-senet": (20, 2),
    "nhwc-unet": (18, 2),
    "nhwc-ssd": (18, 3),  # one for each head: its Reshape mixes pixels and channels
    "nhwc-qdq": (6, 1),
    "nhwc-if": (18, 8),  # an If takes and gives what it does in the layout it has
    "nhwc-function": (6, 6),  # nothing is known of the types in a function
    "nhwc-region": (4, 1),
    "vit": (14, 11),
}


@pytest.mark.parametrize("name", NETWORKS)
def test_transposes_that_are_left(name: str) -> None:
    result = onnx_opt.optimize(NETWORKS[name](20 if name == "nhwc-region" else 2))
    report = result.report
    assert report.status == "proven"
    assert (report.before.transposes, report.after.transposes) == LEFT[name]
    assert report.after.transposed_bytes <= report.before.transposed_bytes
