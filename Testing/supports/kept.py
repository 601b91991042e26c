"""Pairs, task files and sets to be kept, and what makes two sets the same."""

from __future__ import annotations

import io
import json
import zipfile
from pathlib import Path

import numpy as np
from PIL import Image

from AutoPromptSAMLib.supports import SupportPair, SupportSet
from AutoPromptSAMLib.supports.storage import TASK_KIND

from .doubles import blob_picture

RED = (1.0, 0.0, 0.0)


def pair(number: int, *, cup: bool = True) -> SupportPair:
    image, disc = blob_picture(20 + number, 30, size=72)
    _, small = blob_picture(20 + number, 30, size=72, radius=4)
    masks = {"disc": disc, "cup": small if cup else small & False}
    return SupportPair.of("eye", image, masks, spacing=(0.5, 0.25), source="drawn by A")


def task_file(path: Path, content: bytes = b"weights", model: str = "lite-medsam") -> Path:
    """What the head of a task's file looks like."""
    said = {"__metadata__": {"autopromptsam": json.dumps({"kind": TASK_KIND, "backbone": model})}}
    header = json.dumps(said).encode()
    path.write_bytes(len(header).to_bytes(8, "little") + header + content)
    return path


def same(one: SupportSet, other: SupportSet) -> None:
    assert one.objects == other.objects
    assert [(p.id, p.name, p.objects, p.spacing, p.view, p.source, p.group) for p in one.pairs] == [
        (p.id, p.name, p.objects, p.spacing, p.view, p.source, p.group) for p in other.pairs
    ]
    for a, b in zip(one.pairs, other.pairs, strict=True):
        np.testing.assert_array_equal(a.image, b.image)
        for name in a.objects:
            np.testing.assert_array_equal(a.masks[name], b.masks[name])
    learned = [{model: task.read_bytes() for model, task in each.tasks.items()} for each in (one, other)]
    assert learned[0] == learned[1]


def other_pixels(name: str, content: bytes) -> bytes:
    """A pair whose mask has one pixel changed, packed as it should be."""
    if not name.startswith("pairs/"):
        return content
    packed = io.BytesIO()
    with zipfile.ZipFile(io.BytesIO(content)) as old, zipfile.ZipFile(packed, "w") as new:
        for part in old.namelist():
            data = old.read(part)
            if part == "0.png":
                mask = np.array(Image.open(io.BytesIO(data)))
                mask[0, 0] = ~mask[0, 0]
                png = io.BytesIO()
                Image.fromarray(mask).save(png, "PNG")
                data = png.getvalue()
            new.writestr(part, data)
    return packed.getvalue()
