"""The numbers that image models are trained with, by the names that people know."""

from onnx_opt.imaging.pixels import Numbers

PRESETS = {
    "raw": Numbers(),
    "unit": Numbers(divisor=255.0),
    "signed": Numbers(divisor=127.5, mean=(1.0,)),
    "imagenet": Numbers(divisor=255.0, mean=(0.485, 0.456, 0.406), std=(0.229, 0.224, 0.225)),
    "caffe": Numbers(mean=(103.939, 116.779, 123.68), order="bgr"),
}
"""raw: pixels as they are. unit: 0 to 1. signed: -1 to 1 (MobileNet and others of TensorFlow). imagenet: torchvision.
caffe: the means of BGR channels (VGG, ResNet of Caffe and Keras)."""
