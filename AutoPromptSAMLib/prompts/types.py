"""Points, boxes, doodles and masks as plain immutable data in RAS millimetres, and each of them as JSON."""

from __future__ import annotations

import base64
import math
import uuid
import zlib
from dataclasses import dataclass, field, fields
from typing import Any, ClassVar, Literal

import numpy as np
from numpy.typing import ArrayLike

from AutoPromptSAMLib.errors import GeometryError, PromptError
from AutoPromptSAMLib.geometry import Crop, Plane, VolumeGeometry
from AutoPromptSAMLib.geometry.grid import FloatArray, frozen_array, number_array


@dataclass(frozen=True)
class Source:
    """Who made a prompt: a person, or the prompter called ``name``."""

    kind: Literal["person", "prompter"] = "person"
    name: str = ""

    def __post_init__(self) -> None:
        if self.kind not in ("person", "prompter"):
            raise PromptError(f'A prompt comes from a "person" or a "prompter", not from "{self.kind}".')


PERSON = Source()


def new_id() -> str:
    """A short id, unique among the prompts of any scene."""
    return uuid.uuid4().hex[:12]


def finite_array(values: ArrayLike, shape: tuple[int, ...], what: str) -> FloatArray:
    """``values`` as read-only float64 of ``shape`` (-1: any number of rows, at least one), or a PromptError."""
    try:
        array = frozen_array(number_array(values))
    except ValueError:
        raise PromptError(f"{what} must be numbers in an array of shape {shape}.") from None
    wanted = tuple(max(n, 1) if want == -1 else want for n, want in zip(array.shape, shape, strict=False))
    if array.shape != wanted or len(wanted) != len(shape):
        raise PromptError(f"{what} must be an array of shape {shape}, not {array.shape}.")
    if not np.isfinite(array).all():
        raise PromptError(f"{what} must be finite numbers, without NaN or infinity.")
    return array


@dataclass(frozen=True, eq=False, kw_only=True)
class Prompt:
    """What all prompts have: ``source`` (provenance) and ``id`` (unique, kept by JSON)."""

    source: Source = PERSON
    id: str = field(default_factory=new_id)

    type: ClassVar[str]

    def __post_init__(self) -> None:
        if not isinstance(self.id, str) or not self.id:
            raise PromptError("A prompt needs an id that is not empty.")

    def __eq__(self, other: object) -> bool:
        if type(self) is not type(other):
            return NotImplemented
        return all(_same(value, getattr(other, name)) for name, value in vars(self).items())

    def __hash__(self) -> int:
        return hash(self.id)


def _same(one: Any, other: Any) -> bool:
    if isinstance(one, Crop):
        return one.lower == other.lower and np.array_equal(one.mask, other.mask)
    return np.array_equal(one, other) if isinstance(one, np.ndarray) else bool(one == other)


@dataclass(frozen=True, eq=False)
class Point(Prompt):
    """A click: ``ras`` (3,) mm; ``positive``: belongs to the object, else to the background."""

    ras: FloatArray
    positive: bool = True

    type: ClassVar[str] = "point"

    def __post_init__(self) -> None:
        super().__post_init__()
        object.__setattr__(self, "ras", finite_array(self.ras, (3,), "The position of a point"))
        object.__setattr__(self, "positive", bool(self.positive))


