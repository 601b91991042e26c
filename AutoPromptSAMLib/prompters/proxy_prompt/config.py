"""The sizes and options of a Proxy Prompt network; importing this module does not import torch."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import asdict, dataclass, fields
from typing import Any

from AutoPromptSAMLib.errors import ModelError

STEMS = ("patches", "convolutions")
MEMORIES = ("none", "learned", "split")

# Files written before these options existed lack them; the defaults are what such networks do.
_ADDED = frozenset({"selective_map", "colorization", "memory", "fusion_blocks", "dropout"})


@dataclass(frozen=True)
class ProxyPromptConfig:
    """What a network is built from. Raises ModelError for values that do not fit together.

    ``grid``: cells a side on which supports and target are compared; the backbone's features are pooled to it.
    ``normalise``: bring the features of every cell to mean 0 and variance 1. LiteMedSAM's have a variance of .007, for
    which the paper's map is nearly flat over all memory.

    Contextual encoder: ``context_size`` pixels a side of image and mask, ``context_stem`` "patches" (one convolution)
    or "convolutions" (one of stride 2 for every halving), ``context_width`` channels, ``context_depth`` layers,
    ``context_state`` numbers a channel in the state.

    Bridge: ``bottleneck`` channels inside a residual block, None for the paper's full width; ``bridge_sum`` adds
    attention's output to its input (STCN's code; the paper's formula does not); ``fixed_objects`` joins that many
    objects on channels, as the paper's text says, instead of treating them alike.

    Map: ``key_channels`` of a learned key with a learned temperature, None to compare the features themselves. Without
    ``selective_map`` every cell of the target reads the plain mean over all cells of all supports.

    Colorization: ``halvings`` of the number of tokens, by learned matrices with ``linear_halving`` (the paper; ties
    the network to one grid) or else by strided convolutions; ``width``, ``heads`` and ``ffn`` of its attention;
    ``copied_mask`` adds the supports' masks, copied by the map, to what it reads. Without ``colorization`` what was
    read is pooled to as many tokens instead, and nothing is learned there.

    ``dense`` adds to the dense prompt through ``fusion`` channels, which ``fusion_blocks`` blocks of ever more dilated
    convolutions let see their surroundings; while learning, the part ``dropout`` of their channels and of the target's
    features is left out. Masks are refined from the image at ``detail_size`` pixels a side (0: not
    at all), in ``detail_width`` channels and more where it is coarser.

    ``memory``: with "none" the tokens are sparse prompts. Otherwise they take the place of SAM 2's memory of earlier
    frames and the decoder gets no sparse prompt: narrowed to 64 channels by a map that is learned with the rest
    ("learned"), or each split into four ("split"), as SAM 2 does with object pointers.
    """

    grid: int = 32
    normalise: bool = True
    context_size: int = 256
    context_stem: str = "convolutions"
    context_width: int = 96
    context_depth: int = 2
    context_state: int = 8
    bottleneck: int | None = 128
    bridge_sum: bool = True
    fixed_objects: int | None = None
    key_channels: int | None = 64
    halvings: int = 4
    linear_halving: bool = False
    width: int = 128
    heads: int = 8
    ffn: int = 256
    copied_mask: bool = True
    dense: bool = True
    fusion: int = 96
    fusion_blocks: int = 0
    dropout: float = 0.0
    detail_size: int = 256
    detail_width: int = 16
    selective_map: bool = True
    colorization: bool = True
    memory: str = "none"

    def __post_init__(self) -> None:
        patch = self.patch
        problems = {
            "context_stem": self.context_stem not in STEMS,
            "context_size": patch * self.grid != self.context_size or patch < 1,
            "grid": self.grid < 1 or self.grid % 2 ** ((self.halvings + 1) // 2) != 0,
            "heads": self.width % self.heads != 0,
            "detail_size": self.detail_size < 0 or self.detail_size % 4 != 0,
            "memory": self.memory not in MEMORIES,
            "dropout": not 0 <= self.dropout < 1,
        }
        if self.context_stem == "convolutions":
            problems["context_size"] |= patch < 2 or patch & (patch - 1) != 0
        wrong = [name for name, is_wrong in problems.items() if is_wrong]
        if wrong:
            raise ModelError(
                f"A Proxy Prompt network cannot have the {wrong[0]} {getattr(self, wrong[0])!r} with "
                f"context_size={self.context_size}, grid={self.grid}, halvings={self.halvings} and "
                f"width={self.width}; correct its configuration."
            )

    @classmethod
    def small(cls, memory: bool = False) -> ProxyPromptConfig:
        """For 2 CPU cores: 32×32 cells, 64 tokens an object; the default.

        ``memory`` says whether the backbone has one (``capabilities.memory``); the tokens go there then.
        """
        return cls(fusion_blocks=3, dropout=0.25, memory=_route(memory))

    @classmethod
    def paper(cls, memory: bool = False) -> ProxyPromptConfig:
        """As published, for features 64×64 of 1024 px: Vim-Ti, full-width Bridge, 256 tokens and no other prompt.

        ``memory`` as in ``small``.
        """
        return cls(
            grid=64,
            normalise=False,
            context_size=1024,
            context_stem="patches",
            context_width=192,
            context_depth=24,
            context_state=16,
            bottleneck=None,
            bridge_sum=True,
            key_channels=None,
            linear_halving=True,
            width=256,
            ffn=1024,
            copied_mask=False,
            dense=False,
            detail_size=0,
            memory=_route(memory),
        )

    @property
    def patch(self) -> int:
        """Pixels of the context image a side of a cell."""
        return self.context_size // max(self.grid, 1)

    @property
    def canvas_size(self) -> int:
        """Pixels a side of the images and masks that the network is given."""
        return max(self.context_size, self.detail_size)

    @property
    def tokens(self) -> int:
        """Sparse tokens of an object."""
        return self.grid**2 // 2**self.halvings

    def to_dict(self) -> dict[str, Any]:
        """Plain values, for JSON."""
        return asdict(self)

    @classmethod
    def from_dict(cls, values: Mapping[str, Any]) -> ProxyPromptConfig:
        """The configuration of ``to_dict``, or of that of an earlier version, which lacks the newest options.

        Raises ModelError when a name is unknown or missing, or a value is of another kind.
        """
        known = {field.name: field.type for field in fields(cls)}
        strange = sorted((set(values) ^ set(known)) - (_ADDED - set(values)))
        if strange:
            raise ModelError(
                f"The configuration of a Proxy Prompt network lacks or does not know {strange[0]!r}, so it is of "
                "another version; update AutoPromptSAM or get the weights again."
            )
        for name, value in values.items():
            kind = known[name]
            allowed = {"None": type(None), "int": int, "bool": bool, "str": str, "float": float}
            if type(value) not in {allowed[part.strip()] for part in str(kind).split("|")}:
                raise ModelError(
                    f"The configuration of a Proxy Prompt network has {value!r} as {name}, which must be "
                    f"{kind}; get the weights again."
                )
        return cls(**values)


def _route(memory: bool) -> str:
    return "learned" if memory else "none"
