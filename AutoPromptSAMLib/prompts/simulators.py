"""Prompts that a simulated person gives, from the true mask (rows, cols) of an object.

Everything random takes a numpy Generator: the same seed gives the same prompts. Pixels are (col, row), integers at
their centres; a box (x0, y0, x1, y1) runs from its first to its last pixel's centre and covers both pixels whole.

| name | what the person gives |
|---|---|
| ``box`` | the tight box |
| ``box-0.75`` | a box with IoU .75 with the tight one, ± .03, off in a random direction; any IoU above 0 and below 1 |
| ``click`` | one click at the centre |
| ``clicks-3`` | clicks at random pixels of the object; any number from 1 |
| ``scribble`` | a person's own scribble where the data has one, else a synthetic doodle |
| ``user`` | clicks, one after the other, each where the answer is most wrong |
| ``user-box`` | the tight box, then clicks as above |
| ``volume-box`` | in a volume, the tight box on the slice where the object is largest |
"""

from __future__ import annotations

import re
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any, Literal

import numpy as np
from numpy.typing import NDArray

from AutoPromptSAMLib.errors import PromptError
from AutoPromptSAMLib.prompts import PixelPrompts
from AutoPromptSAMLib.prompts.simulated_doodles import Mask, deepest, largest_piece, synthetic_doodles

FloatArray = NDArray[np.float64]
Scribble = tuple[Mask, Mask]

# As many of each sign as a person's doodle gives (``prompts.pixels``), and as far apart.
SCRIBBLE_POINTS = 16
SCRIBBLE_SPACING = 2.0
DIRECTIONS = 50  # random directions that are tried before a box is made smaller, which always works. A choice.
BISECTIONS = 40


def tight_box(truth: Mask) -> FloatArray:
    """The smallest box (x0, y0, x1, y1) around all pixels of a mask; PromptError when it has none."""
    rows, cols = np.flatnonzero(_checked(truth).any(axis=1)), np.flatnonzero(truth.any(axis=0))
    return np.array([cols[0], rows[0], cols[-1], rows[-1]], dtype=np.float64)


def box_iou(one: FloatArray, other: FloatArray) -> float:
    """Intersection over union of two boxes (x0, y0, x1, y1), their border pixels included whole."""
    lower, upper = np.maximum(one[:2], other[:2]), np.minimum(one[2:], other[2:])
    common = float(np.prod(np.maximum(upper - lower + 1, 0)))
    areas = [float(np.prod(box[2:] - box[:2] + 1)) for box in (one, other)]
    return common / (sum(areas) - common)


def box_at_iou(truth: Mask, iou: float, rng: np.random.Generator, tolerance: float = 0.03) -> FloatArray:
    """A box (x0, y0, x1, y1), not rounded to pixels, whose IoU with the tight box is ``iou``, inside the image.

    The tight box is shifted and its sides are stretched or shrunk, both in a random direction, as far as it takes
    (found by bisection; usually exact to 1e-6). Where the image's border leaves no room for that, the box is shrunk
    towards a random point inside it. An object of a few pixels allows no IoU far below 1 when the border is that near
    too; then the box closest to ``iou`` comes back, and ``box_iou`` tells. "Box overlap .75 and .5" of MedSAM-U's
    tables are read as this IoU, within ``tolerance``. Raises PromptError for an IoU not above 0 and at most 1.
    """
    if not 0 < iou <= 1:
        raise PromptError(f"The IoU of a box with the tight one must be above 0 and at most 1, not {iou}.")
    tight = tight_box(truth)
    last = np.array(truth.shape[::-1], dtype=np.float64) - 1
    best, best_error = tight, 1 - iou
    for number in range(2 * DIRECTIONS):
        shift, stretch = rng.normal(size=2), rng.normal(size=2)
        if number >= DIRECTIONS:  # shrink only, towards a point of the box
            stretch = -np.abs(stretch)
            shift = rng.uniform(-0.5, 0.5, size=2) * np.abs(stretch)
        box = _bisected(tight, last, iou, shift, stretch)
        error = abs(box_iou(tight, box) - iou)
        if error < best_error:
            best, best_error = box, error
        if best_error <= min(tolerance, 1e-3):
            break
    return best


