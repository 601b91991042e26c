"""An annotated image (a pair), and sets of pairs that show the same objects.

Of an image only what networks see is kept: 8 bits a channel, at most ``MOST_PIXELS`` a side, without names of files or
patients and without headers.
"""

from __future__ import annotations

import colorsys
import hashlib
import json
import re
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from functools import cached_property
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray
from PIL import Image

from AutoPromptSAMLib.geometry.grid import ANATOMICAL_AXES, BoolArray
from AutoPromptSAMLib.supports.errors import SupportError

UInt8Array = NDArray[np.uint8]
Pixels = tuple[UInt8Array, dict[str, BoolArray]]
Colour = tuple[float, float, float]

MOST_PIXELS = 1024  # a side: what the largest encoders take
MOST_OBJECTS, MOST_PAIRS = 256, 10_000  # of a set
MOST_LETTERS = 200  # of a name or a source: they are shown in one line
VIEWS = tuple(ANATOMICAL_AXES)


@dataclass(frozen=True)
class SupportObject:
    """What pairs show: ``colour`` (red, green, blue from 0 to 1) and ``terminology`` are for hosts that draw it.

    Raises SupportError for a name that is empty or too long, or a colour out of range.
    """

    name: str
    colour: Colour
    terminology: str = ""

    def __post_init__(self) -> None:
        object.__setattr__(self, "name", checked_text(self.name, "The name of an object"))
        try:
            red, green, blue = (float(part) for part in self.colour)
        except (TypeError, ValueError):
            red = green = blue = -1.0
        if not all(0 <= part <= 1 for part in (red, green, blue)):
            raise SupportError(
                f'The colour of "{self.name}" must be three numbers from 0 to 1 for red, green and blue.'
            )
        object.__setattr__(self, "colour", (red, green, blue))


@dataclass(frozen=True, eq=False)
class SupportPair:
    """One annotated image; its pixels are read when they are first asked for.

    ``id``: SHA-256 of image and masks. ``objects``: what is annotated; an object whose mask is empty is known not to
    be on this image, one that is not named here may be. ``spacing``: (row, col) in mm, None when pixels have no known
    size. ``view``: the anatomical direction of a volume's slice, in the orientation of ``views``; None for a picture.
    ``thumbnail``: a PNG with the objects' outlines, None outside of a library. ``source``: a free text. ``group``:
    pairs of one image have the same one, so that none is learned from another; "" for a pair by itself.
    """

    id: str
    name: str
    objects: tuple[str, ...]
    read: Callable[[], Pixels]
    spacing: tuple[float, float] | None = None
    view: str | None = None
    thumbnail: Path | None = None
    source: str = ""
    group: str = ""

    @staticmethod
    def of(
        name: str,
        image: UInt8Array,
        masks: Mapping[str, BoolArray],
        spacing: tuple[float, float] | None = None,
        view: str | None = None,
        source: str = "",
        group: str = "",
    ) -> SupportPair:
        """A pair of an image (rows, cols, 3) uint8 RGB and masks (rows, cols), made smaller if it is too large.

        Raises SupportError when they do not fit together, or there is no mask.
        """
        name = checked_text(name, "The name of a pair")
        if image.ndim != 3 or image.shape[2] != 3 or image.dtype != np.uint8 or not image.size:
            raise SupportError(f'The image "{name}" is {image.dtype} of shape {image.shape}; give 8-bit RGB.')
        if not masks:
            raise SupportError(f'There is no object on "{name}"; annotate at least one.')
        for each, mask in masks.items():
            if mask.shape != image.shape[:2]:
                raise SupportError(
                    f'The mask of "{each}" has {mask.shape} pixels but its image "{name}" has {image.shape[:2]}; '
                    "give both of the same size."
                )
        if view is not None and view not in VIEWS:
            raise SupportError(f'"{view}" is no view; use axial, sagittal or coronal.')
        rows, cols = image.shape[:2]
        kept = {checked_text(n, "The name of an object"): np.asarray(m, dtype=bool) for n, m in masks.items()}
        if len(kept) < len(masks):
            raise SupportError(f'Two objects on "{name}" have the same name but for spaces; give each its own.')
        image, kept = _at_most(np.ascontiguousarray(image), kept, MOST_PIXELS)
        if spacing is not None:
            spacing = (spacing[0] * rows / image.shape[0], spacing[1] * cols / image.shape[1])
        pixels = (image, kept)
        text = checked_text(source, "The source", may_be_empty=True)
        return SupportPair(pixels_id(pixels), name, tuple(kept), lambda: pixels, spacing, view, None, text, group)

    @cached_property
    def _pixels(self) -> Pixels:
        return self.read()

    @property
    def image(self) -> UInt8Array:
        """(rows, cols, 3) uint8 RGB; SupportError when its file is damaged."""
        return self._pixels[0]

    @property
    def masks(self) -> dict[str, BoolArray]:
        """(rows, cols) bool by object; SupportError when their file is damaged."""
        return self._pixels[1]


