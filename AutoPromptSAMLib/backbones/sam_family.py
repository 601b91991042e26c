"""Prompt embedding and batch-safe decoding that every SAM-like model shares.

The prompt encoder and the mask decoder are ``segment_anything.modeling``'s own modules. Its ``MaskDecoder.forward``
repeats one image over all prompts; here object n is decoded in image ``image_index[n]``, by an engine.
"""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Hashable, Iterator, Sequence
from functools import lru_cache, partial
from typing import TYPE_CHECKING, Any

import numpy as np
import torch
from segment_anything.modeling import MaskDecoder, PromptEncoder, TwoWayTransformer
from torch import nn
from torch.nn import functional as F

from AutoPromptSAMLib.backbones.base import Decoded, Features, Frame, PromptEmbedding
from AutoPromptSAMLib.backbones.engines import Engine, choose_engine
from AutoPromptSAMLib.backbones.engines.torch_engine import TorchEngine
from AutoPromptSAMLib.backbones.mask_decoder import LeanMaskDecoder, decode_as_published
from AutoPromptSAMLib.backbones.preprocess import Preprocessor
from AutoPromptSAMLib.errors import PromptError

if TYPE_CHECKING:
    from AutoPromptSAMLib.prompts import PixelPrompts
    from AutoPromptSAMLib.zoo.card import ModelCard


# How many images are encoded and how many objects decoded at once. An object needs about 30 MB in the decoder; four
# share what is computed from the image, and more at once gain nothing on the CPU.
_IMAGES_AT_ONCE = {"cpu": 1, "accelerator": 8}
_OBJECTS_AT_ONCE = {"cpu": 4, "accelerator": 32}
# A mask prompt made from a binary mask: ±10 is how sure SAM's own low-resolution logits are inside and outside of an
# object (a choice; SAM 2 uses the same scale and bias, 20 and −10, for masks that enter its memory).
_MASK_LOGIT = 10.0


def build_prompt_encoder(input_size: int) -> PromptEncoder:
    """SAM's prompt encoder for a 64×64 embedding (segment_anything/build_sam.py)."""
    return PromptEncoder(256, (64, 64), (input_size, input_size), mask_in_chans=16)


def build_mask_decoder() -> MaskDecoder:
    """SAM's mask decoder (segment_anything/build_sam.py)."""
    return MaskDecoder(
        num_multimask_outputs=3,
        transformer=TwoWayTransformer(depth=2, embedding_dim=256, mlp_dim=2048, num_heads=8),
        transformer_dim=256,
        iou_head_depth=3,
        iou_head_hidden_dim=256,
    )


class SamNetwork(nn.Module):
    """The three parts under the names that official checkpoints use."""

    def __init__(self, image_encoder: nn.Module, input_size: int) -> None:
        super().__init__()
        self.image_encoder = image_encoder
        self.prompt_encoder = build_prompt_encoder(input_size)
        self.mask_decoder = build_mask_decoder()


