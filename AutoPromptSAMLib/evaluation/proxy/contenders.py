"""Ways to find objects in an image with the help of annotated ones: this library's, and simpler ones beside it.

| name | what it is | uses the supports |
|---|---|---|
| ``proxy`` | the Proxy Prompt network | yes |
| ``persam`` | see ``persam`` | yes |
| ``nearest-copy`` | every cell of the embedding takes the label of the support cell that is most like it | yes |
| ``true-box`` | the bare model with the tight box around the truth: what a perfect box would give | no |
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from typing import TYPE_CHECKING, Protocol

import numpy as np

from AutoPromptSAMLib.evaluation.errors import BenchError
from AutoPromptSAMLib.evaluation.proxy.cells import Mask, by_object, coverage, directions, on_image
from AutoPromptSAMLib.evaluation.proxy.targets import Find, Target

if TYPE_CHECKING:
    import torch

    from AutoPromptSAMLib.backbones import Backbone
    from AutoPromptSAMLib.prompters.base import Support
    from AutoPromptSAMLib.prompters.proxy_prompt.network import ProxyPromptNetwork

CONTENDERS = ("proxy", "persam", "nearest-copy", "true-box")


class Contender(Protocol):
    """Looks at annotated images once, and then finds their objects in any number of others."""

    def prepare(self, supports: Sequence[Support], objects: tuple[str, ...]) -> Find:
        """What finds bool masks (rows, cols) of ``objects``, which the ``supports`` show.

        Raises PromptError when an object is in none of the supports.
        """


def contender(
    name: str, backbone: Backbone, network: ProxyPromptNetwork | None = None, copying: bool = False
) -> Contender:
    """The contender called so; ``copying`` as for ``ProxyPrompter``.

    Raises BenchError for an unknown name, and for "proxy" without a network.
    """
    from AutoPromptSAMLib.evaluation.proxy.persam import PerSam

    if name == "proxy":
        if network is None:
            raise BenchError("The contender proxy needs a network; learn one or use the general weights.")
        return Proxy(backbone, network, copying)
    simple: dict[str, Callable[[Backbone], Contender]] = {
        "persam": PerSam,
        "nearest-copy": NearestCopy,
        "true-box": TrueBox,
    }
    if name not in simple:
        raise BenchError(f'There is no contender "{name}"; choose from {", ".join(CONTENDERS)}.')
    return simple[name](backbone)


class Proxy:
    """The Proxy Prompt network with what it refines masks by, as the loops use it."""

    def __init__(self, backbone: Backbone, network: ProxyPromptNetwork, copying: bool = False) -> None:
        from AutoPromptSAMLib.prompters.proxy_prompt.prompter import ProxyPrompter

        self._backbone, self._prompter = backbone, ProxyPrompter(network.eval(), backbone, copying)

    def prepare(self, supports: Sequence[Support], objects: tuple[str, ...]) -> Find:
        """See ``Contender``."""
        import torch

        with torch.no_grad():
            memory = self._prompter.encode_supports(supports, objects)

        def find(target: Target) -> Mapping[str, Mask]:
            with torch.no_grad():
                prompted = self._prompter.prompt(target.features, memory, image=target.image)
                decoded = prompted.refine(self._backbone.decode(target.features, prompted.embedding))
                logits = self._backbone.upscale(decoded.low_res[:, 0], target.features.frame)
            return by_object(objects, logits > 0)

        return find


class NearestCopy:
    """Copies labels cell by cell: no model decodes, nothing is learned.

    Every cell of the target takes what part of its nearest support cell (by the cosine of their features, over all
    supports) the mask covers; that is brought to the image's size bilinearly, and half covered counts as object.
    """

    def __init__(self, backbone: Backbone) -> None:
        self._backbone = backbone

    def prepare(self, supports: Sequence[Support], objects: tuple[str, ...]) -> Find:
        """See ``Contender``."""
        import torch
        from torch.nn import functional as F

        _check(supports, objects)
        with torch.no_grad():
            known = [self._cells(support, objects) for support in supports]

        def find(target: Target) -> Mapping[str, Mask]:
            with torch.no_grad():
                queries = directions(target.features)
                best = queries.new_full((len(queries),), -torch.inf)
                labels = queries.new_zeros(len(objects), len(queries))
                for keys, covered in known:
                    likeness, nearest = (queries @ keys.T).max(dim=1)
                    labels = torch.where(likeness > best, covered[:, nearest], labels)
                    best = torch.maximum(best, likeness)
                rows, cols = target.features.embedding.shape[-2:]
                inside = torch.from_numpy(on_image(target.features.frame, rows, cols)).to(labels.device)
                there = torch.where(inside, labels.unflatten(1, (rows, cols)), 0.0) - 0.5
                low_res = F.interpolate(there[:, None], (4 * rows, 4 * cols), mode="bilinear", align_corners=False)
                return by_object(objects, self._backbone.upscale(low_res[:, 0], target.features.frame) > 0)

        return find

    @staticmethod
    def _cells(support: Support, objects: Sequence[str]) -> tuple[torch.Tensor, torch.Tensor]:
        """Directions (M, C) and coverage (N, M) of the cells that lie on the support's image."""
        import torch

        keys = directions(support.features)
        rows, cols = support.features.embedding.shape[-2:]
        inside = torch.from_numpy(on_image(support.features.frame, rows, cols).ravel()).to(keys.device)
        return keys[inside], coverage(support, objects).flatten(1).to(keys.device)[:, inside]


class TrueBox:
    """One decode of the bare model with the tight box around the truth."""

    def __init__(self, backbone: Backbone) -> None:
        self._backbone = backbone

    def prepare(self, supports: Sequence[Support], objects: tuple[str, ...]) -> Find:
        """See ``Contender``; the supports do not matter."""
        import torch

        from AutoPromptSAMLib.loops.regions import bounding_box
        from AutoPromptSAMLib.loops.tracking import decode_prompts
        from AutoPromptSAMLib.prompts import PixelPrompts

        def find(target: Target) -> Mapping[str, Mask]:
            found = {name: np.zeros(target.image.shape[:2], dtype=bool) for name in objects}
            there = [name for name in objects if name in target.truths and target.truths[name].any()]
            if there:
                prompts = [PixelPrompts(box=bounding_box(target.truths[name])) for name in there]
                with torch.no_grad():
                    logits = decode_prompts(self._backbone, target.features, prompts)
                found.update(zip(there, logits > 0, strict=True))
            return found

        return find


def _check(supports: Sequence[Support], objects: Sequence[str]) -> None:
    from AutoPromptSAMLib.errors import PromptError

    for name in objects:
        if not any(support.has(name) for support in supports):
            raise PromptError(f"No example shows {name!r}; add an image with a mask of it.")
