"""Training a Multi-Prompt Adapter (MedSAM-U, §3.1): boxes that fit and that do not, and clicks, on all sets at once.

The model's encoder and decoder stay frozen. Adapters behind the encoder are trained on embeddings that were computed
once, so that a CPU is enough; those in its blocks need the encoder in every step and are not trained here.

Labelled objects are few and alike. So that the adapter does not unlearn what they do not show, the plain model's own
finds are learned, too: what it finds in a random box and finds again in the box of that (after Li and Hoiem 2016,
Learning without Forgetting).
"""

from __future__ import annotations

import itertools
import time
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass

import numpy as np
import torch
from numpy.typing import NDArray
from scipy import ndimage
from torch.optim.swa_utils import AveragedModel, get_ema_multi_avg_fn
from torchvision.ops import sigmoid_focal_loss

from AutoPromptSAMLib.backbones.base import Backbone, Features, Frame
from AutoPromptSAMLib.backbones.multi_prompt_adapter import AdaptedBackbone
from AutoPromptSAMLib.errors import Cancelled, PromptError
from AutoPromptSAMLib.prompts import PixelPrompts
from AutoPromptSAMLib.prompts.simulators import box_at_iou, click_at_centre, random_clicks, tight_box
from AutoPromptSAMLib.training.losses import dice_loss
from AutoPromptSAMLib.training.pool import REGION, Source
from AutoPromptSAMLib.training.run import Control, schedule
from AutoPromptSAMLib.training.shots import View

# All of these are choices. Shares of prompts: the paper names points and boxes without saying how often each.
_BOX, _POINTS = 0.35, 0.25  # alone; the rest are both together
_THINGS = 0.4  # of the objects, where the plain model found some
_REGIONS = 0.2  # of the others, where there are labelled ones too; neither ever gets points alone
_TRIES = 12  # random boxes of an image that things are looked for in
_FOUND_AGAIN = 0.85  # Dice
_TIGHT = 0.35  # of the boxes; the others have an IoU with the tight box of ``_LOOSE``
_LOOSE = (0.4, 0.95)
_SHAKE = 0.015  # of a side: how exact a tight box is
_MOST_POINTS = 10
_NEGATIVE = 0.25  # of the prompts with points get background ones too
_MOST_NEGATIVE = 3
_PIECES = 3  # largest pieces of a mask that are objects of their own
_AREA = (40, 0.6)  # pixels of 256 a side, and part of the image
_MOST_THING = 0.8  # part of the image
_TOGETHER = (2, 40)  # so many pieces are one object together, too
_FOCAL = {"alpha": 0.25, "gamma": 2.0}

LABEL, REGION_KIND, THING = "label", "region", "thing"


@dataclass(frozen=True)
class AdapterSettings:
    """Training ends after ``minutes`` or ``steps``, whichever comes first.

    A step has ``images``, each with ``prompts``; the running mean of the weights, by ``averaging``, is what is kept.
    """

    minutes: float = 60.0
    steps: int = 10**6
    images: int = 2
    prompts: int = 6
    learning_rate: float = 2e-3
    averaging: float = 0.995
    seed: int = 0


@dataclass(frozen=True, eq=False)
class Item:
    """An encoded image and its objects: what kind each is (``LABEL``, ...), and its mask, packed (``np.packbits``)."""

    view: View
    objects: tuple[tuple[str, NDArray[np.uint8]], ...]

    @property
    def side(self) -> int:
        """Pixels of a mask along a side."""
        return int(self.view.image.shape[-1])

    def mask(self, index: int) -> NDArray[np.bool_]:
        """One object's mask (side, side)."""
        bits = np.unpackbits(self.objects[index][1], count=self.side**2)
        return bits.reshape(self.side, self.side).astype(bool)


def items_of(
    source: Source, plain: Backbone, rng: np.random.Generator, on_image: Callable[[], None] | None = None
) -> list[Item]:
    """Every view of a source's shots with the objects of a useful size: pieces of a label, few together, and things.

    ``on_image`` is called before each view, and may raise to stop.
    """
    found = []
    for shot in source.shots:
        for view in shot.views:
            if on_image is not None:
                on_image()
            objects = [
                (REGION_KIND if name.startswith(REGION) else LABEL, np.packbits(mask))
                for name, label in zip(shot.objects, view.masks, strict=True)
                for mask in _objects(label.numpy() >= 128, together=not name.startswith(REGION))
            ]
            if objects:
                objects += [(THING, np.packbits(mask)) for mask in things(plain, view, rng)]
                found.append(Item(view, tuple(objects)))
    return found


