"""How well a mask fits the truth, for slices (rows, cols) and volumes (K, J, I), by MONAI; and what clicks are worth.

| name | what it is | both masks empty | only one empty |
|---|---|---|---|
| ``dice`` | 2 \\|A ∩ B\\| / (\\|A\\| + \\|B\\|) | 1 | 0 |
| ``iou`` | \\|A ∩ B\\| / \\|A ∪ B\\| | 1 | 0 |
| ``hd95`` | the larger of the two directed 95th percentiles of distances between the borders, mm | 0 | diagonal |
| ``nsd`` | part of both surfaces that is within ``tolerance`` (default 2 mm) of the other one | 1 | 0 |

A distance to nothing is the worst that the image allows, its diagonal, as in the BraTS challenges and Metrics Reloaded
(Maier-Hein et al., Nature Methods 2024): leaving such cases out would reward a model for finding nothing. Where pixels
have no known size, lengths and the tolerance are in pixels. ``hd95`` is between the voxels of the borders; ``nsd``
weights the pieces of surface between voxels by their area, as its authors do (Nikolov et al., J Med Internet Res
2021), so that it also holds for anisotropic voxels.
"""

from __future__ import annotations

import importlib.util
import math
import warnings
from collections.abc import Iterable, Iterator, Sequence
from contextlib import contextmanager
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray
from scipy import ndimage

from AutoPromptSAMLib.errors import AutoPromptSAMError

if TYPE_CHECKING:
    import torch

BoolArray = NDArray[np.bool_]

METRICS = ("dice", "iou", "hd95", "nsd")
HIGHER_IS_BETTER = {"dice": True, "iou": True, "hd95": False, "nsd": True}
VIDEO_METRICS = ("s_measure", "e_measure", "weighted_f", "f_measure", "dice", "sensitivity")
TOLERANCE = 2.0  # mm, the common choice for organs (CVPR 2024 and 2025 challenges, most organs of the MSD)
AUC_CLICKS = 5


class MetricsError(AutoPromptSAMError):
    """Two masks cannot be compared, or a package that measures them is not installed."""


def score(
    mask: BoolArray, truth: BoolArray, spacing: Sequence[float] | None = None, tolerance: float = TOLERANCE
) -> dict[str, float]:
    """All of ``METRICS`` by name.

    ``mask``, ``truth``: bool, both (rows, cols) or both (K, J, I). ``spacing``: along the array axes in mm (for slices
    ``SliceSample.spacing``, for volumes ``Case.spacing``), None when unknown. Raises MetricsError for masks of
    different shapes or another number of dimensions, and when MONAI is not installed.
    """
    return {
        "dice": dice(mask, truth),
        "iou": iou(mask, truth),
        "hd95": hd95(mask, truth, spacing),
        "nsd": nsd(mask, truth, spacing, tolerance),
    }


def dice(mask: BoolArray, truth: BoolArray) -> float:
    """Dice overlap, 0 to 1."""
    one, other = _tensors(mask, truth)
    return float(_monai().compute_dice(one, other, include_background=True, ignore_empty=False))


def iou(mask: BoolArray, truth: BoolArray) -> float:
    """Intersection over union, 0 to 1."""
    one, other = _tensors(mask, truth)
    return float(_monai().compute_iou(one, other, include_background=True, ignore_empty=False))


def hd95(mask: BoolArray, truth: BoolArray, spacing: Sequence[float] | None = None) -> float:
    """95th percentile of the Hausdorff distance: in mm, or in pixels without ``spacing``."""
    one, other = _tensors(mask, truth)
    sides = _sides(truth, spacing)
    if not (mask.any() and truth.any()):
        worst = math.hypot(*(side * n for side, n in zip(sides, truth.shape, strict=True)))
        return worst if mask.any() or truth.any() else 0.0
    with _quiet():
        distance = _monai().compute_hausdorff_distance(
            one, other, include_background=True, percentile=95, spacing=sides
        )
    return float(distance)


def nsd(
    mask: BoolArray, truth: BoolArray, spacing: Sequence[float] | None = None, tolerance: float = TOLERANCE
) -> float:
    """Normalised surface Dice, 0 to 1; ``tolerance`` in mm, or in pixels without ``spacing``."""
    one, other = _tensors(mask, truth)
    sides = _sides(truth, spacing)
    if not (math.isfinite(tolerance) and tolerance >= 0):
        raise MetricsError(f"The tolerance of the surface Dice must be a length from 0, not {tolerance}.")
    if not (mask.any() and truth.any()):
        return float(mask.any() == truth.any())
    with _quiet():
        part = _monai().compute_surface_dice(
            one, other, class_thresholds=[tolerance], include_background=True, spacing=sides, use_subvoxels=True
        )
    return float(part)


def dice_auc(dices: Sequence[float], clicks: int = AUC_CLICKS) -> float:
    """Normalised area under Dice over the number of clicks, 0 to 1, by the trapezoid rule.

    ``dices[n]`` is the Dice after n + 1 clicks; the first ``clicks`` count (what a box gave before the first click
    does not). A user who stopped earlier because nothing was wrong any more keeps the last value. The DSC_AUC of the
    CVPR 2025 challenge "Foundation models for interactive 3D biomedical image segmentation" over its five clicks is
    this times 4, the width of the interval. NaN without any Dice.
    """
    if clicks < 2:
        raise MetricsError(f"An area needs at least 2 clicks, not {clicks}.")
    if not len(dices):
        return math.nan
    kept = [float(value) for value in dices[:clicks]]
    kept += [kept[-1]] * (clicks - len(kept))
    return (sum(kept) - (kept[0] + kept[-1]) / 2) / (clicks - 1)