@dataclass(frozen=True, eq=False)
class Box(Prompt):
    """An oriented box, as a markups ROI: ``center_ras`` (3,) mm, ``axes`` (3, 3) with unit vectors in RAS as rows,
    perpendicular to each other, and ``size_mm`` (3,) full side lengths along them.

    A box drawn on one plane is flat: it has size 0 along exactly one axis, its normal.
    """

    center_ras: FloatArray
    axes: FloatArray
    size_mm: FloatArray

    type: ClassVar[str] = "box"

    def __post_init__(self) -> None:
        super().__post_init__()
        object.__setattr__(self, "center_ras", finite_array(self.center_ras, (3,), "The center of a box"))
        axes = finite_array(self.axes, (3, 3), "The axes of a box")
        if np.abs(axes @ axes.T - np.eye(3)).max() > 2e-3:  # above the shear that grids may have
            raise PromptError("The axes of a box must be three unit vectors perpendicular to each other.")
        object.__setattr__(self, "axes", axes)
        size = finite_array(self.size_mm, (3,), "The size of a box")
        if (size < 0).any() or np.count_nonzero(size) < 2:
            raise PromptError("A box must have at least two sides longer than 0 mm; draw it larger.")
        object.__setattr__(self, "size_mm", size)

    @staticmethod
    def on_plane(plane: Plane, xyxy: ArrayLike, *, source: Source = PERSON, id: str | None = None) -> Box:
        """The flat box from pixel centre (x0, y0) to pixel centre (x1, y1) of ``plane``, x columns and y rows.

        As in SAM and MedSAM, the box around columns 10 to 20 is x0 = 10, x1 = 20. A side of no length is refused.
        """
        x0, y0, x1, y1 = finite_array(xyxy, (4,), "The corners of a box (x0, y0, x1, y1)")
        if not (x1 > x0 and y1 > y0):
            raise PromptError(
                "A box needs x0 < x1 and y0 < y1; draw it from its upper left to its lower right corner."
            )
        col, row = plane.pixel_to_ras[:3, 0], plane.pixel_to_ras[:3, 1]
        spacing = np.array(plane.spacing)
        return Box(
            plane.ras_from_pixels([[(x0 + x1) / 2, (y0 + y1) / 2]])[0],
            np.array([col / spacing[0], row / spacing[1], plane.normal]),
            np.array([(x1 - x0) * spacing[0], (y1 - y0) * spacing[1], 0.0]),
            source=source,
            id=id or new_id(),
        )

    @property
    def is_flat(self) -> bool:
        """Whether the box has no thickness along one of its axes."""
        return not self.size_mm.all()

    @property
    def normal(self) -> FloatArray:
        """Unit vector (3,) along the shortest side: of a flat box, the normal of its plane."""
        return self.axes[int(self.size_mm.argmin())]

    @property
    def corners(self) -> FloatArray:
        """(8, 3) RAS, row numbers counting in binary along the axes (bit 0: the first)."""
        signs = np.array([[(n >> bit & 1) - 0.5 for bit in range(3)] for n in range(8)])
        return self.center_ras + (signs * self.size_mm) @ self.axes


@dataclass(frozen=True, eq=False)
class Doodle(Prompt):
    """A stroke or scribble: the polyline ``ras`` (n, 3) mm, drawn by a brush of diameter ``width_mm`` (0: a line)."""

    ras: FloatArray
    positive: bool = True
    width_mm: float = 0.0

    type: ClassVar[str] = "doodle"

    def __post_init__(self) -> None:
        super().__post_init__()
        object.__setattr__(self, "ras", finite_array(self.ras, (-1, 3), "The vertices of a doodle"))
        object.__setattr__(self, "positive", bool(self.positive))
        width = float(finite_array(self.width_mm, (), "The width of a doodle"))
        if width < 0:
            raise PromptError(f"The width of a doodle cannot be negative ({width} mm).")
        object.__setattr__(self, "width_mm", width)


@dataclass(frozen=True, eq=False)
class MaskPrompt(Prompt):
    """A rough or earlier segmentation: ``crop`` of a volume with ``geometry``, which need not be the image's."""

    crop: Crop
    geometry: VolumeGeometry

    type: ClassVar[str] = "mask"

    def __post_init__(self) -> None:
        super().__post_init__()
        if self.crop.is_empty:
            raise PromptError("A mask prompt is empty; paint at least one voxel.")
        if any(u > n for u, n in zip(self.crop.upper, self.geometry.shape, strict=True)):
            raise PromptError(
                f"A mask prompt reaches voxel {self.crop.upper} (k, j, i) but its volume has {self.geometry.shape}; "
                "give the geometry that the mask was painted on."
            )
        object.__setattr__(self, "crop", self.crop.tight())

    @property
    def axes(self) -> tuple[int, ...]:
        """The array axes along whose slices it speaks.

        A mask of one slice is about that slice only: on others, which cross it, it would be a line. One that is more
        than a voxel thick everywhere is about slices of any direction.
        """
        flat = tuple(axis for axis, size in enumerate(self.crop.mask.shape) if size == 1)
        return flat or (0, 1, 2)