def _bisected(tight: FloatArray, last: FloatArray, iou: float, shift: FloatArray, stretch: FloatArray) -> FloatArray:
    """The box that is changed in one direction until its IoU has fallen to ``iou``, or as far as is tried."""

    def moved(amount: float) -> FloatArray:
        sides = tight[2:] - tight[:2] + 1
        centre = (tight[2:] + tight[:2]) / 2 + amount * shift * sides
        half = np.maximum(sides * np.exp(amount * stretch), 1) / 2  # a box covers at least one pixel
        lower = np.clip(centre - half + 0.5, 0, last)
        return np.concatenate([lower, np.clip(centre + half - 0.5, lower, last)])

    low, high = 0.0, 2.0
    if box_iou(tight, moved(high)) > iou:
        return moved(high)
    for _ in range(BISECTIONS):
        middle = (low + high) / 2
        low, high = (middle, high) if box_iou(tight, moved(middle)) > iou else (low, middle)
    return moved(high)


def click_at_centre(truth: Mask) -> FloatArray:
    """(col, row) of the pixel of the largest piece that is farthest from its border; of several, the most central."""
    row, col = deepest(largest_piece(_checked(truth)))
    return np.array([col, row], dtype=np.float64)


def random_clicks(truth: Mask, n: int, rng: np.random.Generator) -> FloatArray:
    """(m, 2) as (col, row): ``n`` different pixels of the object at random, or all of them where it has fewer."""
    if n < 1:
        raise PromptError(f"A person gives at least one click, not {n}.")
    pixels = np.argwhere(_checked(truth))
    chosen = rng.choice(len(pixels), size=min(n, len(pixels)), replace=False)
    return pixels[chosen, ::-1].astype(np.float64)


def scribble_prompts(positive: Mask, negative: Mask) -> PixelPrompts:
    """Scribbles (rows, cols) bool as points: at most 16 of either sign, at least 2 pixels apart, spread out evenly.

    Each point is the pixel of the scribble that is farthest from those before it, the first one the most central
    (farthest-point sampling, Gonzalez 1985). As many, and as dense, as a doodle drawn in the application.
    """
    points = [_spread(positive), _spread(negative)]
    labels = np.repeat(np.array([1, 0], dtype=np.int8), [len(part) for part in points])
    return PixelPrompts(np.concatenate(points), labels)


def _spread(scribble: Mask) -> FloatArray:
    pixels = np.argwhere(scribble)[:, ::-1].astype(np.float64)
    if not len(pixels):
        return np.zeros((0, 2))
    chosen = [int(np.linalg.norm(pixels - pixels.mean(axis=0), axis=1).argmin())]
    away = np.linalg.norm(pixels - pixels[chosen[0]], axis=1)
    while len(chosen) < SCRIBBLE_POINTS and away.max() >= SCRIBBLE_SPACING:
        chosen.append(int(away.argmax()))
        away = np.minimum(away, np.linalg.norm(pixels - pixels[chosen[-1]], axis=1))
    return pixels[chosen]


def correction_click(truth: Mask, mask: Mask) -> tuple[FloatArray, bool] | None:
    """Where a person clicks next: ((col, row), positive), or None when ``mask`` is right everywhere.

    The centre (farthest from the border) of the largest connected piece that is missing (positive) or too much
    (negative). The robot user of interactive segmentation: Xu et al., Deep interactive object selection, CVPR 2016;
    as largest piece and its deepest point in Sofiiuk et al., RITM, ICIP 2022, and in the CVPR 2025 challenge
    "Foundation models for interactive 3D biomedical image segmentation".
    """
    found = volume_correction(truth, mask)
    return None if found is None else (np.array(found[0][::-1], dtype=np.float64), found[1])


def volume_correction(
    truth: NDArray[np.bool_], mask: NDArray[np.bool_], spacing: Sequence[float] | None = None
) -> tuple[tuple[int, ...], bool] | None:
    """``correction_click`` for arrays of any dimensions: (index in array order, positive), or None.

    ``spacing``: voxel size along the array axes, for the depth; pieces count by their voxels. Of a missing piece and
    one too much of the same size, the missing one is chosen.
    """
    if truth.shape != mask.shape:
        raise PromptError(f"The mask has shape {mask.shape} and the truth {truth.shape}; give both alike.")
    candidates = [(largest_piece(truth & ~mask), True), (largest_piece(mask & ~truth), False)]
    piece, positive = max(candidates, key=lambda found: int(np.count_nonzero(found[0])))
    return (deepest(piece, spacing), positive) if piece.any() else None


