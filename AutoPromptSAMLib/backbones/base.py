"""What a backbone is: it encodes images once and decodes many prompts, for every model of the SAM family.

Importing this module does not import torch. Axis order is (rows, cols) for images and masks, (x, y) = (col, row) for
points and boxes, with integer coordinates at pixel centres.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field, replace
from typing import TYPE_CHECKING, Protocol, runtime_checkable

if TYPE_CHECKING:
    import numpy as np
    import torch

    from AutoPromptSAMLib.prompts import PixelPrompts
    from AutoPromptSAMLib.zoo.card import Capabilities, ModelCard


@dataclass(frozen=True)
class Frame:
    """Where an image of (rows, cols) lies in the square that the encoder sees.

    The image is resized to (resized_rows, resized_cols) and lies in the top-left corner of a square of ``input_size``
    pixels; what is left over at the right and at the bottom is padding.
    """

    rows: int
    cols: int
    resized_rows: int
    resized_cols: int
    input_size: int

    @classmethod
    def longest_side(cls, rows: int, cols: int, input_size: int) -> Frame:
        """Resize with the aspect ratio kept until the longest side is ``input_size`` (SAM's ResizeLongestSide)."""
        scale = input_size / max(rows, cols)
        return cls(rows, cols, max(1, int(rows * scale + 0.5)), max(1, int(cols * scale + 0.5)), input_size)

    @classmethod
    def stretched(cls, rows: int, cols: int, input_size: int) -> Frame:
        """Resize to the full square, whatever the aspect ratio (MedSAM, SAM 2)."""
        return cls(rows, cols, input_size, input_size, input_size)

    @property
    def scale(self) -> tuple[float, float]:
        """Encoder pixels per image pixel along x (cols) and y (rows)."""
        return self.resized_cols / self.cols, self.resized_rows / self.rows


@dataclass(frozen=True, eq=False)
class Features:
    """Encoded images: everything that ``Backbone.decode`` needs besides the prompts.

    ``embedding`` is (B, 256, h, w), h = w = 64 for every default model. ``high_res`` holds SAM 2's finer levels
    (B, 32, 4h, 4w) and (B, 64, 2h, 2w), and is empty for SAM. All B images have the same ``frame``. ``extras`` is for
    further per-image tensors (B, ...) that a model or a method wants to have cached.
    """

    embedding: torch.Tensor
    frame: Frame
    high_res: tuple[torch.Tensor, ...] = ()
    extras: Mapping[str, torch.Tensor] = field(default_factory=dict)

    def __len__(self) -> int:
        return int(self.embedding.shape[0])

    def __getitem__(self, images: int | slice | Sequence[int]) -> Features:
        """The features of some of the images, B kept as the first axis."""
        chosen = [images] if isinstance(images, int) else images
        return self.map(lambda tensor: tensor[chosen])

    def to(self, device: torch.device | str) -> Features:
        """The same features on another device."""
        return self.map(lambda tensor: tensor.to(device))

    def map(self, function: Callable[[torch.Tensor], torch.Tensor]) -> Features:
        """Features with ``function`` applied to every tensor."""
        return replace(
            self,
            embedding=function(self.embedding),
            high_res=tuple(function(level) for level in self.high_res),
            extras={name: function(tensor) for name, tensor in self.extras.items()},
        )

    @property
    def nbytes(self) -> int:
        """Size of all tensors in bytes."""
        return sum(t.nbytes for t in (self.embedding, *self.high_res, *self.extras.values()))

    @staticmethod
    def concatenate(parts: Sequence[Features]) -> Features:
        """Join features of images with the same frame into one batch.

        Raises ValueError when there are no parts or their frames or extras differ.
        """
        import torch

        if not parts:
            raise ValueError("there are no features to concatenate")
        first = parts[0]
        if any(part.frame != first.frame or set(part.extras) != set(first.extras) for part in parts):
            raise ValueError("features can be concatenated only when their frames and extras are the same")
        return Features(
            embedding=torch.cat([part.embedding for part in parts]),
            frame=first.frame,
            high_res=tuple(torch.cat(levels) for levels in zip(*(part.high_res for part in parts), strict=True)),
            extras={name: torch.cat([part.extras[name] for part in parts]) for name in first.extras},
        )


@dataclass(frozen=True, eq=False)
class PromptEmbedding:
    """Prompts of N objects in the decoder's own terms.

    ``sparse`` is (N, n, 256). Objects with fewer than n tokens are padded at the end and say so in ``lengths``; None
    means that every object has n tokens. The decoder never sees the padding: a further token, "not a point" included,
    changes SAM's logits. ``dense`` is (N, 256, h, w), or None for the model's own no-mask vector.

    ``memory`` (N, m, 256) are m tokens an object that say what the object is like rather than where it is, or None.
    Each backbone decides where they go: models without a memory append them to the sparse tokens; SAM 2 puts them in
    place of its memory of earlier frames, each split into four tokens of its 64 channels. Whoever makes them may
    narrow them by a map of its own instead: (N, m, 64) is for SAM 2 only. Their order does not matter.
    """

    sparse: torch.Tensor
    dense: torch.Tensor | None = None
    lengths: tuple[int, ...] | None = None
    memory: torch.Tensor | None = None

    def __post_init__(self) -> None:
        if self.lengths is not None and len(self.lengths) != self.sparse.shape[0]:
            raise ValueError(f"{len(self.lengths)} lengths for {self.sparse.shape[0]} objects")
        if self.memory is not None and (self.memory.ndim != 3 or len(self.memory) != self.sparse.shape[0]):
            raise ValueError(f"a memory of shape {tuple(self.memory.shape)} for {self.sparse.shape[0]} objects")

    def __len__(self) -> int:
        return int(self.sparse.shape[0])

    @property
    def token_counts(self) -> tuple[int, ...]:
        """Number of sparse tokens of each object; those in ``memory`` do not count."""
        return self.lengths if self.lengths is not None else (int(self.sparse.shape[1]),) * len(self)

    @staticmethod
    def from_tokens(
        tokens: Sequence[torch.Tensor], dense: torch.Tensor | None = None, memory: torch.Tensor | None = None
    ) -> PromptEmbedding:
        """Build from one (n_i, 256) tensor an object; the numbers n_i may differ. ValueError without objects."""
        import torch

        if not tokens:
            raise ValueError("an embedding needs at least one object")
        sparse = torch.nn.utils.rnn.pad_sequence(list(tokens), batch_first=True)
        return PromptEmbedding(sparse, dense, tuple(int(t.shape[0]) for t in tokens), memory)

    def tokens(self, index: int) -> torch.Tensor:
        """Sparse tokens (n_i, 256) of one object, without padding."""
        return self.sparse[index, : self.token_counts[index]]

    def join(self, other: PromptEmbedding) -> PromptEmbedding:
        """Both prompts together: sparse and memory tokens concatenate, ``other``'s dense prompt overrides.

        Raises ValueError when the number of objects or the width of their memory differs.
        """
        if len(self) != len(other):
            raise ValueError(f"prompts of {len(self)} and of {len(other)} objects cannot be joined")
        import torch

        memories = [memory for memory in (self.memory, other.memory) if memory is not None]
        if len({memory.shape[2] for memory in memories}) > 1:
            raise ValueError("memory tokens of different widths cannot be joined; narrow all of them or none")
        joined = [torch.cat([self.tokens(n), other.tokens(n)]) for n in range(len(self))]
        return PromptEmbedding.from_tokens(
            joined, self.dense if other.dense is None else other.dense, torch.cat(memories, 1) if memories else None
        )


@dataclass(frozen=True, eq=False)
class Decoded:
    """Masks of N objects: ``low_res`` logits (N, M, 4h, 4w), 256×256 by default, and predicted ``iou`` (N, M).

    M is 1, or 3 with ``multimask``. Positive logits are foreground.
    """

    low_res: torch.Tensor
    iou: torch.Tensor


@runtime_checkable
class Backbone(Protocol):
    """Encode once, decode many. Parameters are frozen; gradients still flow through ``decode`` into an embedding."""

    card: ModelCard
    device: torch.device
    capabilities: Capabilities
    # Changes whenever an answer to the same prompts would: weights, family, preprocessing.
    fingerprint: str
    # Changes whenever the features of the same image would; an adapter of prompts alone leaves it as it is.
    features_fingerprint: str

    @property
    def engine(self) -> str:
        """What computes, for people, such as "OpenVINO 2026.4.1, CPU, 2 threads"."""

    def encode(self, images: Sequence[np.ndarray]) -> Features:
        """Encode B images, each (rows, cols, 3) uint8 RGB and all of the same size.

        Raises ImageError for an empty list, another shape or type, or differing sizes.
        """

    def embed_prompts(
        self,
        frame: Frame,
        prompts: Sequence[PixelPrompts],
        low_res: Sequence[torch.Tensor | np.ndarray | None] | None = None,
    ) -> PromptEmbedding:
        """Embed the prompts of N objects, given in pixels of the (rows, cols) image.

        ``low_res`` optionally gives logits (256, 256) for each object, as ``decode`` returned them, in place of the
        mask in ``prompts``. An object without any prompt gets no sparse token, as in SAM.
        Raises PromptError for a mask of another shape.
        """

    def decode(
        self,
        features: Features,
        embedding: PromptEmbedding,
        image_index: Sequence[int] | None = None,
        multimask: bool = False,
    ) -> Decoded:
        """Decode N objects; object n is looked for in image ``image_index[n]``, by default in image 0."""

    def upscale(self, low_res: torch.Tensor, frame: Frame) -> torch.Tensor:
        """Logits (..., 256, 256) to logits (..., rows, cols), as the reference predictor does."""

    def mask_to_low_res(self, mask: np.ndarray, frame: Frame) -> np.ndarray:
        """A mask (rows, cols), bool or float logits, as float32 logits (256, 256) for a mask prompt."""

    def dense_pe(self) -> torch.Tensor:
        """Positional code (1, 256, h, w) of the cell centres of the embedding."""
