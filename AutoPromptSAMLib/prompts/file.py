"""Prompts on disk: a JSON file that says who prompted what, on which grid and for which model."""

from __future__ import annotations

import json
import os
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from AutoPromptSAMLib import __version__
from AutoPromptSAMLib.atomic import atomic_path
from AutoPromptSAMLib.errors import GeometryError, PromptError
from AutoPromptSAMLib.geometry import VolumeGeometry
from AutoPromptSAMLib.prompts import PromptSet
from AutoPromptSAMLib.prompts.types import check_keys

SCHEMA = "autopromptsam-prompts/1"


@dataclass
class PromptFile:
    """What a prompts file holds: ``objects`` by name in order, ``model`` {"name", "sha256"} that they were made with,
    ``geometry`` of the image that they were made on, ``version`` of the software that wrote the file.
    """

    objects: dict[str, PromptSet]
    model: dict[str, str] | None = None
    geometry: VolumeGeometry | None = None
    version: str = field(default=__version__, compare=False)

    def to_json(self) -> dict[str, Any]:
        """JSON-ready object of schema ``autopromptsam-prompts/1``."""
        return {
            "schema": SCHEMA,
            "version": self.version,
            "model": self.model,
            "geometry": None if self.geometry is None else self.geometry.to_json(),
            "objects": [{"name": name, "prompts": prompts.to_json()} for name, prompts in self.objects.items()],
        }

    @staticmethod
    def from_json(data: Any) -> PromptFile:
        """Inverse of ``to_json``. Strict: PromptError says which entry is missing, unknown or malformed."""
        if isinstance(data, dict) and data.get("schema") != SCHEMA:
            raise PromptError(f'its "schema" is {data.get("schema")!r:.60} and not "{SCHEMA}"')
        check_keys(data, {"schema", "version", "model", "geometry", "objects"}, "the file")
        if not isinstance(data["version"], str):
            raise PromptError('"version" must be a text.')
        model = data["model"]
        if model is not None:
            check_keys(model, {"name", "sha256"}, "model")
            if not all(isinstance(value, str) for value in model.values()):
                raise PromptError("model: name and sha256 must be texts.")
        try:
            geometry = None if data["geometry"] is None else VolumeGeometry.from_json(data["geometry"])
        except GeometryError as error:
            raise PromptError(f"geometry: {error}") from None
        if not isinstance(data["objects"], list):
            raise PromptError('"objects" must be a list.')
        objects: dict[str, PromptSet] = {}
        for number, entry in enumerate(data["objects"]):
            try:
                check_keys(entry, {"name", "prompts"}, "an object")
                name = entry["name"]
                if not isinstance(name, str) or not name or name in objects:
                    raise PromptError("name must be a text that is not empty and no other object's.")
                objects[name] = PromptSet.from_json(entry["prompts"])
            except PromptError as error:
                raise PromptError(f"objects[{number}]: {error}") from None
        return PromptFile(objects, model, geometry, data["version"])


def save_prompts(
    path: str | os.PathLike[str],
    objects: Mapping[str, PromptSet],
    model: Mapping[str, str] | None = None,
    geometry: VolumeGeometry | None = None,
) -> None:
    """Write a prompts file, whole or not at all; StorageError when the disk does not take it."""
    data = PromptFile(dict(objects), None if model is None else dict(model), geometry).to_json()
    text = json.dumps(data, indent=1, allow_nan=False)
    with atomic_path(path) as temporary:
        temporary.write_text(text + "\n", encoding="utf-8")


def load_prompts(path: str | os.PathLike[str]) -> PromptFile:
    """Read a prompts file; PromptError says what is wrong with it and where."""
    path = Path(path)
    try:
        data = json.loads(path.read_text(encoding="utf-8"), parse_constant=_refuse_constant)
        return PromptFile.from_json(data)
    except OSError as error:
        raise PromptError(f"{path} could not be read ({error.strerror or error}); check the path.") from None
    except json.JSONDecodeError as error:
        raise PromptError(f"{path} is not JSON (line {error.lineno}: {error.msg}); save the prompts again.") from None
    except (ValueError, RecursionError):  # not UTF-8, numbers of thousands of digits, endless nesting
        raise PromptError(f"{path} is not a JSON text; save the prompts again.") from None
    except PromptError as error:
        raise PromptError(f"{path} is no valid prompts file: {error}") from None


def _refuse_constant(name: str) -> None:
    raise PromptError(f"{name} is not a number that a prompt can have.")
