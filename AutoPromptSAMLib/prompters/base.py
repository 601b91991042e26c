"""What a prompter is: it turns an encoded image and a request into prompts that a backbone decodes.

Importing this module does not import torch. Axis order is (rows, cols).
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field, replace
from typing import TYPE_CHECKING, Protocol, runtime_checkable

import numpy as np
from numpy.typing import NDArray

from AutoPromptSAMLib.backbones.base import Decoded, Features, PromptEmbedding
from AutoPromptSAMLib.errors import PromptError

if TYPE_CHECKING:
    import torch

    from AutoPromptSAMLib.prompts import PixelPrompts


@dataclass(frozen=True, eq=False)
class Support:
    """An annotated example: an image, its features and the masks of objects in it.

    ``features`` is a batch of 1 by the backbone that will decode. ``image`` is (rows, cols, 3) uint8 RGB, as it was
    encoded. ``masks`` are (rows, cols) bool by object name. An object without a mask, or with an empty one, counts as
    not being in this image. Raises PromptError when these do not fit together.
    """

    features: Features
    image: NDArray[np.uint8]
    masks: Mapping[str, NDArray[np.bool_]]
    name: str = ""

    def __post_init__(self) -> None:
        size = (self.features.frame.rows, self.features.frame.cols)
        called = f"The support image {self.name!r}" if self.name else "A support image"
        if len(self.features) != 1:
            raise PromptError(f"{called} has features of {len(self.features)} images; encode it alone.")
        if self.image.shape != (*size, 3) or self.image.dtype != np.uint8:
            raise PromptError(
                f"{called} is {self.image.dtype} of shape {self.image.shape}, but its features are of {(*size, 3)} "
                "uint8; encode this image again."
            )
        for name, mask in self.masks.items():
            if mask.shape != size or mask.dtype != np.bool_:
                raise PromptError(
                    f"{called} has for {name!r} a mask of {mask.dtype} and shape {mask.shape} instead of bool {size}; "
                    "resample it to the image."
                )

    def has(self, name: str) -> bool:
        """Whether the object is in this image."""
        return name in self.masks and bool(self.masks[name].any())


@dataclass(frozen=True, eq=False)
class Request:
    """What is wanted of a prompter: ``objects`` by name, examples of them, and what the user said about them.

    ``prompts`` are the user's prompts in pixels of the target image, by object name. ``image`` is the target itself,
    (rows, cols, 3) uint8 as it was encoded, for methods that look at its pixels, too. Raises PromptError without
    objects, with one named twice, or with prompts for an object that is not asked for.
    """

    objects: tuple[str, ...]
    supports: tuple[Support, ...] = ()
    prompts: Mapping[str, PixelPrompts] = field(default_factory=dict)
    image: NDArray[np.uint8] | None = None

    def __post_init__(self) -> None:
        if not self.objects:
            raise PromptError("No object is asked for; name at least one.")
        if len(set(self.objects)) != len(self.objects):
            raise PromptError(f"An object is named twice in {', '.join(self.objects)}; name each once.")
        strange = [name for name in self.prompts if name not in self.objects]
        if strange:
            raise PromptError(f"There are prompts for {strange[0]!r}, which is not asked for; add it to the objects.")


@dataclass(frozen=True, eq=False)
class Prompted:
    """A prompter's answer for N objects, in the order of ``objects``.

    ``embedding`` goes into ``Backbone.decode``, and ``refine`` takes what that returns. ``diagnostics`` are tensors
    (N, ...) by name that losses and hosts read; ``confidence`` (N,) in 0..1 is always among them.
    ``refinement`` maps logits (N, M, 4h, 4w) to what is added to them.
    """

    objects: tuple[str, ...]
    embedding: PromptEmbedding
    diagnostics: Mapping[str, torch.Tensor]
    refinement: Callable[[torch.Tensor], torch.Tensor] | None = None

    def refine(self, decoded: Decoded) -> Decoded:
        """The decoded masks with the prompter's own fine detail added; the same object when it has none."""
        if self.refinement is None:
            return decoded
        return replace(decoded, low_res=decoded.low_res + self.refinement(decoded.low_res))


@runtime_checkable
class Prompter(Protocol):
    """Makes prompts for a target image (features: a batch of 1). Gradients flow into its parameters.

    Raises PromptError when the request lacks what the method needs.
    """

    def __call__(self, features: Features, request: Request) -> Prompted:
        """Prompts for ``request.objects`` in the image, joined with the user's own."""