_CLASSES: dict[str, type[Prompt]] = {cls.type: cls for cls in (Point, Box, Doodle, MaskPrompt)}


def prompt_to_json(prompt: Prompt) -> dict[str, Any]:
    """One prompt as a JSON-ready object: its type, its fields by name; floats survive exactly."""
    data: dict[str, Any] = {"type": prompt.type}
    for name, value in vars(prompt).items():
        if isinstance(value, np.ndarray):
            data[name] = value.tolist()
        elif isinstance(value, Source):
            data[name] = {"kind": value.kind, "name": value.name}
        elif isinstance(value, Crop):
            bits = zlib.compress(np.packbits(value.mask).tobytes())
            packed = base64.b64encode(bits).decode("ascii")
            data[name] = {"lower": list(value.lower), "shape": list(value.mask.shape), "bits": packed}
        else:
            data[name] = value.to_json() if isinstance(value, VolumeGeometry) else value
    return data


def prompt_from_json(data: Any) -> Prompt:
    """Inverse of ``prompt_to_json``. Strict: a missing, unknown or malformed entry is a PromptError."""
    if not isinstance(data, dict):
        raise PromptError("A prompt must be an object.")
    cls = _CLASSES.get(data["type"]) if isinstance(data.get("type"), str) else None
    if cls is None:
        raise PromptError(
            f'The "type" of a prompt must be one of {", ".join(_CLASSES)}, not {data.get("type")!r:.40}.'
        )
    names = {f.name for f in fields(cls)}
    check_keys(data, names | {"type"}, f"A {cls.type}")
    values = {name: data[name] for name in names}
    source = values["source"]
    check_keys(source, {"kind", "name"}, "A source")
    if not isinstance(source["kind"], str) or not isinstance(source["name"], str):
        raise PromptError("The kind and name of a source must be texts.")
    values["source"] = Source(source["kind"], source["name"])  # type: ignore[arg-type]  # Source checks it
    if "positive" in names and not isinstance(values["positive"], bool):
        raise PromptError(f'"positive" of a {cls.type} must be true or false.')
    if cls is MaskPrompt:
        try:
            values["geometry"] = VolumeGeometry.from_json(values["geometry"])
            values["crop"] = _crop_from_json(values["crop"])
        except GeometryError as error:
            raise PromptError(str(error)) from None
    return cls(**values)


def check_keys(data: Any, names: set[str], what: str) -> None:
    """PromptError unless ``data`` is a JSON object with exactly the entries ``names``."""
    if not isinstance(data, dict):
        raise PromptError(f"{what} must be an object.")
    for name in sorted(names - set(data)):
        raise PromptError(f'{what} lacks "{name}".')
    for name in sorted(set(data) - names):
        raise PromptError(f'{what} has an unknown entry "{name:.40}".')


def _crop_from_json(data: Any) -> Crop:
    check_keys(data, {"lower", "shape", "bits"}, "The crop of a mask")
    for name in ("lower", "shape"):
        values = data[name]
        if not isinstance(values, list) or len(values) != 3 or any(type(n) is not int or n < 0 for n in values):
            raise PromptError(f'The "{name}" of a mask\'s crop must be three whole numbers from 0.')
    shape, count = tuple(data["shape"]), math.prod(data["shape"])
    try:
        packed = base64.b64decode(data["bits"], validate=True)
        size = (count + 7) // 8
        bits = np.frombuffer(zlib.decompressobj().decompress(packed, size + 1), dtype=np.uint8)
        if len(bits) != size:
            raise ValueError
        mask = np.unpackbits(bits, count=count).astype(bool).reshape(shape)
    except (TypeError, ValueError, OverflowError, zlib.error):
        raise PromptError('The "bits" of a mask\'s crop are damaged; save the prompts again.') from None
    return Crop(mask, tuple(data["lower"]))
