"""Supports as a network takes them: encoded, compared with a target, and the network that reads them."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING

import torch
from torch.nn import functional as F

from AutoPromptSAMLib.backbones.base import Backbone, Features
from AutoPromptSAMLib.backbones.tensor_file import content_sha256
from AutoPromptSAMLib.errors import ModelError
from AutoPromptSAMLib.prompters.base import Support
from AutoPromptSAMLib.prompters.proxy_prompt.prompter import ProxyPrompter
from AutoPromptSAMLib.prompters.proxy_prompt.weights import general_network, load_task
from AutoPromptSAMLib.supports.pairs import SupportPair, SupportSet

if TYPE_CHECKING:
    from AutoPromptSAMLib.backbones.cache import EmbeddingCache

# What is compared of an image: the mean of its features in so many parts a side, so that where things are counts too.
PARTS = 4
# Supports that prompt one image. More gain little and cost time (the paper's figures rise up to 8 of 16).
MOST_SIMILAR = 4


def prompter_for(backbone: Backbone, supports: SupportSet) -> tuple[ProxyPrompter, str]:
    """The prompter of a set, and what its answers depend on besides the supports.

    Its network is the one that learned the set with this model, or else the general one. Its backbone is ``backbone``,
    or that with what the task added to it. Raises ModelError when the set's network is missing, damaged or of other
    weights, or when it has none and there is no general one for this backbone.
    """
    learned = supports.tasks.get(backbone.card.name)
    if learned is not None:
        task = load_task(learned, backbone)
        network, backbone, name = task.network, task.backbone, task.header.sha256
    else:
        general = general_network(backbone)
        if general is None:
            raise ModelError(
                f"There is no general prompting network for {backbone.card.title}; learn the task with "
                "`autopromptsam learn`, or choose another model."
            )
        network, name = general, f"{content_sha256(general.state_dict())}, labels copied"
    return ProxyPrompter(network.eval(), backbone, copying=learned is None), name


def encode_pairs(backbone: Backbone, cache: EmbeddingCache, pairs: Sequence[SupportPair]) -> list[Support]:
    """The pairs with their features, encoded unless the cache has them.

    Raises SupportError when the file of a pair is damaged.
    """
    return [Support(cache.get_or_encode(backbone, pair.image), pair.image, pair.masks, pair.name) for pair in pairs]


def signature(features: Features) -> torch.Tensor:
    """What images are compared by: unit length (n,), equal directions for images that look alike in all parts.

    Mean of the features over each of ``PARTS`` × ``PARTS`` parts of the image, without its padding, every part brought
    to mean 0 over the channels.
    """
    frame, embedding = features.frame, features.embedding
    cells = embedding.shape[-1] / frame.input_size
    rows = max(1, round(frame.resized_rows * cells))
    cols = max(1, round(frame.resized_cols * cells))
    pooled = F.adaptive_avg_pool2d(embedding[:1, :, :rows, :cols].float(), PARTS)
    return F.normalize((pooled - pooled.mean(1, keepdim=True)).flatten(), dim=0).cpu()


def most_similar(features: Features, supports: Sequence[Support | torch.Tensor], count: int) -> list[int]:
    """Indices of the ``count`` supports that look most like the image of ``features``, the most similar first.

    Supports may be given by their ``signature``, when they are compared with many images. Of equally similar ones the
    first counts.
    """
    if not supports:
        return []
    each = [signature(s.features) if isinstance(s, Support) else s for s in supports]
    likeness = torch.stack(each) @ signature(features)
    return torch.argsort(likeness, descending=True, stable=True)[:count].tolist()
