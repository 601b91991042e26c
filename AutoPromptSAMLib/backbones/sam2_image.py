"""SAM 2, SAM 2.1 and MedSAM2 on single images, through the optional package ``sam2``."""

from __future__ import annotations

from dataclasses import replace
from typing import TYPE_CHECKING

import numpy as np
import torch
from torch import nn

from AutoPromptSAMLib.backbones.base import Features, Frame
from AutoPromptSAMLib.backbones.engines.torch_engine import torch_name
from AutoPromptSAMLib.backbones.sam_family import SamBackbone
from AutoPromptSAMLib.errors import ModelError, PromptError

if TYPE_CHECKING:
    from segment_anything.modeling import PromptEncoder

    from AutoPromptSAMLib.prompts import PixelPrompts

# SAM2ImagePredictor keeps low-resolution logits within this before they are used as a mask prompt.
_LOW_RES_LIMIT = 32.0


def build_sam2_network(config: str, input_size: int) -> nn.Module:
    """The whole SAM 2 model of a configuration of the ``sam2`` package, with random weights, on the CPU.

    ``config`` is a name such as "configs/sam2.1/sam2.1_hiera_t.yaml". MedSAM2 is SAM 2.1 Hiera-T at 512 px.
    Raises ModelError when ``sam2`` is not installed or has no such configuration.
    """
    try:
        from hydra.errors import HydraException
        from sam2.build_sam import build_sam2
    except ImportError as error:
        raise ModelError(
            "SAM 2 models need the optional package sam2; install it with "
            "`SAM2_BUILD_CUDA=0 pip install --no-build-isolation sam2`."
        ) from error
    cells = input_size // 16
    overrides = [f"++model.image_size={input_size}"]
    overrides += [
        f"++model.memory_attention.layer.{attention}.feat_sizes=[{cells},{cells}]"
        for attention in ("self_attention", "cross_attention")
    ]
    try:
        return build_sam2(config, ckpt_path=None, device="cpu", hydra_overrides_extra=overrides)
    except HydraException as error:
        raise ModelError(
            f"The installed sam2 package has no configuration '{config}'; install sam2 1.1 or newer."
        ) from error


class Sam2Backbone(SamBackbone):
    """SAM 2's image mode (SAM2ImagePredictor): finer encoder levels, and boxes as two labelled points.

    Memory tokens of a prompt take the place of the frames that SAM 2 remembers in a video.
    """

    def _set_up(self) -> None:
        """Nothing: PyTorch runs ``sam2``'s own modules."""

    @property
    def engine(self) -> str:
        """See ``Backbone.engine``."""
        return torch_name(self.device)

    @property
    def _prompt_encoder(self) -> PromptEncoder:
        return self.network.sam_prompt_encoder

    @property
    def _mask_decoder(self) -> nn.Module:
        return self.network.sam_mask_decoder

    def _encode_batch(self, batch: torch.Tensor) -> tuple[torch.Tensor, tuple[torch.Tensor, ...]]:
        model = self.network
        levels = model.forward_image(batch)["backbone_fpn"][-model.num_feature_levels :]
        embedding = levels[-1]
        if model.directly_add_no_mem_embed:
            embedding = embedding + model.no_mem_embed.reshape(1, -1, 1, 1)
        return embedding, tuple(levels[:-1])

    def _sparse_tokens(self, frame: Frame, prompt: PixelPrompts) -> torch.Tensor:
        """Tokens of the box's corners (labels 2 and 3), then of the points, then "not a point", box or not."""
        coordinates, labels = [prompt.points], [np.asarray(prompt.labels, dtype=np.int32)]
        if prompt.box is not None:
            coordinates.insert(0, prompt.box.reshape(2, 2))
            labels.insert(0, np.array([2, 3], dtype=np.int32))
        xy, label = np.concatenate(coordinates), np.concatenate(labels)
        points = None
        if len(xy):
            points = (
                self._tensor(xy * np.asarray(frame.scale))[None],
                torch.as_tensor(label, device=self.device)[None],
            )
        sparse, _ = self._prompt_encoder(points=points, boxes=None, masks=None)
        return sparse[0]

    def _checked_low_res(self, mask: torch.Tensor | np.ndarray) -> torch.Tensor:
        return super()._checked_low_res(mask).clamp(-_LOW_RES_LIMIT, _LOW_RES_LIMIT)

    def _decode_batch(
        self,
        features: Features,
        sparse: torch.Tensor,
        dense: torch.Tensor,
        memory: torch.Tensor | None,
        multimask: bool,
    ) -> tuple[torch.Tensor, torch.Tensor]:
        if len(features) != len(sparse):
            features = features[[0] * len(sparse)]
        if memory is not None:
            features = replace(features, embedding=self._recalling(features.embedding, memory))
        masks, iou, _, _ = self._mask_decoder(
            image_embeddings=features.embedding,
            image_pe=self._dense_pe,
            sparse_prompt_embeddings=sparse,
            dense_prompt_embeddings=dense,
            multimask_output=multimask,
            repeat_image=False,
            high_res_features=list(features.high_res),
        )
        return masks, iou

    def _recalling(self, embedding: torch.Tensor, memory: torch.Tensor) -> torch.Tensor:
        """Embeddings (n, 256, h, w) of n objects that have gone through SAM 2's memory attention.

        ``memory`` is that of ``PromptEmbedding``. Its tokens come in as object pointers do: without a place in the
        image, so no rotary code on the keys, and here without a frame number either.
        """
        model = self.network
        width = int(model.mem_dim)
        if memory.shape[2] not in (width, model.hidden_dim):
            raise PromptError(
                f"{self.card.title} remembers tokens of {width} or {model.hidden_dim} channels, not "
                f"{memory.shape[2]}; narrow them to {width}."
            )
        if memory.shape[1] == 0:
            return embedding
        if model.directly_add_no_mem_embed:  # which says that there is no memory
            embedding = embedding - model.no_mem_embed.reshape(1, -1, 1, 1)
        tokens = memory.reshape(len(memory), -1, width).transpose(0, 1)
        recalled: torch.Tensor = model.memory_attention(
            curr=_sequence(embedding),
            curr_pos=_sequence(model.image_encoder.neck.position_encoding(embedding)),
            memory=tokens,
            memory_pos=torch.zeros_like(tokens),
            num_obj_ptr_tokens=len(tokens),
        )
        return recalled.permute(1, 2, 0).reshape(embedding.shape)


def _sequence(image: torch.Tensor) -> torch.Tensor:
    """(n, 256, h, w) to (h·w, n, 256)."""
    return image.flatten(2).permute(2, 0, 1)
