# onnx-opt in GNU Make.
#
#     onnx-opt integration make > onnx-opt.mk
#
#     all: detector.opt.onnx build/classifier.opt.onnx
#     include onnx-opt.mk
#     detector.opt.onnx: ONNX_OPT_FLAGS += --fp16         # for one model
#     build/classifier.opt.onnx: classifier.onnx          # where it does not lie beside its model
#
# The output is made again when the model, its external data, your own passes or your data change. `--cache` among the
# flags takes results that were made before.

ONNX_OPT ?= onnx-opt
ONNX_OPT_FLAGS ?=

%.opt.onnx: %.onnx
	@mkdir -p $(@D)
	$(ONNX_OPT) $< -o $@ --depfile $@.d $(ONNX_OPT_FLAGS)

%.opt.onnx:
	@mkdir -p $(@D)
	$(ONNX_OPT) $< -o $@ --depfile $@.d $(ONNX_OPT_FLAGS)

# What the outputs depended on when they were last made.
-include $(shell find . -name '*.opt.onnx.d' 2>/dev/null)