def volume_box(truth: NDArray[np.bool_], axis: int) -> tuple[int, FloatArray]:
    """(slice along array axis ``axis``, tight box on it) where a volume's mask (K, J, I) has its largest area.

    The box is in voxels of that slice, whose rows and columns are the first and second of the two other axes. Of
    slices with the same area, the middle one is taken.
    """
    areas = np.asarray(truth, dtype=bool).sum(axis=tuple(other for other in range(3) if other != axis))
    largest = np.flatnonzero(areas == areas.max())
    index = int(largest[len(largest) // 2])
    return index, tight_box(np.take(truth, index, axis=axis))


@dataclass(frozen=True)
class Simulator:
    """A simulated person by name.

    ``kind``: "fixed" gives all prompts at once; "user" goes on with ``correction_click`` (``start`` is what it begins
    with); "volume" prompts one slice of a volume (``volume_box``).
    """

    name: str
    kind: Literal["fixed", "user", "volume"]
    description: str
    start: Literal["box", "click", "clicks", "scribble", "nothing"]
    iou: float = 1.0
    clicks: int = 1

    def prompts(self, truth: Mask, rng: np.random.Generator, scribbles: Sequence[Scribble] = ()) -> PixelPrompts:
        """What the person gives for an object (rows, cols) before seeing any answer.

        ``scribbles``: what people drew on this image, each (positive, negative); one of them is taken at random. The
        user without a box has no prompts before the first click. Raises PromptError when the object has no pixels.
        """
        _checked(truth)
        if self.start == "box":
            return PixelPrompts(box=tight_box(truth) if self.iou == 1 else box_at_iou(truth, self.iou, rng))
        if self.start == "scribble":
            drawn = [scribble for scribble in scribbles if scribble[0].any()]
            positive, negative = drawn[int(rng.integers(len(drawn)))] if drawn else synthetic_doodles(truth, rng)
            return scribble_prompts(positive, negative)
        if self.start == "nothing":
            return PixelPrompts()
        points = click_at_centre(truth)[None] if self.start == "click" else random_clicks(truth, self.clicks, rng)
        return PixelPrompts(points, np.ones(len(points), dtype=np.int8))


PATTERNS = ("box", "box-IOU", "click", "clicks-N", "scribble", "user", "user-box", "volume-box")
_FIXED: dict[str, Simulator] = {
    simulator.name: simulator
    for simulator in (
        Simulator("box", "fixed", "tight box", "box"),
        Simulator("click", "fixed", "one click at the centre", "click"),
        Simulator("scribble", "fixed", "a person's scribble, else a synthetic doodle", "scribble"),
        Simulator("user", "user", "clicks where the answer is most wrong", "nothing"),
        Simulator("user-box", "user", "tight box, then clicks where the answer is most wrong", "box"),
        Simulator("volume-box", "volume", "tight box on the slice of largest area", "box"),
    )
}


def simulator_names() -> tuple[str, ...]:
    """The names that ``get_simulator`` knows; IOU and N stand for numbers."""
    return PATTERNS


def get_simulator(name: str) -> Simulator:
    """The simulator called ``name``; PromptError, naming all of them, when there is none."""
    if name in _FIXED:
        return _FIXED[name]
    if match := re.fullmatch(r"box-(0?\.\d+)", name):
        iou = float(match[1])
        if 0 < iou < 1:
            return Simulator(name, "fixed", f"box at IoU {iou:g} with the tight box", "box", iou=iou)
    if (match := re.fullmatch(r"clicks-(\d{1,3})", name)) and int(match[1]) > 0:
        return Simulator(name, "fixed", f"{int(match[1])} random clicks inside", "clicks", clicks=int(match[1]))
    raise PromptError(
        f'There is no prompt simulator "{name}"; choose of {", ".join(PATTERNS)}, such as box-0.75 or clicks-3.'
    )


def _checked(truth: Any) -> Mask:
    truth = np.asarray(truth)
    if truth.ndim != 2 or truth.dtype != np.bool_:
        raise PromptError(f"The true mask must be bool (rows, cols), not {truth.dtype} {truth.shape}.")
    if not truth.any():
        raise PromptError("The object has no pixels on this image, so nobody can prompt it; leave it out.")
    return truth
