"""How sets and pairs are written, and how they are read without trusting what was written.

A pair is a zip file of PNG images: ``image.png`` and a mask for every object, ``0.png`` and so on. A set is a JSON
text with the names that belong to them. Both say by a SHA-256 what they must be: a pair in its name, a set in itself.
"""

from __future__ import annotations

import hashlib
import io
import json
import re
import zipfile
from collections.abc import Mapping, Sequence
from contextlib import suppress
from pathlib import Path
from typing import Any

import numpy as np
from PIL import Image

from AutoPromptSAMLib.files.checks import DAMAGED
from AutoPromptSAMLib.supports.errors import SupportError
from AutoPromptSAMLib.supports.pairs import (
    MOST_OBJECTS,
    MOST_PAIRS,
    MOST_PIXELS,
    VIEWS,
    Pixels,
    SupportObject,
    SupportPair,
    SupportSet,
    pixels_id,
)

SET_FILE = "set.json"
FORMAT = "autopromptsam-supports"
VERSION = 2
DIGEST = re.compile("[0-9a-f]{64}")
TASK_KIND = "Proxy Prompt task"
# A PNG of the largest image is 3 MB if it is noise; larger ones are not ours.
_MOST_BYTES = 8 * 2**20
_MOST_HEADER = 2**20

_WRITTEN = (1980, 1, 1, 0, 0, 0)  # the same content makes the same file


class Damaged(Exception):  # noqa: N818 - never leaves this folder
    """What is wrong, in words that a sentence can end with."""


def pack_pair(pair: SupportPair) -> bytes:
    """The file of a pair."""
    content = io.BytesIO()
    with zipfile.ZipFile(content, "w", zipfile.ZIP_STORED) as archive:
        pictures = {"image": Image.fromarray(pair.image)}
        pictures |= {str(number): Image.fromarray(mask) for number, mask in enumerate(pair.masks.values())}
        for name, picture in pictures.items():
            png = io.BytesIO()
            picture.save(png, "PNG")
            archive.writestr(zipfile.ZipInfo(f"{name}.png", _WRITTEN), png.getvalue())
    return content.getvalue()


def unpack_pair(content: bytes, id: str, objects: Sequence[str]) -> Pixels:
    """Image and masks of a pair's file; Damaged unless they are those that ``id`` names."""
    try:
        with zipfile.ZipFile(io.BytesIO(content)) as archive:
            image = _picture(archive, "image.png", "RGB")
            layers = [_picture(archive, f"{number}.png", "1") for number in range(len(objects))]
    except (KeyError, OSError, SyntaxError, Image.DecompressionBombError, *DAMAGED) as error:
        raise Damaged(f"it cannot be read ({error})") from None
    if any(layer.shape != image.shape[:2] for layer in layers):
        raise Damaged("its masks are not of the size of its image")
    pixels = (image, dict(zip(objects, layers, strict=True)))
    if pixels_id(pixels) != id:
        raise Damaged("its pixels are not those that were saved")
    return pixels


def read_pair(path: Path, id: str, objects: Sequence[str]) -> Pixels:
    """Image and masks of a pair on disk; SupportError when it is missing or not what was saved."""
    try:
        return unpack_pair(path.read_bytes(), id, objects)
    except (OSError, Damaged) as error:
        why = error if isinstance(error, Damaged) else f"it cannot be read ({error.strerror or error})"
        raise SupportError(f"The pair {path} is damaged, because {why}; remove it and add it again.") from None


def _picture(archive: zipfile.ZipFile, name: str, mode: str) -> Any:
    if archive.getinfo(name).file_size > _MOST_BYTES:
        raise ValueError(f"{name} is too large")
    with Image.open(io.BytesIO(archive.read(name)), formats=("PNG",)) as picture:
        if picture.mode != mode or max(picture.size) > MOST_PIXELS:
            raise ValueError(f"{name} has {picture.size} pixels of mode {picture.mode}")
        return np.array(picture)


def pack_set(content: SupportSet, tasks: Mapping[str, str]) -> bytes:
    """The JSON text of a set; ``tasks``: the SHA-256 of its networks' files, by model."""
    said = {
        "name": content.name,
        "objects": [
            {"name": each.name, "colour": list(each.colour), "terminology": each.terminology}
            for each in content.objects
        ],
        "pairs": [
            {
                "id": pair.id,
                "name": pair.name,
                "objects": list(pair.objects),
                "spacing": None if pair.spacing is None else list(pair.spacing),
                "view": pair.view,
                "source": pair.source,
                "group": pair.group,
            }
            for pair in content.pairs
        ],
        "tasks": dict(tasks),
    }
    whole = {"format": FORMAT, "version": VERSION, "sha256": _digest(said), "set": said}
    return json.dumps(whole, indent=1, ensure_ascii=False).encode()


