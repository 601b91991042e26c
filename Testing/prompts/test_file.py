"""Prompts on disk: whole or not at all, and strictly read."""

from __future__ import annotations

import json
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from AutoPromptSAMLib.errors import PromptError, StorageError
from AutoPromptSAMLib.geometry import (
    Crop,
    Plane,
    VolumeGeometry,
    slice_plane,
)
from AutoPromptSAMLib.prompts import (
    Box,
    Doodle,
    MaskPrompt,
    Point,
    Prompt,
    PromptSet,
)
from AutoPromptSAMLib.prompts.file import SCHEMA, load_prompts, save_prompts

CT = VolumeGeometry((20, 64, 80), np.array([[-0.7, 0, 0, 90], [0, -0.7, 0, 80], [0, 0, 2.5, -300], [0, 0, 0, 1.0]]))
AXIAL = slice_plane(CT, 0, 7)


def at(col: float, row: float, plane: Plane = AXIAL, depth: float = 0) -> np.ndarray:
    return plane.ras_from_pixels([[col, row]])[0] + depth * plane.normal


@given(
    st.dictionaries(
        st.text(min_size=1, max_size=8), st.lists(st.from_type(Prompt), max_size=3, unique_by=lambda p: p.id)
    )
)
@settings(max_examples=30)
def test_files_hold_everything(tmp_path_factory: pytest.TempPathFactory, objects: dict[str, list[Prompt]]) -> None:
    path = tmp_path_factory.mktemp("prompts") / "case.json"
    model = {"name": "lite-medsam", "sha256": "79d8"}
    save_prompts(path, {name: PromptSet(prompts) for name, prompts in objects.items()}, model, CT)
    read = load_prompts(path)
    assert list(read.objects) == list(objects)
    assert {name: list(prompts) for name, prompts in read.objects.items()} == objects
    assert read.model == model
    assert read.geometry == CT
    assert [p.name for p in path.parent.iterdir()] == ["case.json"]


def valid() -> dict:
    box = Box([0, 0, 0], np.eye(3), [1, 1, 0], id="b")
    mask = MaskPrompt(Crop(np.ones((2, 2, 2), bool)), CT, id="m")
    prompts = PromptSet([Point([1, 2, 3], id="p"), box, mask, Doodle([[1, 2, 3]], id="d")])
    return json.loads(
        json.dumps(
            {
                "schema": SCHEMA,
                "version": "0.1.0",
                "model": {"name": "sam", "sha256": "00"},
                "geometry": CT.to_json(),
                "objects": [{"name": "liver", "prompts": prompts.to_json()}],
            }
        )
    )


REMOVE = object()


