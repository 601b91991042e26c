"""Training a Multi-Prompt Adapter (MedSAM-U, §3.1): boxes that fit and that do not, and clicks, on all sets at once.

The model's encoder and decoder stay frozen. Adapters behind the encoder are trained on embeddings that were computed
once, so that a CPU is enough; those in its blocks need the encoder in every step and are not trained here.
"""

from __future__ import annotations

import logging
import time
from collections.abc import Iterator, Sequence
from dataclasses import dataclass

import numpy as np
import torch
from numpy.typing import NDArray
from scipy import ndimage
from torch.optim.swa_utils import AveragedModel, get_ema_multi_avg_fn
from torchvision.ops import sigmoid_focal_loss

from AutoPromptSAMLib.backbones.base import Features, Frame
from AutoPromptSAMLib.backbones.multi_prompt_adapter import AdaptedBackbone
from AutoPromptSAMLib.errors import PromptError
from AutoPromptSAMLib.prompts import PixelPrompts
from AutoPromptSAMLib.prompts.simulators import box_at_iou, click_at_centre, random_clicks, tight_box
from AutoPromptSAMLib.training.learn import Control, schedule
from AutoPromptSAMLib.training.losses import dice_loss
from AutoPromptSAMLib.training.pool import REGION, Source
from AutoPromptSAMLib.training.shots import View

logger = logging.getLogger(__name__)

# All of these are choices. Shares of prompts: the paper names points and boxes without saying how often each.
_BOX, _POINTS = 0.35, 0.25  # alone; the rest are both together
_MADE_UP = 0.2  # of the objects, where there are labelled ones too; regions never get points alone
_TIGHT = 0.35  # of the boxes; the others have an IoU with the tight box of ``_LOOSE``
_LOOSE = (0.4, 0.95)
_SHAKE = 0.015  # of a side: how exact a tight box is
_MOST_POINTS = 10
_NEGATIVE = 0.25  # of the prompts with points get background ones too
_MOST_NEGATIVE = 3
_PIECES = 3  # largest pieces of a mask that are objects of their own
_AREA = (40, 0.6)  # pixels of 256 a side, and part of the image
_TOGETHER = (2, 40)  # so many pieces are one object together, too
_FOCAL = {"alpha": 0.25, "gamma": 2.0}


@dataclass(frozen=True)
class AdapterSettings:
    """``images`` a step, each with ``prompts``; the running mean of the weights, by ``averaging``, is what is kept."""

    minutes: float = 60.0
    images: int = 2
    prompts: int = 6
    learning_rate: float = 2e-3
    averaging: float = 0.995
    seed: int = 0


@dataclass(frozen=True, eq=False)
class Item:
    """An encoded image and the objects on it, each packed (``np.packbits``), with whether it is made up."""

    view: View
    objects: tuple[tuple[bool, NDArray[np.uint8]], ...]

    @property
    def side(self) -> int:
        """Pixels of a mask along a side."""
        return int(self.view.image.shape[-1])

    def mask(self, index: int) -> NDArray[np.bool_]:
        """One object's mask (side, side)."""
        bits = np.unpackbits(self.objects[index][1], count=self.side**2)
        return bits.reshape(self.side, self.side).astype(bool)


def items_of(source: Source) -> list[Item]:
    """Every view of a source's shots that shows an object of a useful size: pieces of a label, and few together."""
    found = []
    for shot in source.shots:
        for view in shot.views:
            objects = [
                (name.startswith(REGION), np.packbits(mask))
                for name, label in zip(shot.objects, view.masks, strict=True)
                for mask in _objects(label.numpy() >= 128, together=not name.startswith(REGION))
            ]
            if objects:
                found.append(Item(view, tuple(objects)))
    return found


def _objects(label: NDArray[np.bool_], together: bool) -> Iterator[NDArray[np.bool_]]:
    pieces, count = ndimage.label(label)
    areas = np.bincount(pieces.ravel(), minlength=1)[1:]
    scale = label.size / 256**2
    for number in np.argsort(-areas)[:_PIECES]:
        if _AREA[0] * scale <= areas[number] <= _AREA[1] * label.size:
            yield pieces == number + 1
    if together and _TOGETHER[0] <= count <= _TOGETHER[1] and areas.sum() >= 2 * _AREA[0] * scale:
        yield label


def draw_prompts(mask: NDArray[np.bool_], rng: np.random.Generator, made_up: bool = False) -> PixelPrompts:
    """A box, points or both, as people give them to an object: mostly right, seldom exact."""
    kind = rng.random()
    boxed = kind < _BOX or kind >= _BOX + _POINTS or made_up
    box = _box(mask, rng) if boxed else None
    points, labels = np.zeros((0, 2)), np.zeros(0, dtype=np.int8)
    if kind >= _BOX:
        count = 1 if not boxed and rng.random() < 0.5 else int(rng.integers(1, _MOST_POINTS + 1))
        centred = count == 1 and rng.random() < 0.5
        points = click_at_centre(mask)[None] if centred else random_clicks(mask, count, rng)
        labels = np.ones(len(points), dtype=np.int8)
        if rng.random() < _NEGATIVE:
            beside = random_clicks(_beside(mask, box), int(rng.integers(1, _MOST_NEGATIVE + 1)), rng)
            points, labels = np.concatenate([points, beside]), np.append(labels, np.zeros(len(beside), np.int8))
    return PixelPrompts(points, labels, box)