def things(plain: Backbone, view: View, rng: np.random.Generator) -> list[NDArray[np.bool_]]:
    """Masks (side, side) of what a model finds on an image in random boxes, and again in their own."""
    side = int(view.image.shape[-1])
    scale = side / view.frame.input_size
    last = np.array([view.frame.resized_cols, view.frame.resized_rows]) * scale - 1
    sizes = np.exp(rng.uniform(np.log(0.1), np.log(0.95), (_TRIES, 2))) * last
    corners = rng.uniform(size=(_TRIES, 2)) * (last - sizes)
    first = _found(plain, view, np.concatenate([corners, corners + sizes], 1))
    first = [mask for mask in first if mask.sum() >= 2 * _AREA[0] * (side / 256) ** 2]
    if not first:
        return []
    again = _found(plain, view, np.stack([tight_box(mask) for mask in first]))
    return [
        mask
        for mask, before in zip(again, first, strict=True)
        if 2 * (mask & before).sum() >= _FOUND_AGAIN * (mask.sum() + before.sum()) and mask.mean() <= _MOST_THING
    ]


def _found(plain: Backbone, view: View, boxes: NDArray[np.float64]) -> list[NDArray[np.bool_]]:
    side = int(view.image.shape[-1])
    frame = Frame.stretched(side, side, plain.card.input_size)
    features = Features(view.embedding[None].to(plain.device).float(), frame)
    with torch.no_grad():
        logits = plain.decode(features, plain.embed_prompts(frame, [PixelPrompts(box=box) for box in boxes])).low_res
        sized = torch.nn.functional.interpolate(logits, (side, side), mode="bilinear", align_corners=False)
    return list((sized[:, 0] > 0).cpu().numpy())


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

    A source is drawn by the root of the number of its images. Cancelled, it keeps what it has learned; before the
    first step, Cancelled is raised. Raises PromptError when no image shows an object, or for adapters in the encoder's
    blocks.
    """
    settings = settings or AdapterSettings()
    if backbone.config.places != "output":
        raise PromptError("Adapters in the encoder's blocks cannot be trained on encoded images; use the output's.")
    rng = np.random.default_rng(settings.seed)
    views, done = sum(len(shot.views) for source in sources for shot in source.shots), itertools.count()

    def on_image() -> None:
        if control is not None:
            if control.cancelled:
                raise Cancelled("Cancelled before anything was trained.", goes_on=False)
            control.report(next(done), views, "Looking for things")

    pools = [pool for source in sources if (pool := items_of(source, backbone.plain, rng, on_image))]
    if not pools:
        raise PromptError("No image shows an object that is large enough; give other sets.")
    shares = np.sqrt([len(pool) for pool in pools])
    parameters = backbone.train()
    optimiser = torch.optim.AdamW(parameters, lr=settings.learning_rate)
    mean = AveragedModel(backbone.own, multi_avg_fn=get_ema_multi_avg_fn(settings.averaging))
    history: list[tuple[int, float]] = []
    started = time.monotonic()

    def done_share() -> float:
        return max((time.monotonic() - started) / 60 / settings.minutes, len(history) / settings.steps)

    while (share := done_share()) < 1:
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
    prompts, masks = [], []
    for _ in range(count):
        index = _drawn(item, rng)
        masks.append(item.mask(index))
        prompts.append(draw_prompts(masks[-1], rng, item.objects[index][0] != LABEL))
    # The masks lie on the encoder's square, padding included.
    frame = Frame.stretched(item.side, item.side, backbone.card.input_size)
    features = Features(item.view.embedding[None].to(backbone.device).float(), frame)
    logits = backbone.decode(features, backbone.embed_prompts(frame, prompts)).low_res[:, 0]
    truth = torch.as_tensor(np.stack(masks), dtype=torch.float32, device=logits.device)
    return adapter_loss(logits, torch.nn.functional.adaptive_avg_pool2d(truth, (logits.shape[-2], logits.shape[-1])))


def _drawn(item: Item, rng: np.random.Generator) -> int:
    """Which object is next."""
    kinds = {
        kind: [n for n, (own, _) in enumerate(item.objects) if own == kind] for kind in (LABEL, REGION_KIND, THING)
    }
    if kinds[THING] and rng.random() < _THINGS:
        among = kinds[THING]
    elif kinds[LABEL] and (not kinds[REGION_KIND] or rng.random() >= _REGIONS):
        among = kinds[LABEL]
    else:
        among = kinds[REGION_KIND] or kinds[THING]
    return among[int(rng.integers(len(among)))]
