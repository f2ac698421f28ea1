"""The passes that come with onnx-opt, one a file; `steps` holds what they are made of."""

from onnx_opt_passes.algebra import Algebra
from onnx_opt_passes.bf16 import Bf16
from onnx_opt_passes.cleanup import Cleanup
from onnx_opt_passes.embed_postprocess import EmbedPostprocess
from onnx_opt_passes.embed_preprocess import EmbedPreprocess
from onnx_opt_passes.fold import Fold
from onnx_opt_passes.fp16 import Fp16
from onnx_opt_passes.fp32_io import Fp32Io
from onnx_opt_passes.fuse_conv_bn_relu import FuseConvBnRelu
from onnx_opt_passes.layout import Layout
from onnx_opt_passes.legalize import Legalize
from onnx_opt_passes.nchw_io import NchwIo
from onnx_opt_passes.pad_channels import PadChannels
from onnx_opt_passes.quantize import Quantize
from onnx_opt_passes.strip_custom_ops import StripCustomOps

PASSES = [
    StripCustomOps,
    Algebra,
    Fold,
    Cleanup,
    FuseConvBnRelu,
    Layout,
    NchwIo,
    Fp32Io,
    EmbedPreprocess,
    EmbedPostprocess,
    PadChannels,
    Quantize,
    Fp16,
    Bf16,
    Legalize,
]
