"""What is under the mouse and how long a scale bar is, in words."""

from __future__ import annotations

from dataclasses import dataclass

from numpy.typing import ArrayLike

from AutoPromptSAMLib.mrml.interactive import InteractiveSegmenter
from AutoPromptSAMLib.mrml.probe import read_out
from AutoPromptSAMLib.mrml.volumes import has_size


@dataclass(frozen=True)
class CursorText:
    """A position in RAS mm ("" on a picture), its voxel (i, j, k), the intensity ("" outside), the segments there."""

    ras: str
    ijk: str
    value: str
    segment: str


def cursor_text(segmenter: InteractiveSegmenter, ras: ArrayLike) -> CursorText:
    """What is at ``ras`` (3,) mm. Raises as ``mrml.probe.read_out``."""
    found = read_out(segmenter.volume_node, segmenter.segmentation_node, ras)
    if found.value is None:
        value = ""
    else:
        value = " ".join(map(str, found.value)) if isinstance(found.value, tuple) else f"{found.value:g}"
    ras = " ".join(f"{x:.1f}" for x in found.ras) if has_size(segmenter.volume_node) else ""
    return CursorText(ras, " ".join(map(str, found.ijk)), value, ", ".join(found.segments))


def length_text(mm: float) -> str:
    """A length as it stands at a scale bar: "5 mm", "2 cm"."""
    return f"{mm:g} mm" if mm < 10 else f"{mm / 10:g} cm"
