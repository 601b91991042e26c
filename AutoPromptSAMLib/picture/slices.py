"""Slices as clinicians look at them: radiological orientation, smooth outlines, prompt boxes, on a float canvas.

Canvases are float32 (rows, cols, 3) red, green, blue from 0 to 1.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
from numpy.typing import ArrayLike, NDArray
from scipy import ndimage

from AutoPromptSAMLib.geometry import Plane, Volume, VolumeGeometry, sample_plane
from AutoPromptSAMLib.geometry.grid import BoolArray, FloatArray
from AutoPromptSAMLib.intensity import IntensityMapping, PassThrough

Canvas = NDArray[np.float32]
Colour = tuple[float, float, float]

# RAS directions towards the right and the bottom of the screen: patient left on the right, feet at the bottom.
SCREEN = {
    "axial": ((-1.0, 0.0, 0.0), (0.0, -1.0, 0.0)),
    "coronal": ((-1.0, 0.0, 0.0), (0.0, 0.0, -1.0)),
    "sagittal": ((0.0, -1.0, 0.0), (0.0, 0.0, -1.0)),
}
# A letter is shown for every component above sin(25 degrees): one letter up to there, two around 45 degrees.
LETTER_COMPONENT = 0.42
FILL = 0.5  # opacity of a segment's area: enough to see which organ it is, and still the organ

BLUR_LIMIT = 12.0  # pixels; voxels larger than that are meant to be seen


def orientation_letters(direction: ArrayLike) -> str:
    """Where a RAS direction (3,) leads, the main one first: "L", "P", "LA" ..."""
    vector = np.asarray(direction, dtype=np.float64)
    vector = vector / np.linalg.norm(vector)
    order = np.argsort(-np.abs(vector), kind="stable")
    return "".join(
        "RAS"[a] if vector[a] > 0 else "LPI"[a] for a in order if a == order[0] or abs(vector[a]) > LETTER_COMPONENT
    )


def view_of_axis(geometry: VolumeGeometry, axis: int) -> str:
    """The name ("axial", "coronal", "sagittal") of slices along array axis ``axis``."""
    return next(name for name in SCREEN if geometry.array_axis(name) == axis)


def screen_directions(geometry: VolumeGeometry, view: str) -> tuple[FloatArray, FloatArray]:
    """Unit RAS vectors along the volume's own axes that go right and down on the screen in ``view``.

    Both follow voxel rows, so an oblique volume is shown unresampled, in the orientation nearest to the standard one.
    """
    axes = [a for a in range(3) if a != geometry.array_axis(view)]
    steps = [geometry.ijk_to_ras[:3, 2 - a] / geometry.spacing[2 - a] for a in axes]
    right, down = (np.array(v) for v in SCREEN[view])
    if abs((steps[0] @ right) * (steps[1] @ down)) < abs((steps[1] @ right) * (steps[0] @ down)):
        steps.reverse()
    return steps[0] * _sign(steps[0] @ right), steps[1] * _sign(steps[1] @ down)


def screen_plane(
    geometry: VolumeGeometry,
    view: str,
    index: int,
    shape: tuple[int, int],
    field: tuple[FloatArray, float] | None = None,
) -> Plane:
    """The plane of slice ``index`` in ``view`` as pixels (rows, cols) of the screen, square and in mm true to scale.

    ``field``: RAS centre and width in mm of what is shown; by default all of the slice.
    """
    right, down = screen_directions(geometry, view)
    axis = geometry.array_axis(view)
    middle = (np.array(geometry.shape[::-1]) - 1) / 2
    middle[2 - axis] = index
    centre = geometry.ras_from_ijk(middle)
    if field is None:
        extent = np.array(geometry.shape[::-1]) * geometry.ijk_to_ras[:3, :3]  # columns: the volume's edges, mm
        pixel = max(np.abs(right @ extent).max() / shape[1], np.abs(down @ extent).max() / shape[0])
    else:
        offset = field[0] - centre
        centre = centre + right * (right @ offset) + down * (down @ offset)
        pixel = field[1] / shape[1]
    matrix = np.eye(4)
    matrix[:3, 0], matrix[:3, 1] = right * pixel, down * pixel
    normal = np.cross(right, down)
    matrix[:3, 2] = normal / np.linalg.norm(normal)
    matrix[:3, 3] = centre - matrix[:3, 0] * (shape[1] - 1) / 2 - matrix[:3, 1] * (shape[0] - 1) / 2
    return Plane(matrix, shape)


def slice_canvas(volume: Volume, mapping: IntensityMapping, plane: Plane) -> Canvas:
    """What ``plane`` shows of ``volume`` in grey or its own colours."""
    image = sample_plane(volume, plane)
    if isinstance(mapping, PassThrough) and not volume.is_colour:
        image = np.rint(image * (255 if volume.array.dtype == np.bool_ else 1)).astype(np.uint8)
    return mapping.apply(image) / np.float32(255)


def draw_segments(
    canvas: Canvas,
    plane: Plane,
    segments: Mapping[str, BoolArray],
    geometry: VolumeGeometry,
    colors: Mapping[str, Colour],
    width: float = 2.0,
) -> None:
    """Translucent areas and outlines of ``width`` pixels, both with smooth edges, over ``canvas``."""
    # The edge of a mask on voxels is a staircase; a voxel of blur turns it into the line that it stands for.
    spacing = np.array(geometry.spacing)
    across = np.abs(plane.pixel_to_ras[:3, :2].T @ geometry.ijk_to_ras[:3, :3]) / (
        np.array(plane.spacing)[:, None] * spacing
    )
    blur = [
        float(np.clip(1.1 * spacing[a.argmax()] / s, 0.7, BLUR_LIMIT))
        for a, s in zip(across, plane.spacing, strict=True)
    ]
    for name, mask in segments.items():
        area = sample_plane(Volume(mask, geometry), plane, fill=0).astype(np.float32)
        rows, cols = np.flatnonzero(area.any(axis=1)), np.flatnonzero(area.any(axis=0))
        if not len(rows):
            continue
        margin = int(4 * max(blur) + width + 2)
        block = (
            slice(max(rows[0] - margin, 0), rows[-1] + margin + 1),
            slice(max(cols[0] - margin, 0), cols[-1] + margin + 1),
        )
        part = ndimage.gaussian_filter(area[block], (blur[1], blur[0]))
        slope = np.hypot(*np.gradient(part)) if min(part.shape) > 1 else np.ones_like(part)
        away = (part - 0.5) / np.maximum(slope, 1e-3)  # about the distance from the outline in pixels
        target = canvas[block]
        color = np.asarray(colors[name], dtype=np.float32)
        inside = np.float32(FILL) * np.clip(away + 0.5, 0, 1)[..., None]
        target += inside * (color * (0.35 + 0.65 * target) - target)  # tinted like glass: the organ's texture stays
        blend(target, (0.0, 0.0, 0.0), 0.45 * np.clip(width / 2 + 1.5 - np.abs(away), 0, 1))
        blend(target, colors[name], np.clip(width / 2 + 0.5 - np.abs(away), 0, 1))


def draw_box(canvas: Canvas, corners: ArrayLike, color: Colour = (1.0, 1.0, 1.0), width: float = 2.0) -> None:
    """The outline of a box, with handles at its corners; ``corners``: two opposite (col, row) pixel positions."""
    corners = np.asarray(corners, dtype=np.float64)
    lower, upper = corners.min(axis=0), corners.max(axis=0)
    edge = np.abs(rectangle_distance(canvas.shape[:2], lower, upper))
    handle = np.full(canvas.shape[:2], np.inf)
    for col in (lower[0], upper[0]):
        for row in (lower[1], upper[1]):
            middle = np.array([col, row])
            handle = np.minimum(
                handle, rectangle_distance(canvas.shape[:2], middle - 1.8 * width, middle + 1.8 * width)
            )
    for grow, paint, opacity in ((1.5, (0.0, 0.0, 0.0), 0.5), (0.0, color, 1.0)):
        line = np.clip(width / 2 + grow + 0.5 - edge, 0, 1)
        blend(canvas, paint, opacity * np.maximum(line, np.clip(grow + 0.5 - handle, 0, 1)))


def rectangle_distance(
    shape: Sequence[int], lower: ArrayLike, upper: ArrayLike, radius: float = 0.0
) -> NDArray[np.floating[Any]]:
    """Signed distance (rows, cols) in pixels from a rectangle with corners (col, row), negative inside."""
    lower, upper = np.asarray(lower, dtype=np.float64), np.asarray(upper, dtype=np.float64)
    centre, half = (lower + upper) / 2, (upper - lower) / 2 - radius
    x = np.abs(np.arange(shape[1]) - centre[0])[None, :] - half[0]
    y = np.abs(np.arange(shape[0]) - centre[1])[:, None] - half[1]
    distance: NDArray[np.floating[Any]] = np.hypot(np.maximum(x, 0), np.maximum(y, 0)) + np.minimum(
        np.maximum(x, y), 0
    )
    return distance - radius


def blend(canvas: Canvas, color: Sequence[float], opacity: NDArray[Any]) -> None:
    """Paint ``color`` over ``canvas`` in place, opacity (rows, cols) from 0 to 1."""
    canvas += opacity[..., None].astype(np.float32) * (np.asarray(color, dtype=np.float32) - canvas)


def _sign(value: float) -> float:
    return -1.0 if value < 0 else 1.0
