"""Proxy Prompt as a prompter for SAM-like backbones."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import replace

import numpy as np
import torch

from AutoPromptSAMLib.backbones.base import Backbone, Features, Frame, PromptEmbedding
from AutoPromptSAMLib.errors import ModelError, PromptError
from AutoPromptSAMLib.prompters.base import Prompted, Request, Support
from AutoPromptSAMLib.prompters.proxy_prompt.canvas import image_canvas, mask_canvas
from AutoPromptSAMLib.prompters.proxy_prompt.label_copy import copied, labelled_cells
from AutoPromptSAMLib.prompters.proxy_prompt.memory import SupportMemory
from AutoPromptSAMLib.prompters.proxy_prompt.network import ProxyPromptNetwork
from AutoPromptSAMLib.prompts import PixelPrompts

Refinement = Callable[[torch.Tensor], torch.Tensor]

# Supports are encoded so many at a time, so that memory does not grow with their number.
_AT_ONCE = 4


class ProxyPrompter:
    """See ``Prompter``: prompts are tokens, an optional dense prompt, and a refinement of the decoded masks.

    Tokens are sparse prompts, or SAM 2's memory where the network's configuration and the backbone have one.
    ``encode_supports`` once and ``prompt`` for every image; calling it does both. Gradients flow into ``network``
    unless the caller forbids them. With ``copying``, for a network that has not learned the task, copied labels have a
    vote in its answers (``label_copy``). Raises ModelError for a network whose tokens go into a memory and a backbone
    without one.
    """

    def __init__(self, network: ProxyPromptNetwork, backbone: Backbone, copying: bool = False) -> None:
        if network.config.memory != "none" and not backbone.capabilities.memory:
            raise ModelError(
                f"This Proxy Prompt network writes into a model's memory, and {backbone.card.title} has none; choose "
                "a SAM 2 model, or a network that was trained without a memory."
            )
        self.network = network.to(backbone.device)
        self.backbone = backbone
        self.copying = copying
        self.code = backbone.dense_pe().detach()
        self.no_mask = _no_mask(backbone, self.code)

    def __call__(self, features: Features, request: Request) -> Prompted:
        """See ``Prompter``. Raises PromptError without supports or when an object is in none of them."""
        memory = self.encode_supports(request.supports, request.objects)
        return self.prompt(features, memory, request.prompts, image=request.image)

    def encode_supports(self, supports: Sequence[Support], objects: tuple[str, ...]) -> SupportMemory:
        """What the network keeps of the supports, for any number of targets.

        Raises PromptError without supports or objects, and when an object is in none of the supports.
        """
        if not objects:
            raise PromptError("No object is asked for; name at least one.")
        for name in objects:
            if supports and not any(support.has(name) for support in supports):
                raise PromptError(f"No example shows {name!r}; add an image with a mask of it.")
        parts = [supports[start : start + _AT_ONCE] for start in range(0, len(supports), _AT_ONCE)]
        return SupportMemory.concatenate([self._encode(part, objects) for part in parts])

    def _encode(self, supports: Sequence[Support], objects: tuple[str, ...]) -> SupportMemory:
        device, size = self.backbone.device, self.network.config.canvas_size
        images, masks = [], []
        for support in supports:
            frame = support.features.frame
            images.append(image_canvas(support.image, frame, size))
            masks.append(mask_canvas([_mask(support, name) for name in objects], frame, size))
        embedding = torch.cat([support.features.embedding for support in supports]).to(device)
        memory = self.network.encode_supports(
            objects, embedding, torch.stack(images).to(device), torch.stack(masks).to(device)
        )
        if not self.copying:
            return memory
        grid = self.network.config.grid
        encodings = (
            replace(encoding, cells=labelled_cells(support.features.to(device), mask, grid))
            for encoding, support, mask in zip(memory.supports, supports, masks, strict=True)
        )
        return replace(memory, supports=tuple(encodings))

    def prompt(
        self,
        features: Features,
        memory: SupportMemory,
        prompts: Mapping[str, PixelPrompts] | None = None,
        *,
        image: np.ndarray | None = None,
        chunked: bool | None = None,
        top_k: int | None = None,
    ) -> Prompted:
        """Prompts for ``memory.objects`` in the image of ``features``, a batch of 1.

        ``prompts`` of the user join the tokens of their object; a user's mask takes the place of the dense prompt.
        ``image`` (rows, cols, 3) uint8, as it was encoded, is what masks are refined from; without it they are not.
        ``chunked`` and ``top_k`` as in ``selective_map.read_out``. Raises PromptError for more than one image.
        """
        if len(features) != 1:
            raise PromptError(f"Prompts are made for one image at a time, not {len(features)}; pass them one by one.")
        features = features.to(self.backbone.device)
        canvas = None
        if image is not None and self.network.config.detail_size:
            canvas = image_canvas(image, features.frame, self.network.config.canvas_size)[None].to(
                self.backbone.device
            )
        out = self.network(features.embedding, memory, self.code, canvas, chunked=chunked, top_k=top_k)
        embedding = out.embedding(self.no_mask)
        diagnostics = {"copied_mask": out.copied, "auxiliary": out.auxiliary, "confidence": out.confidence}
        joined = self._joined(embedding, features.frame, memory.objects, prompts or {})
        return Prompted(memory.objects, joined, diagnostics, self._refinement(features, memory, out.refine))

    def _refinement(self, features: Features, memory: SupportMemory, refine: Refinement | None) -> Refinement | None:
        """What is added to decoded logits: the network's fine detail, and what copied labels change."""
        if not (self.copying and memory.cells):
            return refine
        with torch.no_grad():
            second = copied(features, memory.cells, self.network.config.grid)

        def joined(logits: torch.Tensor) -> torch.Tensor:
            own = logits if refine is None else logits + refine(logits)
            return second.joined(own) - logits

        return joined

    def _joined(
        self, own: PromptEmbedding, frame: Frame, objects: tuple[str, ...], prompts: Mapping[str, PixelPrompts]
    ) -> PromptEmbedding:
        given = [prompts.get(name, PixelPrompts()) for name in objects]
        if all(prompt.is_empty for prompt in given):
            return own
        theirs = self.backbone.embed_prompts(frame, given)
        if theirs.dense is not None and own.dense is not None:
            # Only objects with a mask of the user's lose the network's dense prompt.
            has_mask = torch.tensor([prompt.mask is not None for prompt in given], device=own.dense.device)
            dense = torch.where(has_mask[:, None, None, None], theirs.dense, own.dense)
            theirs = PromptEmbedding(theirs.sparse, dense, theirs.lengths)
        return own.join(theirs)


def _mask(support: Support, name: str) -> np.ndarray:
    """The object's mask, an empty one when the support has none."""
    return support.masks.get(name, np.zeros(support.image.shape[:2], dtype=bool))


def _no_mask(backbone: Backbone, code: torch.Tensor) -> torch.Tensor:
    """The backbone's own dense prompt (256, h, w) of an object without a mask.

    The protocol gives it only beside an object that has a mask.
    """
    rows, cols = code.shape[-2:]
    nothing = PixelPrompts()
    embedded = backbone.embed_prompts(
        Frame(1, 1, 1, 1, 1), [nothing, nothing], [torch.zeros(4 * rows, 4 * cols), None]
    )
    assert embedded.dense is not None
    return embedded.dense[1].detach()