@pytest.mark.parametrize(
    ("where", "value", "sentence"),
    [
        (["schema"], "autopromptsam-prompts/2", "schema"),
        (["schema"], REMOVE, "schema"),
        (["version"], 1, "version"),
        (["more"], 1, 'unknown entry "more"'),
        (["model"], "sam", "model must be an object"),
        (["model", "sha256"], REMOVE, 'model lacks "sha256"'),
        (["model", "name"], None, "model: name"),
        (["geometry"], REMOVE, 'lacks "geometry"'),
        (["geometry", "shape"], [1, 2], "geometry: A volume needs"),
        (["geometry", "ijk_to_ras", 0, 0], "x", "geometry: "),
        (["geometry", "ijk_to_ras", 0, 1], 0.5, "geometry: .* sheared"),
        (["objects"], {}, '"objects" must be a list'),
        (["objects", 0], 3, r"objects\[0\]: an object must be an object"),
        (["objects", 0, "name"], "", r"objects\[0\]: name"),
        (["objects", 0, "prompts"], {}, r"objects\[0\]: Prompts must be a list"),
        (["objects", 0, "prompts", 1], None, r"objects\[0\]: prompts\[1\]: A prompt must be an object"),
        (["objects", 0, "prompts", 0, "type"], "star", r"prompts\[0\]: The \"type\" .* not 'star'"),
        (["objects", 0, "prompts", 0, "type"], ["point"], r"prompts\[0\]: The \"type\""),
        (["objects", 0, "prompts", 0, "type"], REMOVE, r"prompts\[0\]: The \"type\""),
        (["objects", 0, "prompts", 0, "ras"], [1, 2], r"prompts\[0\]: The position of a point"),
        (["objects", 0, "prompts", 0, "ras"], [1, 2, None], r"prompts\[0\]: The position of a point"),
        (["objects", 0, "prompts", 0, "ras"], [True, True, True], "must be numbers"),
        (["objects", 0, "prompts", 0, "ras"], [1, 2, 10**30], "must be numbers"),
        (["objects", 0, "prompts", 0, "ras"], REMOVE, r'prompts\[0\]: A point lacks "ras"'),
        (["objects", 0, "prompts", 0, "colour"], 1, 'unknown entry "colour"'),
        (["objects", 0, "prompts", 0, "positive"], 1, '"positive" of a point'),
        (["objects", 0, "prompts", 0, "id"], 5, "needs an id"),
        (["objects", 0, "prompts", 0, "id"], "b", "same id"),
        (["objects", 0, "prompts", 0, "source"], "person", "A source must be an object"),
        (["objects", 0, "prompts", 0, "source", "kind"], "robot", 'not from "robot"'),
        (["objects", 0, "prompts", 0, "source", "name"], 3, "must be texts"),
        (["objects", 0, "prompts", 1, "size_mm"], [1, 0, 0], "two sides"),
        (["objects", 0, "prompts", 1, "axes"], [[1, 0, 0], [1, 0, 0], [0, 0, 1]], "perpendicular"),
        (["objects", 0, "prompts", 2, "geometry"], None, r"prompts\[2\]: A geometry must be"),
        (["objects", 0, "prompts", 2, "crop", "lower"], [0, 0, -1], 'The "lower"'),
        (["objects", 0, "prompts", 2, "crop", "lower"], [19, 0, 0], "reaches voxel"),
        (["objects", 0, "prompts", 2, "crop", "shape"], [10**6, 10**6, 10**6], "damaged"),
        (["objects", 0, "prompts", 2, "crop", "shape"], [10**9, 10**9, 10**9], "damaged"),
        (["objects", 0, "prompts", 2, "crop", "shape"], [4, 4, 4], "damaged"),
        (["objects", 0, "prompts", 2, "crop", "bits"], "%%%", "damaged"),
        (["objects", 0, "prompts", 2, "crop", "bits"], "AAAA", "damaged"),
        (["objects", 0, "prompts", 2, "crop", "bits"], 5, "damaged"),
        (["objects", 0, "prompts", 3, "ras"], [], "vertices of a doodle"),
        (["objects", 0, "prompts", 3, "width_mm"], "wide", "width of a doodle"),
    ],
)
def test_malformed_files_are_refused_naming_the_place(tmp_path: Path, where: list, value, sentence: str) -> None:
    data = valid()
    parent = data
    for key in where[:-1]:
        parent = parent[key]
    if value is REMOVE:
        del parent[where[-1]]
    else:
        parent[where[-1]] = value
    path = tmp_path / "prompts.json"
    path.write_text(json.dumps(data))
    with pytest.raises(PromptError, match=sentence) as caught:
        load_prompts(path)
    assert str(caught.value).startswith(f"{path} is no valid prompts file: ")


def test_the_valid_file_of_these_tests_is_valid(tmp_path: Path) -> None:
    path = tmp_path / "prompts.json"
    path.write_text(json.dumps(valid()))
    assert len(load_prompts(path).objects["liver"]) == 4


@pytest.mark.parametrize(
    ("content", "sentence"),
    [
        (b"", "is not JSON .line 1"),
        (b'{\n"schema": ', "is not JSON .line 2"),
        (b"\xff\xfe\x00", "is not a JSON text"),
        (b"[" * 100_000, "is not a JSON text"),
        (b"[1" + b"0" * 5000 + b"]", "not .* JSON text|no valid prompts file"),
        (b"[]", "the file must be an object"),
        (b'{"schema": NaN}', "NaN is not a number"),
    ],
)
def test_what_is_not_json_is_refused(tmp_path: Path, content: bytes, sentence: str) -> None:
    path = tmp_path / "prompts.json"
    path.write_bytes(content)
    with pytest.raises(PromptError, match=sentence):
        load_prompts(path)


def test_files_that_cannot_be_read_or_written(tmp_path: Path) -> None:
    with pytest.raises(PromptError, match=r"No such file or directory.; check the path\.$"):
        load_prompts(tmp_path / "none.json")
    with pytest.raises(
        StorageError, match=r"could not be written .No such file or directory.; choose another place\.$"
    ):
        save_prompts(tmp_path / "none" / "p.json", {})


def test_a_full_disk_keeps_the_old_file(tmp_path: Path, run_with_file_limit) -> None:
    path = tmp_path / "prompts.json"
    save_prompts(path, {"liver": PromptSet([Point([1, 2, 3], id="old")])})
    before = path.read_bytes()
    program = f"""
from AutoPromptSAMLib.errors import StorageError
from AutoPromptSAMLib.prompts.file import save_prompts
from AutoPromptSAMLib.prompts import Point, PromptSet
try:
    save_prompts({str(path)!r}, {{"liver": PromptSet([Point([n, 0, 0]) for n in range(1000)])}})
except StorageError as error:
    print(error)
"""
    message = f"{path} could not be written because the disk is full; free some space and save again."
    assert run_with_file_limit(program, 2000) == message
    assert path.read_bytes() == before
    assert list(tmp_path.iterdir()) == [path]
