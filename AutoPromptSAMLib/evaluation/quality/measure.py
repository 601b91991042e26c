"""One case: an object of a slice or of a volume, a model, a method, a prompt -> a row of the log."""

from __future__ import annotations

from collections.abc import Callable
from functools import partial
from typing import TYPE_CHECKING

import numpy as np

from AutoPromptSAMLib.evaluation.metrics import AUC_CLICKS, dice_auc, has_video_metrics, score, video_metrics
from AutoPromptSAMLib.evaluation.quality.records import CaseRow, finite, pack_mask
from AutoPromptSAMLib.evaluation.quality.slices import (
    encode,
    prompts_to_json,
    segment_once,
    segment_with_corrections,
)
from AutoPromptSAMLib.evaluation.quality.volumes import CORRECTIONS, VOLUME_USER, largest_slice, segment_volume
from AutoPromptSAMLib.prompts.simulators import correction_click, get_simulator

if TYPE_CHECKING:
    from AutoPromptSAMLib.backbones import Backbone
    from AutoPromptSAMLib.backbones.cache import EmbeddingCache
    from AutoPromptSAMLib.datasets import Case, SliceSample
    from AutoPromptSAMLib.session.local import LocalSession


def measure_slice(
    backbone: Backbone,
    cache: EmbeddingCache,
    sample: SliceSample,
    method: str,
    prompt: str,
    rng: np.random.Generator,
    is_frame: bool = False,
) -> CaseRow:
    """Segment an object on a slice and score the mask, in mm where pixels have a size.

    A frame of a video gets the measures for videos too: their mean over frames is that of the video.

    Raises PromptError when the object does not allow such a prompt or the model does not take it.
    """
    simulator = get_simulator(prompt)
    first = simulator.prompts(sample.truth, rng, sample.scribbles)
    features, encoded = encode(backbone, cache, sample.image)
    if simulator.kind == "user":
        answer = segment_with_corrections(
            backbone, features, first, sample.truth, partial(correction_click, sample.truth), method
        )
    else:
        answer = segment_once(backbone, features, first, method)
    seconds = {"decode": answer.seconds}
    if encoded is not None:
        seconds["encode"] = encoded
    metrics = score(answer.mask, sample.truth, sample.spacing) | (answer.figures or {})
    if is_frame and has_video_metrics():
        metrics = video_metrics([answer.mask], [sample.truth]) | metrics
    return CaseRow(
        dataset=sample.dataset,
        group=sample.group,
        pair=sample.pair,
        sample=sample.id,
        object=sample.object,
        model=backbone.card.name,
        method=method,
        prompt=prompt,
        metrics=finite(metrics),
        unit="px" if sample.spacing is None else "mm",
        engine=backbone.engine,
        seconds=seconds,
        trace=answer.trace,
        given=prompts_to_json(answer.prompts),
        mask=pack_mask(answer.mask),
    )


def measure_volume(
    session: LocalSession,
    case: Case,
    name: str,
    prompt: str,
    stop: Callable[[], bool] = lambda: False,
) -> CaseRow:
    """Segment an object in the volume of ``case``, which ``session`` has as its image, and score the mask in 3D.

    The volume's own slices are gone through. Raises Cancelled when ``stop`` says so.
    """
    from AutoPromptSAMLib.datasets import native_axis

    truth = case.masks[name]
    axis = native_axis(case.volume.geometry)
    answer = segment_volume(session, name, truth, axis, CORRECTIONS if prompt == VOLUME_USER else 0, stop)
    figures = {}
    # Propagating again from the same box is remembered, so only the box alone tells how long it takes.
    seconds = {"propagate": answer.seconds[0]}
    if prompt == VOLUME_USER:
        figures[f"dice_auc{AUC_CLICKS}"] = dice_auc(answer.trace[1:] or answer.trace)
        seconds = {"correct": float(np.mean(answer.seconds[1:]))} if answer.clicks else {}
    worst = largest_slice(answer.mask ^ truth, axis)
    return CaseRow(
        dataset=case.dataset,
        group=case.pair.group,
        pair=case.pair.id,
        sample=f"{case.pair.id}:{name}",
        object=name,
        model=session.backbone.card.name,
        method="interactive",
        prompt=prompt,
        metrics=finite({**score(answer.mask, truth, case.spacing), **figures}),
        unit="px" if case.spacing is None else "mm",
        engine=session.backbone.engine,
        seconds=seconds,
        trace=answer.trace,
        view=(axis, worst),
        mask=pack_mask(np.take(answer.mask, worst, axis)),
    )
