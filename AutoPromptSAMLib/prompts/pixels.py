"""Prompts in the world -> prompts in the pixels of one plane, as a network takes them."""

from __future__ import annotations

import itertools
from collections.abc import Iterable
from dataclasses import dataclass, field
from typing import Any

import numpy as np
from numpy.typing import NDArray

from AutoPromptSAMLib.errors import PromptError
from AutoPromptSAMLib.geometry import Plane, Volume, cut_box, sample_plane, slice_plane
from AutoPromptSAMLib.geometry.grid import BoolArray, FloatArray
from AutoPromptSAMLib.prompts.types import Box, Doodle, MaskPrompt, Point, Prompt

# Doodles become at most this many points of either sign. A choice: SAM was trained with up to 9 points an object
# (Kirillov et al. 2023, appendix A), a bent stroke needs some more to keep its shape.
DOODLE_POINTS = 16
DOODLE_SPACING = 2.0  # pixels between the points of a doodle, at least: closer ones say the same. A choice.
PARALLEL = 0.99  # |cos| of the normals (8 degrees) above which a flat box speaks about a plane. A choice.
ROUNDING_MM = 1e-6


@dataclass(frozen=True, eq=False)
class PixelPrompts:
    """Prompts in pixels of one image; integer positions are pixel centres.

    ``points``: (P, 2) float64 as (col, row). ``labels``: (P,) int8, 1 object, 0 background. ``box``: (4,) float64 as
    (x0, y0, x1, y1) or None. ``mask``: (rows, cols) bool, or float32 logits, or None. ``boxes``: (B, 4) float64, one
    for each piece of the object; give them or ``box``, not both. ``box`` of several is the rectangle around them: all
    that a network can take at once. The loops decode each box and unite the answers.
    """

    points: FloatArray = field(default_factory=lambda: np.zeros((0, 2)))
    labels: NDArray[np.int8] = field(default_factory=lambda: np.zeros(0, dtype=np.int8))
    box: FloatArray | None = None
    mask: NDArray[Any] | None = None
    boxes: FloatArray = field(default_factory=lambda: np.zeros((0, 4)))

    def __post_init__(self) -> None:
        points = np.asarray(self.points, dtype=np.float64).reshape(-1, 2)
        labels = np.asarray(self.labels, dtype=np.int8).reshape(-1)
        if len(points) != len(labels):
            raise PromptError(f"There are {len(points)} points but {len(labels)} labels; give one label a point.")
        if not np.isfinite(points).all() or not np.isin(labels, (0, 1)).all():
            raise PromptError("Points must be finite and their labels 1 (object) or 0 (background).")
        object.__setattr__(self, "points", points)
        object.__setattr__(self, "labels", labels)
        boxes = np.asarray(self.boxes, dtype=np.float64)
        if self.box is not None:
            if len(boxes):
                raise PromptError("Prompts have either one box or several boxes; give one of the two.")
            boxes = np.asarray(self.box, dtype=np.float64)[None]
        fit = boxes.ndim == 2 and boxes.shape[1] == 4 and np.isfinite(boxes).all()
        if not fit or (boxes[:, :2] > boxes[:, 2:]).any():
            raise PromptError("A box must be four finite numbers x0 <= x1, y0 <= y1 in the order x0, y0, x1, y1.")
        object.__setattr__(self, "boxes", boxes)
        if len(boxes):
            around = np.concatenate([boxes[:, :2].min(axis=0), boxes[:, 2:].max(axis=0)])
            object.__setattr__(self, "box", around)
        if self.mask is not None and np.ndim(self.mask) != 2:
            raise PromptError(f"A mask prompt must have two dimensions (rows, cols), not {np.ndim(self.mask)}.")

    @property
    def is_empty(self) -> bool:
        """Whether there is neither point, box nor mask."""
        return not len(self.points) and self.box is None and self.mask is None

    def nearest_to(self, boxes: FloatArray) -> BoolArray:
        """Which points belong to which of ``boxes`` (B, 4), (B, P): those to which no other box is nearer."""
        beyond = np.maximum(boxes[:, None, :2] - self.points, self.points - boxes[:, None, 2:])
        distance = np.linalg.norm(np.maximum(beyond, 0), axis=2)
        nearest: BoolArray = distance <= distance.min(axis=0, initial=np.inf)
        return nearest


