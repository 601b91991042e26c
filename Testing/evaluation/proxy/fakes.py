"""A dataset of pictures on disk, learning that learns nothing, and a model that sees brightness only."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import torch
import yaml
from PIL import Image
from torch.nn import functional as F

from AutoPromptSAMLib.backbones import Backbone, Decoded, Features, Frame, PromptEmbedding
from AutoPromptSAMLib.prompters.proxy_prompt.network import ProxyPromptNetwork
from AutoPromptSAMLib.prompters.proxy_prompt.weights import save_task
from AutoPromptSAMLib.prompts import PixelPrompts
from AutoPromptSAMLib.zoo import get_card
from AutoPromptSAMLib.zoo.card import Capabilities

from ...prompters.scenes import scene, tiny_network

SIDE, CELLS = 64, 16


def make_pictures(folder: Path, count: int = 19, each: int = 1, use: str = "evaluation") -> Path:
    """``count`` pictures of a disc and a square, ``each`` of them of one patient."""
    folder.mkdir(parents=True)
    pairs = []
    for number in range(count):
        image, masks = scene(number)
        labels = np.where(masks["disc"], 1, np.where(masks["square"], 2, 0)).astype(np.uint8)
        Image.fromarray(image).save(folder / f"image{number:02}.png")
        Image.fromarray(labels).save(folder / f"mask{number:02}.png")
        names = {"image": f"image{number:02}.png", "mask": f"mask{number:02}.png"}
        pairs.append({**names, "group": f"patient{number // each}"})
    content = {
        "name": folder.name, "modality": "photograph", "dimensions": 2, "objects": {"disc": [1], "square": [2]},
        "use": use, "pairs": pairs,
    }  # fmt: skip
    (folder / "dataset.yaml").write_text(yaml.safe_dump(content), encoding="utf-8")
    return folder


class Teacher:
    """In place of learning: notes what it is given and hands out untrained networks; may stop at the n-th."""

    def __init__(self, stop_at: int | None = None, additions: Mapping[str, torch.Tensor] | None = None) -> None:
        self.calls: list[dict[str, Any]] = []
        self.additions = additions or {}
        self.stop_at = stop_at

    def __call__(
        self,
        backbone: Backbone,
        examples: Sequence[Any],
        objects: Sequence[str],
        seed: int,
        settings: Any,
        start: ProxyPromptNetwork | None,
        say: Callable[[str], None],
        checkpoint: Path,
    ) -> Untrained:
        if self.stop_at == len(self.calls):
            raise KeyboardInterrupt
        names = [example.name for example in examples]
        self.calls.append({"names": names, "objects": tuple(objects), "seed": seed, "start": start})
        return Untrained(tiny_network(seed), self.additions)


class Untrained:
    """A network as learning returns it."""

    def __init__(self, network: ProxyPromptNetwork, additions: Mapping[str, torch.Tensor]) -> None:
        self.network, self.additions = network, additions

    def save(self, path: Path, backbone: Backbone, info: Any = None) -> str:
        return save_task(self.network, path, backbone, {"seconds": 90.0, **info}, self.additions)


class Brightness:
    """The ``Backbone`` protocol: cells are dark, grey or bright, and so are objects. Keeps the prompts it was given.

    A point chooses the pixels of its own brightness, a box all bright ones in it.
    """

    def __init__(self, points: bool) -> None:
        self.card = get_card("mobile-sam" if points else "lite-medsam")
        self.device = torch.device("cpu")
        self.capabilities = Capabilities(points=points, boxes=True, masks=points, multimask=points, memory=False)
        self.fingerprint = self.features_fingerprint = "brightness"
        self.engine = "none"
        self.given: list[tuple[PixelPrompts, torch.Tensor | None]] = []

    def encode(self, images: Sequence[np.ndarray]) -> Features:
        frame = Frame.longest_side(*images[0].shape[:2], SIDE)
        grey = torch.as_tensor(images[0][..., 0], dtype=torch.float32)[None, None]
        grey = F.interpolate(grey, (frame.resized_rows, frame.resized_cols), mode="bilinear")
        grey = F.pad(grey, (0, SIDE - frame.resized_cols, 0, SIDE - frame.resized_rows))
        levels = torch.cat([(grey < 80).float(), ((grey >= 80) & (grey < 180)).float(), (grey >= 180).float()], dim=1)
        return Features(F.adaptive_avg_pool2d(levels, CELLS), frame, extras={"levels": levels})

    def embed_prompts(
        self, frame: Frame, prompts: Sequence[PixelPrompts], low_res: Sequence[Any] | None = None
    ) -> PromptEmbedding:
        self.given += [(prompt, None if low_res is None else low_res[n]) for n, prompt in enumerate(prompts)]
        scale = np.asarray(frame.scale)
        found = []
        for prompt in prompts:
            point = (prompt.points[0] + 0.5) * scale - 0.5 if len(prompt.points) else np.full(2, np.nan)
            box = np.full(4, np.nan) if prompt.box is None else (prompt.box + 0.5) * np.tile(scale, 2) - 0.5
            found.append(np.concatenate([point, box]))
        return PromptEmbedding(torch.as_tensor(np.stack(found))[:, None])

    def decode(
        self,
        features: Features,
        embedding: PromptEmbedding,
        image_index: Sequence[int] | None = None,
        multimask: bool = False,
    ) -> Decoded:
        levels, found = features.extras["levels"][0], []
        row, col = torch.arange(SIDE)[:, None], torch.arange(SIDE)
        for x, y, *box in embedding.sparse[:, 0].tolist():
            if np.isnan(box[0]):
                chosen = levels[int(levels[:, round(y), round(x)].argmax())] > 0.5
            else:
                x0, y0, x1, y1 = box
                inside = (row >= y0 - 0.5) & (row <= y1 + 0.5) & (col >= x0 - 0.5) & (col <= x1 + 0.5)
                chosen = (levels[2] > 0.5) & inside
            best = torch.where(chosen, 10.0, -10.0)
            found.append(torch.stack([-best, best, -best] if multimask else [best]))
        scores = torch.tensor([[0.1, 0.9, 0.2] if multimask else [1.0]]).expand(len(found), -1)
        return Decoded(torch.stack(found), scores)

    def upscale(self, low_res: torch.Tensor, frame: Frame) -> torch.Tensor:
        whole = F.interpolate(low_res[:, None], (SIDE, SIDE), mode="bilinear", align_corners=False)
        kept = whole[..., : frame.resized_rows, : frame.resized_cols]
        return F.interpolate(kept, (frame.rows, frame.cols), mode="bilinear", align_corners=False)[:, 0]

    def mask_to_low_res(self, mask: np.ndarray, frame: Frame) -> np.ndarray:
        raise NotImplementedError("not needed here")

    def dense_pe(self) -> torch.Tensor:
        raise NotImplementedError("it has no positional code")