def _box(mask: NDArray[np.bool_], rng: np.random.Generator) -> NDArray[np.float64]:
    if rng.random() >= _TIGHT:
        return box_at_iou(mask, float(rng.uniform(*_LOOSE)), rng)
    box = tight_box(mask)
    sides = np.tile(box[2:] - box[:2] + 1, 2)
    last = np.array(mask.shape[::-1], dtype=np.float64) - 1
    shaken = np.clip(box + rng.normal(0, _SHAKE, 4) * sides, 0, np.tile(last, 2))
    return np.concatenate([np.minimum(shaken[:2], shaken[2:]), np.maximum(shaken[:2], shaken[2:])])


def _beside(mask: NDArray[np.bool_], box: NDArray[np.float64] | None) -> NDArray[np.bool_]:
    """Background inside the box where there is some, else anywhere."""
    if box is not None:
        x0, y0, x1, y1 = np.round(box).astype(int)
        inside = np.zeros_like(mask)
        inside[y0 : y1 + 1, x0 : x1 + 1] = ~mask[y0 : y1 + 1, x0 : x1 + 1]
        if inside.any():
            return inside
    return ~mask


def adapter_loss(logits: torch.Tensor, truth: torch.Tensor) -> torch.Tensor:
    """Focal (Lin et al. 2017) plus Dice loss, unit weights, of N objects; both (N, h, w)."""
    focal: torch.Tensor = sigmoid_focal_loss(logits, truth, reduction="mean", **_FOCAL)
    return focal + dice_loss(logits, truth)


def train_adapter(
    backbone: AdaptedBackbone,
    sources: Sequence[Source],
    settings: AdapterSettings | None = None,
    control: Control | None = None,
) -> list[tuple[int, float]]:
    """Train an adapter in place for so many minutes; returns (step, loss) of every step.

    A source is drawn by the root of the number of its images. Cancelled, it keeps what it has learned.
    Raises PromptError when no image shows an object, or for adapters in the encoder's blocks.
    """
    settings = settings or AdapterSettings()
    if backbone.config.places != "output":
        raise PromptError("Adapters in the encoder's blocks cannot be trained on encoded images; use the output's.")
    pools = [pool for pool in map(items_of, sources) if pool]
    if not pools:
        raise PromptError("No image shows an object that is large enough; give other sets.")
    shares = np.sqrt([len(pool) for pool in pools])
    rng = np.random.default_rng(settings.seed)
    parameters = backbone.train()
    optimiser = torch.optim.AdamW(parameters, lr=settings.learning_rate)
    mean = AveragedModel(backbone.own, multi_avg_fn=get_ema_multi_avg_fn(settings.averaging))
    history: list[tuple[int, float]] = []
    started = time.monotonic()
    while (share := (time.monotonic() - started) / 60 / settings.minutes) < 1:
        if control is not None:
            if control.cancelled:
                break
            control.report(round(100 * share), 100, "Training")
        for group in optimiser.param_groups:
            group["lr"] = settings.learning_rate * schedule(share)
        optimiser.zero_grad()
        total = 0.0
        for _ in range(settings.images):
            pool = pools[int(rng.choice(len(pools), p=shares / shares.sum()))]
            loss = _loss(backbone, pool[int(rng.integers(len(pool)))], settings.prompts, rng) / settings.images
            loss.backward()
            total += float(loss.detach())
        torch.nn.utils.clip_grad_norm_(parameters, 1.0)
        optimiser.step()
        mean.update_parameters(backbone.own)
        history.append((len(history) + 1, total))
    if history:
        backbone.own.load_state_dict(mean.module.state_dict())
    backbone.train(False)
    return history


def _loss(backbone: AdaptedBackbone, item: Item, count: int, rng: np.random.Generator) -> torch.Tensor:
    labelled = [n for n, (made_up, _) in enumerate(item.objects) if not made_up]
    made_up = [n for n, (is_made_up, _) in enumerate(item.objects) if is_made_up]
    prompts, masks = [], []
    for _ in range(count):
        among = labelled if labelled and (not made_up or rng.random() >= _MADE_UP) else made_up
        index = among[int(rng.integers(len(among)))]
        masks.append(item.mask(index))
        prompts.append(draw_prompts(masks[-1], rng, item.objects[index][0]))
    # The masks lie on the encoder's square, padding included.
    frame = Frame.stretched(item.side, item.side, backbone.card.input_size)
    features = Features(item.view.embedding[None].to(backbone.device).float(), frame)
    logits = backbone.decode(features, backbone.embed_prompts(frame, prompts)).low_res[:, 0]
    truth = torch.as_tensor(np.stack(masks), dtype=torch.float32, device=logits.device)
    return adapter_loss(logits, torch.nn.functional.adaptive_avg_pool2d(truth, (logits.shape[-2], logits.shape[-1])))
