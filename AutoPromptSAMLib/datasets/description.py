"""``dataset.yaml``: which images a folder holds, which label maps belong to them, and what their labels mean.

``docs/datasets.md`` describes the keys. Reading is strict: an unknown or missing key, or a value of the wrong kind, is
refused, so that a misspelt key cannot silently change what is measured. Reading opens no image: a pair whose files are
missing or do not fit is found when it is loaded, and does not take the others with it.
"""

from __future__ import annotations

from collections import Counter
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

from AutoPromptSAMLib.datasets.errors import DatasetError
from AutoPromptSAMLib.datasets.labels import ObjectRule, read_objects
from AutoPromptSAMLib.datasets.sections import Section, load_yaml

FILE_NAME = "dataset.yaml"
USES = ("train", "evaluation")
NPZ_KEYS = ("image", "mask", "scribbles", "spacing")


@dataclass(frozen=True)
class Pair:
    """One image and the label map that belongs to it: two files, or two arrays of one npz file.

    ``id``: unique in its dataset, and the same as long as its files are called the same. ``group``: what must not be
    torn apart by a split or count twice in a sample, such as a patient. ``modality``: as the file says it. ``image``,
    ``mask``, ``npz``: absolute paths. ``channel``: which of several images of one body this is. ``sequence`` and
    ``frame``: place in a video. ``object``: what this pair's only object is called; None: as in the dataset.
    """

    id: str
    group: str
    modality: str
    image: Path | None = None
    mask: Path | None = None
    npz: Path | None = None
    channel: str | None = None
    sequence: str | None = None
    frame: int | None = None
    object: str | None = None


@dataclass(frozen=True)
class Dataset:
    """A folder of labelled images, as its ``dataset.yaml`` describes it.

    ``modality``: "CT", "MR", "ultrasound", ..., or "mixed" where the pairs say it. ``dimensions``: 2 for images, 3
    for volumes. ``objects``: what label values mean. ``use``: "train" when weights that were trained on it may be
    published, "evaluation" when not. ``npz_keys``: (what it holds, what it is called) for the arrays of npz files;
    they hold "image" and "mask", and where there are any "scribbles" and "spacing".
    """

    name: str
    modality: str
    dimensions: int
    objects: ObjectRule
    licence: str
    use: str
    pairs: tuple[Pair, ...]
    folder: Path
    npz_keys: tuple[tuple[str, str], ...] = ()


def find_datasets(path: Path) -> list[Dataset]:
    """The dataset at ``path`` (its folder or its yaml file), or all those in folders directly below; sorted by name.

    Raises DatasetError when there is none, two have the same name, or one is not well formed.
    """
    path = Path(path)
    if path.is_file() or (path / FILE_NAME).is_file():
        return [read_dataset(path)]
    files = sorted(path.glob(f"*/{FILE_NAME}"))
    if not files:
        raise DatasetError(
            str(path),
            "",
            f"there is no {FILE_NAME} in this folder or in the folders directly below it; write one "
            "(docs/datasets.md says how) or give another folder.",
        )
    found = sorted((read_dataset(file) for file in files), key=lambda dataset: dataset.name)
    twice = [name for name, count in Counter(dataset.name for dataset in found).items() if count > 1]
    if twice:
        folders = " and ".join(str(dataset.folder) for dataset in found if dataset.name == twice[0])
        raise DatasetError(twice[0], "", f"{folders} have the same name; give each dataset a name of its own.")
    return found


def read_dataset(path: Path) -> Dataset:
    """Read one ``dataset.yaml``, given itself or its folder.

    Raises DatasetError, naming the file and the key or the pair, unless it is well formed.
    """
    path = Path(path)
    path = path / FILE_NAME if path.is_dir() else path
    content = load_yaml(path)
    section = Section(str(path), "", content)
    name = section.text("name")
    section.dataset = name
    dimensions = section.value("dimensions")
    if dimensions not in (2, 3) or isinstance(dimensions, bool):
        section.refuse("dimensions", "must be 2 (images) or 3 (volumes)")
    folder = path.parent.resolve()
    objects = read_objects(section, folder)
    npz_keys = _npz_keys(section)
    modality = section.text("modality")
    pairs = tuple(_pair(part, folder, modality, objects, bool(npz_keys)) for part in section.sections("pairs"))
    licence = section.text("licence", default="not stated")
    use = section.choice("use", USES, default="evaluation")
    section.finish()
    _check_frames(section, pairs)
    return Dataset(
        name, modality, dimensions, objects, licence, use, _with_ids(section, pairs, folder), folder, npz_keys
    )