class SamBackbone:
    """A SAM-like model behind the ``Backbone`` protocol."""

    def __init__(
        self,
        card: ModelCard,
        network: nn.Module,
        preprocessor: Preprocessor,
        fingerprint: str,
        device: torch.device,
    ) -> None:
        # Frozen rather than under inference_mode: prompters are trained through decode, and an inference tensor cannot
        # take part in that. Without parameters that need gradients no graph is recorded, so nothing is lost.
        self.network: Any = network.eval().requires_grad_(False).to(device)
        # One core of a Xeon takes 12 ms instead of 40 for the transposed convolutions in this order.
        self._mask_decoder.output_upscaling.to(memory_format=torch.channels_last)
        self.card = card
        self.device = device
        self._kind = "cpu" if device.type == "cpu" else "accelerator"
        self.capabilities = card.capabilities
        self.fingerprint = self.features_fingerprint = f"{fingerprint}/{preprocessor.name}"
        self._preprocessor = preprocessor
        self._dense_pe: torch.Tensor = self._prompt_encoder.get_dense_pe()
        self._set_up()

    def _set_up(self) -> None:
        self._lean = LeanMaskDecoder(self._mask_decoder, self._dense_pe).eval()
        self._plain = TorchEngine(self.network.image_encoder, self._lean, self.device)
        self._engine: Engine = self._plain
        self._as_loaded = self._state()

    def use_engine(self, asked: str, weights_sha256: str) -> None:
        """Let the engine called ``asked`` compute what it can; see ``choose_engine``."""
        encoder = self.network.image_encoder
        size = self.card.input_size
        self._engine = choose_engine(asked, self._plain, encoder, self._lean, size, weights_sha256, self.device)

    @property
    def engine(self) -> str:
        """See ``Backbone.engine``."""
        return self._engine_for().name

    def _state(self) -> list[tuple[nn.Parameter, int, bool]]:
        return [(p, p._version, p.requires_grad) for p in self.network.parameters()]

    def _is_as_loaded(self) -> bool:
        state = self._state()
        return len(state) == len(self._as_loaded) and all(
            now[0] is then[0] and now[1:] == then[1:] for now, then in zip(state, self._as_loaded, strict=True)
        )

    def _engine_for(self, *inputs: torch.Tensor) -> Engine:
        """PyTorch where gradients are wanted, and as long as an adapter or training has changed the network."""
        if not self._is_as_loaded():
            published = partial(decode_as_published, self._mask_decoder, self._dense_pe)
            return TorchEngine(self.network.image_encoder, published, self.device)
        if torch.is_grad_enabled() and any(tensor.requires_grad for tensor in inputs):
            return self._plain
        return self._engine

    @property
    def _prompt_encoder(self) -> PromptEncoder:
        return self.network.prompt_encoder

    @property
    def _mask_decoder(self) -> MaskDecoder:
        return self.network.mask_decoder

    def dense_pe(self) -> torch.Tensor:
        """Positional code (1, 256, h, w) of the cell centres of the embedding."""
        return self._dense_pe

    def encode(self, images: Sequence[np.ndarray]) -> Features:
        """See ``Backbone.encode``."""
        images = list(images)
        batch = self._preprocessor(images)
        frame = self._preprocessor.frame(*images[0].shape[:2])
        parts = [self._encode_batch(part.to(self.device)) for part in batch.split(_IMAGES_AT_ONCE[self._kind])]
        return Features.concatenate([Features(embedding, frame, high_res) for embedding, high_res in parts])

    def _encode_batch(self, batch: torch.Tensor) -> tuple[torch.Tensor, tuple[torch.Tensor, ...]]:
        return self._engine_for(batch).encode(batch), ()

    # -- prompts ------------------------------------------------------------------------------------------------------

    def embed_prompts(
        self,
        frame: Frame,
        prompts: Sequence[PixelPrompts],
        low_res: Sequence[torch.Tensor | np.ndarray | None] | None = None,
    ) -> PromptEmbedding:
        """See ``Backbone.embed_prompts``."""
        if low_res is not None and len(low_res) != len(prompts):
            raise PromptError(f"There are {len(low_res)} mask prompts for {len(prompts)} objects; give one for each.")
        masks: list[torch.Tensor | None] = []
        for n, prompt in enumerate(prompts):
            given = None if low_res is None else low_res[n]
            if given is None and prompt.mask is not None:
                given = self.mask_to_low_res(prompt.mask, frame)
            masks.append(None if given is None else self._checked_low_res(given))
        tokens = [self._sparse_tokens(frame, prompt) for prompt in prompts]
        return PromptEmbedding.from_tokens(tokens, self._dense(masks))

    def _sparse_tokens(self, frame: Frame, prompt: PixelPrompts) -> torch.Tensor:
        """Tokens (n, 256) of one object's points and box.

        SAM ends points without a box with a "not a point" token; the prompt encoder adds it.
        """
        scale = np.asarray(frame.scale)
        points = boxes = None
        if len(prompt.points):
            points = (
                self._tensor(prompt.points * scale)[None],
                torch.as_tensor(prompt.labels, device=self.device)[None],
            )
        if prompt.box is not None:
            boxes = self._tensor(prompt.box.reshape(2, 2) * scale).reshape(1, 4)
        sparse, _ = self._prompt_encoder(points=points, boxes=boxes, masks=None)
        return sparse[0]

    def _dense(self, masks: Sequence[torch.Tensor | None]) -> torch.Tensor | None:
        """Dense prompts (N, 256, h, w), the no-mask vector where an object has no mask; None when none has one."""
        given = [mask for mask in masks if mask is not None]
        if not given:
            return None
        encoder = self._prompt_encoder
        embedded = iter(encoder.mask_downscaling(torch.stack(given)[:, None]))
        empty = self._no_mask().expand(1, -1, *encoder.image_embedding_size)[0]
        return torch.stack([empty if mask is None else next(embedded) for mask in masks])

    def _no_mask(self) -> torch.Tensor:
        return self._prompt_encoder.no_mask_embed.weight.reshape(1, -1, 1, 1)

    def _checked_low_res(self, mask: torch.Tensor | np.ndarray) -> torch.Tensor:
        expected = tuple(self._prompt_encoder.mask_input_size)
        if tuple(mask.shape) != expected:
            raise PromptError(f"A low-resolution mask prompt must have the shape {expected}, not {tuple(mask.shape)}.")
        return torch.as_tensor(mask, dtype=torch.float32, device=self.device)

    def _tensor(self, array: np.ndarray) -> torch.Tensor:
        return torch.as_tensor(array, dtype=torch.float32, device=self.device)

    def mask_to_low_res(self, mask: np.ndarray, frame: Frame) -> np.ndarray:
        """See ``Backbone.mask_to_low_res``.

        Every low-resolution cell is the mean over the image pixels it covers: a bool mask becomes
        20·(covered fraction) − 10, logits are averaged, and the padding beside the image counts as −10.
        """
        if mask.shape != (frame.rows, frame.cols):
            raise PromptError(
                f"The mask prompt has the shape {mask.shape}, but the image has {(frame.rows, frame.cols)}; "
                "resample it to the image."
            )
        cells = self._prompt_encoder.mask_input_size[0]
        scale_x, scale_y = frame.scale
        by_row = _cell_coverage(frame.rows, cells, frame.input_size / cells / scale_y)
        by_col = _cell_coverage(frame.cols, cells, frame.input_size / cells / scale_x)
        logits = np.where(mask, _MASK_LOGIT, -_MASK_LOGIT) if mask.dtype == bool else mask
        # Shifting by the padding's value makes what lies outside of the image count as that value.
        shifted = (logits + _MASK_LOGIT).astype(np.float32)
        return by_row @ shifted @ by_col.T - np.float32(_MASK_LOGIT)

    # -- decoding -----------------------------------------------------------------------------------------------------

    def decode(
        self,
        features: Features,
        embedding: PromptEmbedding,
        image_index: Sequence[int] | None = None,
        multimask: bool = False,
    ) -> Decoded:
        """See ``Backbone.decode``.

        Objects are decoded together with those that have the same number of tokens, so an object's logits are those of
        a call of its own.
        """
        count = len(embedding)
        index = [0] * count if image_index is None else [int(i) for i in image_index]
        if len(index) != count:
            raise ValueError(f"image_index has {len(index)} entries for {count} objects")
        if any(not 0 <= i < len(features) for i in index):
            raise ValueError(f"image_index must lie in 0..{len(features) - 1}")
        features = features.to(self.device)
        # Where objects are few at a time, those of one image go together: they share what is computed from it.
        kinds = list(zip(embedding.token_counts, index if self._kind == "cpu" else [0] * count, strict=True))
        low_res: list[torch.Tensor | None] = [None] * count
        iou: list[torch.Tensor | None] = [None] * count
        for objects in _batches(kinds, _OBJECTS_AT_ONCE[self._kind]):
            sparse = torch.stack([embedding.tokens(n) for n in objects])
            dense = self._no_mask() if embedding.dense is None else embedding.dense[objects]
            memory = None if embedding.memory is None else embedding.memory[objects]
            images = [index[n] for n in objects]
            masks, scores = self._decode_batch(
                features[images[:1] if len(set(images)) == 1 else images], sparse, dense, memory, multimask
            )
            for n, mask, score in zip(objects, masks, scores, strict=True):
                low_res[n], iou[n] = mask, score
        return Decoded(
            torch.stack([m for m in low_res if m is not None]), torch.stack([s for s in iou if s is not None])
        )

    def _decode_batch(
        self,
        features: Features,
        sparse: torch.Tensor,
        dense: torch.Tensor,
        memory: torch.Tensor | None,
        multimask: bool,
    ) -> tuple[torch.Tensor, torch.Tensor]:
        """Logits (n, M, 256, 256) and quality (n, M) of n objects in n images or all in one.

        ``dense`` is (n, 256, h, w), or (1, 256, 1, 1) for no mask. ``memory`` tokens join the sparse ones.
        """
        if memory is not None:
            if memory.shape[2] != sparse.shape[2]:
                raise PromptError(
                    f"{self.card.title} has no memory that tokens of {memory.shape[2]} channels could go into; give "
                    f"them {sparse.shape[2]} channels, or choose SAM 2."
                )
            sparse = torch.cat([sparse, memory], dim=1)
        source, tokens = features.embedding + dense, self._lean.tokens(sparse)
        masks, quality = self._engine_for(source, tokens).decode(source, tokens)
        wanted = slice(1, None) if multimask else slice(1)
        return masks[:, wanted], quality[:, wanted]

    def upscale(self, low_res: torch.Tensor, frame: Frame) -> torch.Tensor:
        """See ``Backbone.upscale``.

        SAM goes to the input square, cuts its padding off and goes on to the image (Sam.postprocess_masks);
        models that stretch the image go there in one step. MedSAM interpolates probabilities there; these are logits.
        """
        logits = low_res.reshape(-1, 1, *low_res.shape[-2:])
        if not self._preprocessor.stretched:
            square = (frame.input_size, frame.input_size)
            logits = F.interpolate(logits, square, mode="bilinear", align_corners=False)
            logits = logits[..., : frame.resized_rows, : frame.resized_cols]
        logits = F.interpolate(logits, (frame.rows, frame.cols), mode="bilinear", align_corners=False)
        return logits.reshape(*low_res.shape[:-2], frame.rows, frame.cols)


def _batches(kinds: Sequence[Hashable], at_once: int) -> Iterator[list[int]]:
    """Indices of objects of equal kinds, at most ``at_once`` at a time."""
    groups: defaultdict[Hashable, list[int]] = defaultdict(list)
    for n, kind in enumerate(kinds):
        groups[kind].append(n)
    for group in groups.values():
        for start in range(0, len(group), at_once):
            yield group[start : start + at_once]


@lru_cache(maxsize=8)
def _cell_coverage(pixels: int, cells: int, pixels_per_cell: float) -> np.ndarray:
    """Matrix (cells, pixels): which fraction of a cell each pixel covers; a row sums to less than 1 in the padding."""
    edges = np.arange(cells + 1) * pixels_per_cell
    covered = np.minimum(edges[1:, None], np.arange(1, pixels + 1)) - np.maximum(edges[:-1, None], np.arange(pixels))
    return (np.clip(covered, 0.0, None) / pixels_per_cell).astype(np.float32)