def on_plane(prompts: Iterable[Prompt], plane: Plane, slab_mm: float) -> PixelPrompts:
    """What ``prompts`` say about ``plane``; ``slab_mm`` is the plane's thickness (``geometry.slab_thickness``).

    - Point: when its depth is in (-slab/2, slab/2], so that exactly one of a stack of slices gets it: the one that a
      plane on the face between two slices is pasted onto (``geometry.paste_mask``). Slice 0 has its lower face too.
    - Box: when the plane cuts it, the rectangle around the cut, clipped to the image; each box gives its own. One that
      is flat, or thinner than the slab, counts by the depth of its center; a flat one only on planes parallel to it
      (within 8 degrees).
    - Doodle: the parts of the line in the slab, as points evenly spaced along them, at least 2 pixels apart and at
      most 16 positive and 16 negative ones in all; shorter parts give one point in their middle.
    - MaskPrompt: nearest voxel for every pixel; several masks give their union. One of a single slice (``axes``) is on
      planes along that slice only (within 8 degrees).

    Raises PromptError for a point, flat box or doodle vertex on the plane but outside its image. A solid box may stick
    out of the volume; what is outside is ignored.
    """
    points: list[FloatArray] = []
    labels: list[int] = []
    boxes: list[FloatArray] = []
    mask: BoolArray | None = None
    strokes: dict[bool, list[FloatArray]] = {True: [], False: []}
    for prompt in prompts:
        if isinstance(prompt, Point):
            pixel = plane.pixels_from_ras(prompt.ras)
            if _in_slab(pixel[2], slab_mm, plane):
                points.append(_inside(pixel[None, :2], plane, "A point"))
                labels.append(int(prompt.positive))
        elif isinstance(prompt, Box):
            box = _box_on_plane(prompt, plane, slab_mm)
            boxes += [] if box is None else [box]
        elif isinstance(prompt, Doodle):
            parts = _parts_in_slab(prompt, plane, slab_mm)
            strokes[prompt.positive] += [_inside(part, plane, "A doodle") for part in parts]
        elif isinstance(prompt, MaskPrompt):
            seen = _mask_on_plane(prompt, plane)
            mask = seen if mask is None else mask if seen is None else mask | seen
    for positive, lines in strokes.items():
        sampled = _sample_strokes(lines)
        points.append(sampled)
        labels += [int(positive)] * len(sampled)
    return PixelPrompts(
        np.concatenate(points), np.array(labels, dtype=np.int8), mask=mask, boxes=np.array(boxes).reshape(-1, 4)
    )


def doodle_mask(doodle: Doodle, plane: Plane, slab_mm: float) -> BoolArray:
    """The pixels (rows, cols) bool that a doodle's brush covers on ``plane``: a mask prompt.

    A pixel is covered when its centre is within half of ``width_mm``, at least half a pixel diagonal, of the part of
    the line in the slab; so that thin lines have no gaps.
    """
    covered = np.zeros(plane.shape, dtype=bool)
    spacing = np.array(plane.spacing)
    reach = max(doodle.width_mm / 2, float(np.hypot(*spacing)) / 2)
    for part in _parts_in_slab(doodle, plane, slab_mm):
        ends = part[1:] if len(part) > 1 else part
        for start, end in zip(part, ends, strict=False):
            lower = np.maximum(np.ceil(np.minimum(start, end) - reach / spacing), 0).astype(int)
            upper = np.minimum(np.floor(np.maximum(start, end) + reach / spacing), np.array(plane.shape[::-1]) - 1)
            cols, rows = np.arange(lower[0], upper[0] + 1), np.arange(lower[1], upper[1] + 1)[:, None]
            if not cols.size or not rows.size:
                continue
            # Distance in mm from each pixel centre to the segment.
            (dx, dy), (x, y) = (
                (end - start) * spacing,
                ((cols - start[0]) * spacing[0], (rows - start[1]) * spacing[1]),
            )
            t = np.clip((x * dx + y * dy) / max(dx * dx + dy * dy, 1e-12), 0, 1)
            near = np.hypot(x - t * dx, y - t * dy) <= reach + 1e-9
            covered[lower[1] : lower[1] + near.shape[0], lower[0] : lower[0] + near.shape[1]] |= near
    return covered


def _in_slab(depth: float, slab_mm: float, plane: Plane) -> bool:
    # A nanometre of rounding must not send a click on a face to nobody.
    lowest = -slab_mm / 2 - ROUNDING_MM if plane.index == 0 else -slab_mm / 2 + ROUNDING_MM
    return bool(lowest < depth <= slab_mm / 2 + ROUNDING_MM)


