"""A pair of a dataset -> its image and the masks of its objects, or the reason why it cannot be used."""

from __future__ import annotations

import zipfile
import zlib
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, NoReturn

import numpy as np
from numpy.typing import NDArray

from AutoPromptSAMLib.datasets.description import Dataset, Pair
from AutoPromptSAMLib.datasets.errors import DatasetError
from AutoPromptSAMLib.datasets.labels import LabelMasks
from AutoPromptSAMLib.errors import AutoPromptSAMError, GeometryError
from AutoPromptSAMLib.geometry import Volume, VolumeGeometry
from AutoPromptSAMLib.geometry.grid import BoolArray
from AutoPromptSAMLib.images import is_picture, load_labels, load_volume

# DICOM's codes of the modalities that intensity mappings ask for, by what a dataset.yaml calls them in small letters.
CODES = {"ct": "CT", "mr": "MR", "mri": "MR", "pet": "PT", "ultrasound": "US", "x-ray": "DX"}

Scribbles = tuple[tuple[BoolArray, BoolArray], ...]


@dataclass(frozen=True, eq=False)
class Case:
    """A pair in memory.

    ``dataset``: the dataset's name. ``volume``: the image; one slice (K = 1) for images of two dimensions. ``masks``:
    bool (K, J, I) by object, made when asked for; objects that are not on the image are not in it. ``has_spacing``:
    whether ``volume``'s spacing is in mm; False for photographs and the like. ``scribbles``: what people drew, a
    (positive, negative) pair of bool (K, J, I) for each of them.
    """

    dataset: str
    pair: Pair
    volume: Volume
    masks: LabelMasks
    has_spacing: bool
    scribbles: Scribbles = field(default=())

    @property
    def spacing(self) -> tuple[float, float, float] | None:
        """Voxel size along the array axes (k, j, i) in mm; None when voxels have no known size."""
        i, j, k = self.volume.geometry.spacing
        return (k, j, i) if self.has_spacing else None


@dataclass(frozen=True)
class UnusablePair:
    """A pair that cannot be used, and why: a sentence."""

    dataset: str
    pair: Pair
    reason: str


def cases(dataset: Dataset, pairs: Iterable[Pair] | None = None) -> Iterator[Case | UnusablePair]:
    """Load ``pairs`` of ``dataset`` (default: all) one after the other; what cannot be used comes as UnusablePair."""
    for pair in dataset.pairs if pairs is None else pairs:
        try:
            yield load_case(dataset, pair)
        except DatasetError as error:
            yield UnusablePair(dataset.name, pair, error.reason)


def load_case(dataset: Dataset, pair: Pair) -> Case:
    """Load one pair. Objects that its label map does not show are left out.

    Raises DatasetError, naming the pair and the reason, when a file is missing or unreadable, the label map does not
    fit the image, or there is no object on it.
    """

    def refuse(reason: str) -> NoReturn:
        raise DatasetError(dataset.name, pair.id, reason)

    try:
        if pair.npz is not None:
            volume, labels, scribbles, has_spacing = _load_npz(dataset, pair, pair.npz)
        else:
            volume, labels, has_spacing = _load_files(pair)
            scribbles = ()
    except DatasetError:
        raise
    except AutoPromptSAMError as error:
        refuse(str(error))
    except OSError as error:
        refuse(f"a file of it cannot be read ({error}); check its permissions.")
    except MemoryError:
        refuse("it does not fit into memory; crop it or leave it out.")
    if dataset.dimensions == 2 and volume.geometry.shape[0] != 1:
        refuse(f"it has {volume.geometry.shape[0]} slices in a dataset of 2 dimensions; write dimensions: 3.")
    mask_file = pair.mask or pair.npz
    assert mask_file is not None
    objects = dataset.objects.objects_in(labels, _name_of(mask_file), pair.object)
    if not objects:
        refuse("its label map shows none of the dataset's objects; leave it out or correct the objects.")
    return Case(dataset.name, pair, volume, LabelMasks(labels, objects), has_spacing, scribbles)


def _load_files(pair: Pair) -> tuple[Volume, NDArray[Any], bool]:
    assert pair.image is not None
    assert pair.mask is not None
    image = load_volume(pair.image)
    has_spacing = not is_picture(pair.image)
    geometry = image.geometry if has_spacing else _unit_geometry(image.geometry.shape)
    volume = Volume(image.array, geometry, CODES.get(pair.modality.lower(), image.modality), image.name)
    if has_spacing and not is_picture(pair.mask):
        return volume, load_labels(pair.mask, geometry), True
    # Of a flat file only the pixels count: a printer's resolution in one of the two files displaces nothing.
    own = load_volume(pair.mask).geometry
    if own.shape != geometry.shape:
        raise GeometryError(_sizes(own.shape, geometry.shape))
    return volume, load_labels(pair.mask, own), has_spacing


