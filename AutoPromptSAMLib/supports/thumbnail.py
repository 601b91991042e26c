"""Small pictures of pairs, with the outlines of the objects, to choose from."""

from __future__ import annotations

import io
from collections.abc import Mapping

import numpy as np
from PIL import Image

from AutoPromptSAMLib.supports.pairs import Colour, SupportPair, shrunk

SIDE = 256


def thumbnail_png(pair: SupportPair, colours: Mapping[str, Colour]) -> bytes:
    """PNG of at most ``SIDE`` pixels a side; outlines are two pixels wide, so that they show over any image."""
    from scipy import ndimage  # here, so that a host starts without it

    image = Image.fromarray(pair.image)
    image.thumbnail((SIDE, SIDE), Image.Resampling.LANCZOS)
    pixels = np.array(image)
    for name, mask in pair.masks.items():
        small = shrunk(mask, image.size)
        if mask.any() and not small.any():  # a thin vessel: all that it touches
            rows, cols = np.nonzero(mask)
            small[rows * image.size[1] // mask.shape[0], cols * image.size[0] // mask.shape[1]] = True
        outline = ndimage.binary_dilation(small) & ~ndimage.binary_erosion(small)
        pixels[outline] = np.rint(np.array(colours[name]) * 255).astype(np.uint8)
    content = io.BytesIO()
    Image.fromarray(pixels).save(content, "PNG")
    return content.getvalue()
