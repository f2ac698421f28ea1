"""The report as one HTML file that works offline: `collect` gathers what it shows as plain data, `render` embeds that
in the page. The page builds itself from the data, as text and never as markup, so that no name in a model is code."""

from onnx_opt.html.collect import collect
from onnx_opt.html.page import render, write

__all__ = ["collect", "render", "write"]