def _load_npz(dataset: Dataset, pair: Pair, path: Path) -> tuple[Volume, NDArray[Any], Scribbles, bool]:
    arrays = _arrays(dataset, pair, path)
    image, labels = arrays["image"], arrays["mask"]

    def refuse(reason: str) -> NoReturn:
        raise DatasetError(dataset.name, pair.id, reason)

    for name, array in arrays.items():
        if array.dtype.kind not in "buif":
            refuse(
                f'the array "{dict(dataset.npz_keys)[name]}" holds {array.dtype} and no numbers; save it as numbers.'
            )
    wanted = dataset.dimensions
    colour = image.ndim == wanted + 1 and image.shape[-1] == 3
    if image.ndim != wanted and not colour:
        refuse(f"its image has {image.ndim} dimensions {image.shape}, the dataset has {wanted}; save it as one image.")
    grid = image.shape[:wanted]
    if labels.shape != grid:
        refuse(_sizes(labels.shape, grid))
    if labels.dtype.kind == "f":
        if not np.array_equal(labels, np.rint(labels)):
            refuse("its mask has values that are not whole numbers, so it is no label map; save a label map.")
        labels = labels.astype(np.int32)
    elif labels.dtype.kind == "b":
        labels = labels.astype(np.uint8)
    spacing = _spacing(arrays, wanted, refuse)
    scribbles = _scribbles(arrays, grid, refuse)
    if wanted == 2:
        image, labels = image[None], labels[None]
    geometry = _unit_geometry(labels.shape, (*(spacing or (1.0, 1.0, 1.0)), 1.0)[:3])
    volume = Volume(image, geometry, CODES.get(pair.modality.lower()), path.stem)
    return volume, labels, scribbles, spacing is not None


def _arrays(dataset: Dataset, pair: Pair, path: Path) -> dict[str, NDArray[Any]]:
    """The arrays of an npz file by what they hold. Objects in it are never unpickled: that would run its code."""

    def refuse(reason: str) -> NoReturn:
        raise DatasetError(dataset.name, pair.id, reason)

    if not path.is_file():
        refuse(f"{path.name} does not exist; check the path.")
    damaged = f"{path.name} is damaged or no npz file and cannot be read; save it again."
    if not zipfile.is_zipfile(path):
        refuse(damaged)
    arrays: dict[str, NDArray[Any]] = {}
    try:
        with np.load(path, allow_pickle=False) as file:
            for name, key in dataset.npz_keys:
                if key not in file.files:
                    if name in ("image", "mask"):
                        refuse(f'{path.name} has no array "{key}" but {", ".join(file.files)}; correct "npz".')
                    continue
                arrays[name] = file[key]
    except (OSError, ValueError, EOFError, KeyError, zipfile.BadZipFile, zlib.error) as error:
        if "allow_pickle" in str(error):
            refuse(f"{path.name} holds Python objects, which are never loaded; save plain arrays of numbers.")
        refuse(damaged)
    return arrays


def _spacing(arrays: dict[str, NDArray[Any]], dimensions: int, refuse: Any) -> tuple[float, ...] | None:
    if "spacing" not in arrays:
        return None
    spacing = np.asarray(arrays["spacing"], dtype=np.float64)
    if spacing.shape != (dimensions,) or not np.isfinite(spacing).all() or (spacing <= 0).any():
        refuse(f"its spacing must be {dimensions} lengths above 0 in mm, along columns, rows and slices.")
    return tuple(spacing.tolist())


def _scribbles(arrays: dict[str, NDArray[Any]], grid: tuple[int, ...], refuse: Any) -> Scribbles:
    if "scribbles" not in arrays:
        return ()
    array = arrays["scribbles"]
    array = array[None] if array.ndim == len(grid) + 1 else array
    if array.shape[1:] != (2, *grid):
        refuse(
            f"its scribbles have shape {array.shape} where (people, 2, {', '.join(map(str, grid))}) is needed, "
            "positive ones first; save them so."
        )
    drawn = (array > 0).reshape(len(array), 2, *((1,) if len(grid) == 2 else ()), *grid)
    return tuple((person[0], person[1]) for person in drawn)


def _sizes(mask: tuple[int, ...], image: tuple[int, ...]) -> str:
    return (
        f"its mask has {' x '.join(map(str, mask))} pixels and its image {' x '.join(map(str, image))}; "
        "give both of the same size."
    )


def _unit_geometry(shape: tuple[int, ...], spacing: Sequence[float] = (1.0, 1.0, 1.0)) -> VolumeGeometry:
    """A grid without directions of its own: columns to the left, rows to the back, slices up, as ITK puts them."""
    i, j, k = spacing
    return VolumeGeometry((shape[0], shape[1], shape[2]), np.diag([-i, -j, k, 1.0]))


def _name_of(path: Path) -> str:
    return path.name.removesuffix(".gz").rsplit(".", 1)[0]