def _inside(pixels: FloatArray, plane: Plane, what: str) -> FloatArray:
    outside = ~plane.contains(pixels)
    if outside.any():
        col, row = pixels[outside][0]
        rows, cols = plane.shape
        raise PromptError(
            f"{what} at column {col:.1f}, row {row:.1f} is outside the image of {cols} columns and {rows} rows; "
            "move it into the image."
        )
    return pixels


def _box_on_plane(box: Box, plane: Plane, slab_mm: float) -> FloatArray | None:
    corners = plane.pixels_from_ras(box.corners)
    if box.is_flat and abs(box.normal @ plane.normal) < PARALLEL:
        return None
    if box.is_flat or np.ptp(corners[:, 2]) <= slab_mm:
        cut = corners[:, :2] if _in_slab(corners[:, 2].mean(), slab_mm, plane) else corners[:0, :2]
    else:
        cut = cut_box(corners)
    if not len(cut):
        return None
    lower, upper = cut.min(axis=0), cut.max(axis=0)
    last = np.array(plane.shape[::-1]) - 1
    if (upper < -0.5).any() or (lower > last + 0.5).any():
        if box.is_flat:
            raise PromptError(
                f"A box from column {lower[0]:.1f}, row {lower[1]:.1f} to column {upper[0]:.1f}, row {upper[1]:.1f} "
                f"is outside the image of {last[0] + 1} columns and {last[1] + 1} rows; move it into the image."
            )
        return None
    return np.concatenate([np.clip(lower, 0, last), np.clip(upper, 0, last)])


def _parts_in_slab(doodle: Doodle, plane: Plane, slab_mm: float) -> list[FloatArray]:
    """The line cut to the slab: one (m, 2) polyline as (col, row) for each part inside."""
    pixels = plane.pixels_from_ras(doodle.ras)
    if len(pixels) == 1:
        return [pixels[:, :2]] if _in_slab(pixels[0, 2], slab_mm, plane) else []
    parts: list[list[FloatArray]] = []
    joined = False
    for start, end in itertools.pairwise(pixels):
        slope = end[2] - start[2]
        if abs(slope) > 1e-6:
            at = np.sort([(side * slab_mm / 2 - start[2]) / slope for side in (-1, 1)])
            first, last = max(at[0], 0.0), min(at[1], 1.0)
        else:
            first, last = (0.0, 1.0) if _in_slab(start[2], slab_mm, plane) else (1.0, 0.0)
        if first >= last:
            joined = False
            continue
        ends = [start[:2] + t * (end - start)[:2] for t in (first, last)]
        if joined:
            parts[-1].append(ends[1])
        else:
            parts.append(ends)
        joined = last == 1  # it ended inside, where the next one starts
    return [np.array(part) for part in parts]


def _sample_strokes(lines: list[FloatArray]) -> FloatArray:
    """At most DOODLE_POINTS points (n, 2), spread over the lines by their length in pixels."""
    lengths = [float(np.linalg.norm(np.diff(line, axis=0), axis=1).sum()) for line in lines]
    spacing = max(DOODLE_SPACING, sum(lengths) / DOODLE_POINTS)
    points = []
    for line, length in zip(lines, lengths, strict=True):
        count = max(int(length / spacing + 1e-9), 1)
        along = np.concatenate([[0], np.cumsum(np.linalg.norm(np.diff(line, axis=0), axis=1))])
        at = (np.arange(count) + 0.5) * length / count
        points.append(np.stack([np.interp(at, along, line[:, 0]), np.interp(at, along, line[:, 1])], axis=1))
    sampled = np.concatenate([np.zeros((0, 2)), *points])
    if len(sampled) > DOODLE_POINTS:  # many short parts, one point each: keep an even choice of them
        sampled = sampled[np.linspace(0, len(sampled) - 1, DOODLE_POINTS).round().astype(int)]
    return sampled


def _mask_on_plane(prompt: MaskPrompt, plane: Plane) -> BoolArray | None:
    normals = [slice_plane(prompt.geometry, axis, 0, square_pixels=False).normal for axis in prompt.axes]
    if len(normals) < 3 and all(abs(float(plane.normal @ normal)) <= PARALLEL for normal in normals):
        return None
    crop = Volume(prompt.crop.mask, prompt.geometry.cropped(prompt.crop.lower, prompt.crop.mask.shape))
    seen = sample_plane(crop, plane, order=0, fill=0)
    return seen if seen.any() else None