def unpack_set(text: bytes, id: str, pair_path: Mapping[str, Path] | Any) -> tuple[SupportSet, dict[str, str]]:
    """The set of a JSON text, without thumbnails and networks, and the SHA-256 of its networks by model.

    ``pair_path(id)`` is where a pair lies. Version 1 did not say which model its network was for: "", see
    ``by_model``. Damaged when the text is not what was written.
    """
    try:
        whole = json.loads(text)
        if whole["format"] != FORMAT:
            raise Damaged("it is no set of examples")
        if not isinstance(whole["version"], int) or whole["version"] > VERSION:
            raise Damaged("a newer version of AutoPromptSAM wrote it")
        said = whole["set"]
        if whole["sha256"] != _digest(said):
            raise Damaged("its content is not what was saved")
        tasks = dict(said["tasks"]) if "tasks" in said else {"": said["task"]} if said["task"] else {}
        if not all(isinstance(model, str) and DIGEST.fullmatch(digest) for model, digest in tasks.items()):
            raise ValueError("a task of it has no SHA-256")
        if len(said["objects"]) > MOST_OBJECTS or len(said["pairs"]) > MOST_PAIRS:
            raise ValueError("it has too many objects or pairs")
        objects = tuple(
            SupportObject(each["name"], tuple(each["colour"]), str(each["terminology"])) for each in said["objects"]
        )
        pairs = tuple(_pair(each, pair_path) for each in said["pairs"])
        return SupportSet(id, said["name"], objects, pairs), tasks
    except (KeyError, TypeError, ValueError, RecursionError, AttributeError):
        raise Damaged("its content cannot be read") from None
    except SupportError as error:
        raise Damaged(f"it cannot be used ({str(error).rstrip('.')})") from None


def _pair(said: Mapping[str, Any], pair_path: Any) -> SupportPair:
    id, objects = said["id"], tuple(said["objects"])
    if not DIGEST.fullmatch(id) or not objects or not all(isinstance(name, str) for name in objects):
        raise ValueError("a pair has no SHA-256 or no objects")
    spacing, view = said["spacing"], said["view"]
    if spacing is not None:
        spacing = (float(spacing[0]), float(spacing[1]))
        if not all(np.isfinite(side) and side > 0 for side in spacing):
            raise ValueError("a pair's spacing is no size")
    if view is not None and view not in VIEWS:
        raise ValueError(f"{view} is no view")
    path = pair_path(id)
    return SupportPair(
        id, str(said["name"]), objects, lambda: read_pair(path, id, objects), spacing, view, None, str(said["source"]),
        str(said.get("group", "")),
    )  # fmt: skip


def _digest(said: Any) -> str:
    return hashlib.sha256(json.dumps(said, sort_keys=True, ensure_ascii=False).encode()).hexdigest()


def by_model(tasks: Mapping[str, Path]) -> dict[str, Path]:
    """Networks by the models that they prompt, where that is "" as their files say; without those that cannot."""
    found = {}
    for model, path in tasks.items():
        with suppress(SupportError):
            found[model or task_model(path)] = path
    return found


def task_model(path: Path) -> str:
    """The model that a Proxy Prompt network was learned with; SupportError for another file.

    Its weights are checked on loading.
    """
    try:
        with open(path, "rb") as stream:
            length = int.from_bytes(stream.read(8), "little")
            header = json.loads(stream.read(length)) if 0 < length <= _MOST_HEADER else {}
        about = json.loads(header["__metadata__"]["autopromptsam"])
        kind, model = about["kind"], about["backbone"]
    except OSError as error:
        raise SupportError(f"The task {path} cannot be read ({error.strerror or error}); check the path.") from None
    except (ValueError, KeyError, TypeError, AttributeError):
        kind = model = None
    if kind != TASK_KIND or not isinstance(model, str):
        raise SupportError(
            f"The file {path} is no task of AutoPromptSAM; choose one that `autopromptsam learn` wrote."
        )
    return model
