"""Random convolutional networks: whatever stands beside the layers, the result is valid and close, on every target."""

import numpy as np
import onnxruntime as ort
import pytest

from quantize_models import feeds, model, quantized, weights

SHAPE = "float[1,4,6,6]"
STEPS = {
    "{r} = Conv<pads=[1,1,1,1]>({a}, w{k})": 3,
    "{r} = Conv({a}, p{k})": 3,
    "{r} = Relu({a})": 3,
    "{r} = Add({a}, {b})": 3,
    "{r} = MaxPool<kernel_shape=[3,3], pads=[1,1,1,1]>({a})": 1,
    "{r} = AveragePool<kernel_shape=[3,3], pads=[1,1,1,1]>({a})": 1,
    "{r}_c = Concat<axis=1>({a}, {b}) {r} = Conv({r}_c, q{k})": 2,
    "{r}_t = Transpose<perm=[0,1,3,2]>({a}) {r} = Transpose<perm=[0,1,3,2]>({r}_t)": 1,
    "{r}_l, {r}_m = Split<axis=1, num_outputs=2>({a}) {r} = Concat<axis=1>({r}_m, {r}_l)": 1,
    "{r} = Sigmoid({a})": 1,
    "{r}_g = GlobalAveragePool({a}) {r} = Mul({a}, {r}_g)": 1,
    "{r}_f = Flatten<axis=2>({a}) {r}_m = MatMul({r}_f, n{k}) {r} = Reshape({r}_m, shape)": 1,
}


def network(seed: int):
    random = np.random.default_rng(seed)
    steps = np.repeat(list(STEPS), list(STEPS.values()))
    values, lines = ["x"], []
    for k in range(int(random.integers(4, 12))):
        a, b = (values[max(0, len(values) - 1 - int(random.integers(0, 3)))] for _ in range(2))
        lines.append(str(random.choice(steps)).format(r=f"v{k}", a=a, b=b, k=k))
        values.append(f"v{k}")
    body = " ".join(lines) + f" y = Add({values[-1]}, {values[-2]})"
    constants = {
        **{f"w{k}": weights(seed + k, 4, 4, 3, 3) / 4 for k in range(12)},
        **{f"p{k}": weights(seed + k, 4, 4, 1, 1) / 2 for k in range(12)},
        **{f"q{k}": weights(seed + k, 4, 8, 1, 1) / 2 for k in range(12)},
        **{f"n{k}": weights(seed + k, 36, 36) / 6 for k in range(12)},
        "shape": np.array([1, 4, 6, 6]),
    }
    used = {name: array for name, array in constants.items() if f" {name})" in body}
    return model(f'<ir_version: 8, opset_import: ["" : 18]> g ({SHAPE} x) => ({SHAPE} y) {{ {body} }}', **used)


@pytest.mark.parametrize("target", ["portable", "ort-cpu"])
@pytest.mark.parametrize("seed", range(24))
def test_a_network_stays_valid_and_close(seed, target):
    proto = network(seed)
    data = feeds(proto, 4, seed)
    found, result = quantized(proto, "measure=false", data=data, target=target, validate=False)
    options = ort.SessionOptions()
    options.log_severity_level = 4
    one, other = (
        ort.InferenceSession(each.SerializeToString(), options, providers=["CPUExecutionProvider"])
        for each in (proto, found)
    )
    for feed in (data[0], *data[2:]):  # the second is held out, and may leave the ranges of so few
        expected, given = one.run(None, feed)[0], other.run(None, feed)[0]
        error = np.linalg.norm(given - expected) / np.linalg.norm(expected)
        assert error < 0.1, f"seed {seed}: {error:.2g}\n{proto}"
    floats = {tensor.name for tensor in found.graph.initializer if tensor.data_type == 1 and tensor.name[0] in "wpqn"}
    left = {name for name in floats if name[1:].isdigit()}
    assert not left or result.journal.reasons(), f"seed {seed}: {left}"