@dataclass(frozen=True, eq=False)
class SupportSet:
    """Pairs that show the same ``objects``. ``tasks``: networks that have learned them, by the model they prompt.

    With another model the general network prompts. A set of a library is what it was when the library gave it. Raises
    SupportError when an object is named twice, a pair shows another one, or there are too many.
    """

    id: str
    name: str
    objects: tuple[SupportObject, ...]
    pairs: tuple[SupportPair, ...] = ()
    tasks: Mapping[str, Path] = field(default_factory=dict)

    def __post_init__(self) -> None:
        object.__setattr__(self, "name", checked_text(self.name, "The name of a set of supports"))
        for count, most, what in (
            (len(self.objects), MOST_OBJECTS, "objects; choose some of them"),
            (len(self.pairs), MOST_PAIRS, "images; make a second set"),
        ):
            if count > most:
                raise SupportError(f'"{self.name}" would have {count} and can have {most} {what}.')
        twice = [name for number, name in enumerate(self.names) if name in self.names[:number]]
        if twice:
            raise SupportError(f'The object "{twice[0]}" is in "{self.name}" twice; give each its own name.')
        strange = [name for pair in self.pairs for name in pair.objects if name not in self.names]
        if strange:
            raise SupportError(f'A pair of "{self.name}" shows "{strange[0]}", which is none of its objects; add it.')

    @property
    def names(self) -> tuple[str, ...]:
        """The names of the objects."""
        return tuple(each.name for each in self.objects)


def default_colour(number: int) -> Colour:
    """Steps of the golden angle, as segments on disk get: any number of objects have hues that are far apart."""
    return colorsys.hsv_to_rgb(number * 0.618034 % 1, 0.65, 0.95)


def as_objects(objects: Sequence[str | SupportObject], first: int = 0) -> tuple[SupportObject, ...]:
    """Objects, those given by name with the default colours from number ``first`` on."""
    return tuple(
        SupportObject(each, default_colour(number)) if isinstance(each, str) else each
        for number, each in enumerate(objects, first)
    )


def pixels_id(pixels: Pixels) -> str:
    """SHA-256 of the image and of the masks in their order, whatever the objects are called."""
    image, masks = pixels
    digest = hashlib.sha256(json.dumps(["pair 1", *image.shape[:2], len(masks)]).encode())
    digest.update(np.ascontiguousarray(image).data)
    for mask in masks.values():
        digest.update(np.packbits(mask).data)
    return digest.hexdigest()


def checked_text(text: Any, what: str, may_be_empty: bool = False) -> str:
    """A text of one line without space at its ends; SupportError when it is none, too long or empty."""
    if not isinstance(text, str) or len(text) > MOST_LETTERS:
        raise SupportError(f"{what} must be a text of at most {MOST_LETTERS} letters.")
    text = re.sub(r"\s+", " ", text).strip()
    if not text.isprintable() or not (text or may_be_empty):
        raise SupportError(f"{what} is empty or has signs that cannot be shown; write a name.")
    return text


def _at_most(image: UInt8Array, masks: dict[str, BoolArray], side: int) -> Pixels:
    rows, cols = image.shape[:2]
    if max(rows, cols) <= side:
        return image, masks
    scale = side / max(rows, cols)
    size = (max(1, round(cols * scale)), max(1, round(rows * scale)))
    smaller = np.asarray(Image.fromarray(image).resize(size, Image.Resampling.LANCZOS))
    return smaller, {name: shrunk(mask, size) for name, mask in masks.items()}


def shrunk(mask: BoolArray, size: tuple[int, int]) -> BoolArray:
    """A mask at a smaller size (cols, rows): pixels that are at least half covered.

    Of an object that covers no pixel so far, those that are touched: an empty mask would say that it is not there.
    """
    parts = np.asarray(Image.fromarray(np.where(mask, np.uint8(255), np.uint8(0))).resize(size, Image.Resampling.BOX))
    covered: BoolArray = parts >= 128
    return covered if covered.any() or not mask.any() else parts > 0