def clicks_to_reach(dices: Sequence[float], target: float) -> int | None:
    """Number of clicks after which the Dice was at least ``target`` for the first time; None when it never was.

    ``dices[n]`` is the Dice after n + 1 clicks. Means over images count a failure as the largest number of clicks that
    was allowed (NoC@85 and NoC@90 with 20 clicks, as in Sofiiuk et al., RITM, ICIP 2022); that is left to the caller.
    """
    return next((number + 1 for number, value in enumerate(dices) if value >= target), None)


def video_metrics(masks: Iterable[NDArray[Any]], truths: Iterable[BoolArray]) -> dict[str, float]:
    """The six measures of the SUN-SEG benchmark (Ji et al., Machine Intelligence Research 2022), by ``pysodmetrics``.

    ``masks``: for each frame of one video bool, or probabilities 0 to 1, (rows, cols). ``truths``: bool of the same
    shape. The mean over the frames of: S-measure (alpha .5), E-measure and F-measure (beta² .3) as means over 256
    thresholds, weighted F-measure (beta 1), Dice and sensitivity at probability .5. The lowest threshold is 0, which
    takes every pixel, so a perfect mask has an E- and F-measure of just under 1. Give frames that show the object, as
    SUN-SEG does: F-measures are 0 on others, whatever was found. SUN-SEG also leaves out the first and last frame of a
    video and averages over videos; both are left to the caller. Raises MetricsError for no frames or other shapes,
    and when the package is not installed.
    """
    sod = _sod()
    measures = {
        "s_measure": sod.Smeasure(),
        "e_measure": sod.Emeasure(),
        "weighted_f": sod.WeightedFmeasure(),
        "f_measure": sod.FmeasureV2(
            {"f": sod.FmeasureHandler(with_adaptive=False, with_dynamic=True, with_binary=False, beta=0.3)}
        ),
    }
    overlaps: list[tuple[float, float]] = []
    for mask, truth in zip(masks, truths, strict=True):
        if mask.shape != truth.shape or truth.ndim != 2 or truth.dtype != np.bool_:
            raise MetricsError(f"A frame has {mask.shape} pixels and its truth {truth.shape} ({truth.dtype}); fix it.")
        found = np.asarray(mask, dtype=np.float64)
        if not (found.min() >= 0 and found.max() <= 1):  # NaN too
            raise MetricsError("Probabilities must be from 0 to 1; apply a sigmoid to logits first.")
        for measure in measures.values():
            measure.step(found, truth, normalize=False)
        overlaps.append(_overlaps(found >= 0.5, truth))
    if not overlaps:
        raise MetricsError("There are no frames to measure; give at least one.")
    results = {name: measure.get_results() for name, measure in measures.items()}
    dices, sensitivities = np.array(overlaps).T
    return {
        "s_measure": float(results["s_measure"]["sm"]),
        "e_measure": float(np.mean(results["e_measure"]["em"]["curve"])),
        "weighted_f": float(results["weighted_f"]["wfm"]),
        "f_measure": float(np.mean(results["f_measure"]["f"]["dynamic"])),
        "dice": float(dices.mean()),
        "sensitivity": float(sensitivities.mean()),
    }


def _overlaps(mask: BoolArray, truth: BoolArray) -> tuple[float, float]:
    """Dice and sensitivity; 1 where there is nothing to find and nothing was found."""
    common, size, both = np.count_nonzero(mask & truth), np.count_nonzero(truth), mask.sum() + truth.sum()
    return (2 * common / both if both else 1.0), (common / size if size else float(not mask.any()))


def _tensors(mask: BoolArray, truth: BoolArray) -> tuple[torch.Tensor, torch.Tensor]:
    """Both masks as (1, 1, ...) tensors, cut to the smallest block that holds both."""
    import torch

    if mask.shape != truth.shape:
        raise MetricsError(f"The mask has shape {mask.shape} and the truth {truth.shape}; give both alike.")
    if truth.ndim not in (2, 3) or mask.dtype != np.bool_ or truth.dtype != np.bool_:
        raise MetricsError(
            f"Masks must be bool with 2 or 3 dimensions, not {mask.dtype} and {truth.dtype} with {truth.ndim}."
        )
    # Background around both changes nothing, and a whole CT as floats takes gigabytes.
    window = (ndimage.find_objects((mask | truth).view(np.uint8)) or [...])[0]
    one, other = (torch.from_numpy(np.ascontiguousarray(array[window]))[None, None] for array in (mask, truth))
    return one, other


def _sides(truth: BoolArray, spacing: Sequence[float] | None) -> tuple[float, ...]:
    sides = (1.0,) * truth.ndim if spacing is None else tuple(float(side) for side in spacing)
    if len(sides) != truth.ndim or not all(math.isfinite(side) and side > 0 for side in sides):
        raise MetricsError(f"The spacing {spacing} must be {truth.ndim} lengths above 0, one for each array axis.")
    return sides


@contextmanager
def _quiet() -> Iterator[None]:
    """MONAI 1.6 calls its own functions with an argument that it warns of."""
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", FutureWarning)
        yield


def _monai() -> Any:
    try:
        import monai.metrics
    except ImportError:
        raise MetricsError(
            'MONAI measures masks and is not installed; run: pip install "autopromptsam[bench]"'
        ) from None
    return monai.metrics


def has_video_metrics() -> bool:
    """Whether ``video_metrics`` can run: its package is an extra of its own."""
    return importlib.util.find_spec("py_sod_metrics") is not None


def _sod() -> Any:
    try:
        return importlib.import_module("py_sod_metrics")
    except ImportError:
        raise MetricsError(
            'pysodmetrics measures videos and is not installed; run: pip install "autopromptsam[video]"'
        ) from None
