"""The words for what pictures are like, as options spell them; importing this costs nothing."""

from __future__ import annotations

from typing import Literal

Layout = Literal["auto", "nchw", "nhwc"]
Order = Literal["rgb", "bgr"]
ImageType = Literal["uint8", "uint16", "float32"]
Interpolation = Literal["linear", "nearest"]
