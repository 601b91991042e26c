"""Small pictures, in addresses that a page can show without asking for a file."""

from __future__ import annotations

import base64
import io
from functools import lru_cache
from pathlib import Path
from typing import Any

SIDE = 128  # pixels, of an example in a list
QUALITY = 85  # of the JPEG


def thumbnail(path: Path | None) -> str:
    """The data address of a picture file at most ``SIDE`` pixels a side; "" without one, or when it cannot be read."""
    try:
        return "" if path is None else _encoded(path, path.stat().st_mtime_ns)
    except OSError:
        return ""


def data_address(image: Any, side: int) -> str:
    """The data address of a PIL image as a JPEG of at most ``side`` pixels a side; ``image`` is made as small."""
    image.thumbnail((side, side))
    content = io.BytesIO()
    image.save(content, "JPEG", quality=QUALITY)
    return "data:image/jpeg;base64," + base64.b64encode(content.getvalue()).decode()


@lru_cache(maxsize=512)
def _encoded(path: Path, _changed: int) -> str:
    from PIL import Image

    with Image.open(path) as image:
        return data_address(image.convert("RGB"), SIDE)