def _npz_keys(section: Section) -> tuple[tuple[str, str], ...]:
    if "npz" not in section.content:
        return ()
    part = section.section("npz")
    keys = {key: part.text(key) for key in NPZ_KEYS if key in part.content or key in ("image", "mask")}
    part.finish()
    if "scribbles" in keys and not _one_object(section):
        section.refuse("npz.scribbles", "needs a dataset of one object, because scribbles do not say whose they are")
    return tuple(keys.items())


def _one_object(section: Section) -> bool:
    """Whether the "objects" of a dataset.yaml name exactly one, so that pairs and scribbles need not say which."""
    objects = section.content.get("objects")
    return isinstance(objects, dict) and len(objects) == 1 and not isinstance(objects.get("labels"), str)


def _pair(part: Section, folder: Path, modality: str, objects: ObjectRule, has_npz: bool) -> Pair:
    first = part.content.get("npz", part.content.get("image", ""))
    part.pair = str(first)
    values: dict[str, Any] = {}
    if "npz" in part.content:
        if not has_npz:
            part.refuse("npz", 'needs the entry "npz" of the dataset, which says what its arrays are called')
        values["npz"] = part.path("npz", folder)
    else:
        values.update(image=part.path("image", folder), mask=part.path("mask", folder))
    for key in ("channel", "object"):
        values[key] = part.text(key) if key in part.content else None
    if values["object"] is not None and objects.single is None:
        part.refuse("object", "renames the only object of a dataset, but this one has several")
    if ("sequence" in part.content) != ("frame" in part.content):
        part.refuse("sequence", 'and "frame" belong together; give both or neither')
    if "sequence" in part.content:
        values.update(sequence=part.name("sequence"), frame=part.index("frame"))
    values["modality"] = part.text("modality", default=modality)
    values["group"] = part.name("group") if "group" in part.content else ""
    part.finish()
    return Pair(id="", **values)


def _with_ids(section: Section, pairs: tuple[Pair, ...], folder: Path) -> tuple[Pair, ...]:
    """The pairs with ids: the image's path without its ending, with the mask's too where an image comes repeatedly."""
    images = [_stem(pair.npz or pair.image, folder) for pair in pairs]
    often = Counter(images)
    ids = [
        image if often[image] == 1 or pair.mask is None else f"{image}+{_stem(pair.mask, folder)}"
        for image, pair in zip(images, pairs, strict=True)
    ]
    for name, count in Counter(ids).items():
        if count > 1:
            raise DatasetError(section.dataset, name, f"it is listed {count} times; list every pair once.")
    return tuple(replace(pair, id=name, group=pair.group or name) for pair, name in zip(pairs, ids, strict=True))


def _stem(path: Path | None, folder: Path) -> str:
    assert path is not None
    inside = path.relative_to(folder).as_posix()
    for ending in (".nii.gz", path.suffix):
        if ending and inside.endswith(ending):
            return inside.removesuffix(ending)
    return inside


def _check_frames(section: Section, pairs: tuple[Pair, ...]) -> None:
    frames = Counter((pair.sequence, pair.frame) for pair in pairs if pair.sequence is not None)
    for (sequence, frame), count in frames.items():
        if count > 1:
            raise DatasetError(
                section.dataset, "", f"sequence {sequence} has frame {frame} {count} times; number the frames."
            )
    groups: dict[str | None, set[str]] = {}
    for pair in pairs:
        groups.setdefault(pair.sequence, set()).add(pair.group)
    for name, found in groups.items():
        if name is not None and len(found) > 1:
            raise DatasetError(
                section.dataset, "", f"sequence {name} is in the groups {', '.join(sorted(found))}; put it in one."
            )
