"""Pairs of files -> images and masks, and every reason why a pair cannot be used."""

from __future__ import annotations

import json
import pickle
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from PIL import Image

from AutoPromptSAMLib.datasets import Case, DatasetError, UnusablePair, cases, find_datasets, load_case, read_dataset

from .conftest import labels_2d, save_nifti, save_png

Content = dict[str, Any]
Write = Callable[..., Path]
SHARED = Path(__file__).parents[3] / "shared" / "data"


def load_first(folder: Path) -> Case:
    dataset = read_dataset(folder)
    return load_case(dataset, dataset.pairs[0])


def refusal(folder: Path) -> str:
    with pytest.raises(DatasetError) as refused:
        load_first(folder)
    dataset = read_dataset(folder)
    assert refused.value.dataset == dataset.name
    assert refused.value.pair == dataset.pairs[0].id
    assert refused.value.reason in str(refused.value)
    assert "\n" not in str(refused.value)
    return str(refused.value)


def test_photographs(photos: Content, write: Write) -> None:
    case = load_first(write(photos))
    labels = labels_2d()
    assert case.volume.array.shape == (1, 40, 60, 3)
    assert list(case.masks) == ["polyp", "tool", "all"]
    for name, values in (("polyp", [1]), ("tool", [2]), ("all", [1, 2])):
        assert case.masks[name].dtype == np.bool_
        np.testing.assert_array_equal(case.masks[name], np.isin(labels, values)[None])
    assert not case.has_spacing
    assert case.spacing is None
    assert case.scribbles == ()


def test_objects_that_are_not_there_are_left_out(photos: Content, write: Write, tmp_path: Path) -> None:
    save_png(tmp_path / "masks" / "a.png", np.where(labels_2d() == 1, 1, 0).astype(np.uint8))
    assert list(load_first(write(photos)).masks) == ["polyp", "all"]


def test_nonzero_and_the_name_that_a_pair_gives_it(photos: Content, write: Write) -> None:
    folder = write(photos, objects={"organ": "nonzero"})
    case = load_first(folder)
    np.testing.assert_array_equal(case.masks["organ"], labels_2d()[None] > 0)
    photos["pairs"][0]["object"] = "spleen"
    dataset = read_dataset(write(photos, objects={"organ": "nonzero"}))
    assert [list(case.masks) for case in cases(dataset)] == [["spleen"], ["organ"], ["organ"]]


def test_nonzero_where_there_is_nothing(photos: Content, write: Write, tmp_path: Path) -> None:
    save_png(tmp_path / "masks" / "a.png", np.zeros((40, 60), dtype=np.uint8))
    assert "none of the dataset's objects" in refusal(write(photos, objects={"organ": "nonzero"}))


def test_each_label_is_an_object(photos: Content, write: Write, tmp_path: Path) -> None:
    save_png(tmp_path / "masks" / "a.png", (labels_2d() * 17).astype(np.uint8))
    case = load_first(write(photos, objects={"labels": "each"}))
    assert list(case.masks) == ["label 17", "label 34"]
    np.testing.assert_array_equal(case.masks["label 34"][0], labels_2d() == 2)


def test_names_of_labels_from_a_table(photos: Content, write: Write, tmp_path: Path) -> None:
    (tmp_path / "labels.json").write_text(json.dumps({"1": "liver", "2": "spleen", "9": "lung"}))
    folder = write(photos, objects={"labels": "labels.json"})
    assert list(load_first(folder).masks) == ["liver", "spleen"]
    (tmp_path / "labels.json").write_text(json.dumps({"a": {"2": "spleen"}, "b": {"1": "kidney", "2": "kidney"}}))
    first, second, third = cases(read_dataset(folder))
    assert list(first.masks) == ["spleen"]
    np.testing.assert_array_equal(second.masks["kidney"][0], labels_2d() > 0)
    assert isinstance(third, UnusablePair)
    assert "none of the dataset's objects" in third.reason


@pytest.mark.parametrize("ending", ["png", "jpg", "tif"])
def test_a_printers_resolution_displaces_nothing(photos: Content, write: Write, tmp_path: Path, ending: str) -> None:
    picture = Image.open(tmp_path / "images" / "a.png")
    picture.save(tmp_path / "images" / f"a.{ending}", dpi=(72, 144))
    photos["pairs"][0]["image"] = f"images/a.{ending}"
    case = load_first(write(photos))
    assert case.spacing is None
    assert case.volume.geometry.spacing == (1, 1, 1)
    assert case.masks["all"].shape == (1, 40, 60)


VOLUME_LABELS = np.zeros((6, 20, 30), dtype=np.uint8)
VOLUME_LABELS[1:5, 5:15, 8:20] = 1


@pytest.fixture
def scans(tmp_path: Path) -> Content:
    rng = np.random.default_rng(0)
    save_nifti(tmp_path / "ct.nii.gz", rng.integers(-1000, 1000, (6, 20, 30)).astype(np.int16))
    save_nifti(tmp_path / "organ.nii.gz", VOLUME_LABELS)
    return {
        "name": "scans",
        "modality": "CT",
        "dimensions": 3,
        "objects": {"organ": [1]},
        "pairs": [{"image": "ct.nii.gz", "mask": "organ.nii.gz"}],
    }


def test_volumes(scans: Content, write: Write) -> None:
    case = load_first(write(scans))
    assert case.spacing == pytest.approx((3, 0.7, 0.7))
    assert case.volume.modality == "CT"
    np.testing.assert_array_equal(case.masks["organ"], VOLUME_LABELS == 1)
    scans["pairs"][0]["modality"] = "MR"
    assert load_first(write(scans)).volume.modality == "MR"
    assert (
        load_first(write(scans, modality="mixed", pairs=[scans["pairs"][0] | {"modality": "?"}])).volume.modality
        is None
    )


@pytest.mark.parametrize("name", ["ct.nii.gz", "organ.nii.gz"])
def test_missing_empty_and_cut_files(scans: Content, write: Write, tmp_path: Path, name: str) -> None:
    folder = write(scans)
    content = (folder / name).read_bytes()
    (folder / name).write_bytes(content[: len(content) // 2])
    assert name in refusal(folder)
    (folder / name).write_bytes(b"")
    assert "empty file" in refusal(folder)
    (folder / name).unlink()
    assert "does not exist" in refusal(folder)


def test_masks_of_another_size_or_place(scans: Content, photos: Content, write: Write, tmp_path: Path) -> None:
    save_nifti(tmp_path / "organ.nii.gz", VOLUME_LABELS, (0.7, 0.7, 3.3))
    assert "another geometry" in refusal(write(scans))
    save_nifti(tmp_path / "organ.nii.gz", VOLUME_LABELS[:-1])
    assert "another geometry" in refusal(write(scans))
    save_png(tmp_path / "masks" / "a.png", labels_2d(cols=61))
    assert "1 x 40 x 61" in refusal(write(photos))


def test_masks_that_are_no_label_maps(scans: Content, photos: Content, write: Write, tmp_path: Path) -> None:
    save_nifti(tmp_path / "organ.nii.gz", (VOLUME_LABELS * 0.5).astype(np.float32))
    assert "not whole numbers" in refusal(write(scans))
    save_png(tmp_path / "masks" / "a.png", np.zeros((40, 60, 3), dtype=np.uint8))
    assert "label map" in refusal(write(photos))


def test_masks_without_an_object(photos: Content, write: Write, tmp_path: Path) -> None:
    save_png(tmp_path / "masks" / "b.png", np.zeros((40, 60), dtype=np.uint8))
    save_png(tmp_path / "masks" / "c.png", np.full((40, 60), 7, dtype=np.uint8))
    found = list(cases(read_dataset(write(photos))))
    assert [type(one) for one in found] == [Case, UnusablePair, UnusablePair]
    assert found[1].pair.id == "images/b"
    assert found[1].dataset == "photos"
    assert "none of the dataset's objects" in found[1].reason


def test_a_volume_is_no_image(scans: Content, write: Write) -> None:
    assert "6 slices in a dataset of 2 dimensions" in refusal(write(scans, dimensions=2))


def arrays_2d(**changes: Any) -> dict[str, Any]:
    scribbles = np.zeros((3, 2, 40, 60), dtype=np.uint8)
    scribbles[:, 0, 8, 12:20] = 1
    scribbles[:, 1, 35, 5:9] = 1
    arrays = {"img": np.zeros((40, 60), np.uint8), "seg": labels_2d(), "drawn": scribbles, "mm": np.array([0.5, 2.0])}
    return {key: value for key, value in (arrays | changes).items() if value is not None}


@pytest.fixture
def packed(tmp_path: Path, write: Write) -> Callable[..., Path]:
    """Writes a dataset of one npz file with the given changes to its arrays."""

    def written(dimensions: int = 2, **changes: Any) -> Path:
        np.savez_compressed(tmp_path / "a.npz", **arrays_2d(**changes))
        return write(
            {"name": "packed", "modality": "MR", "dimensions": dimensions, "objects": {"target": [1]}},
            npz={"image": "img", "mask": "seg", "scribbles": "drawn", "spacing": "mm"},
            pairs=[{"npz": "a.npz"}],
        )

    return written


def test_npz_files(packed: Callable[..., Path]) -> None:
    case = load_first(packed())
    assert case.volume.array.shape == (1, 40, 60)
    assert case.spacing == (1, 2.0, 0.5)  # rows are 2 mm apart, columns .5
    assert len(case.scribbles) == 3
    positive, negative = case.scribbles[0]
    assert positive.shape == negative.shape == (1, 40, 60)
    assert positive.dtype == np.bool_
    assert positive[0, 8, 12]
    assert not positive[0, 35, 5]
    assert negative[0, 35, 5]
    bare = load_first(packed(drawn=None, mm=None, seg=labels_2d() > 0))
    assert bare.spacing is None
    assert bare.scribbles == ()
    assert bare.masks["target"].sum() == (labels_2d() > 0).sum()
    colour = load_first(packed(img=np.zeros((40, 60, 3), np.uint8)))
    assert colour.volume.is_colour
    one = load_first(packed(drawn=arrays_2d()["drawn"][0]))
    assert len(one.scribbles) == 1


def test_npz_volumes(packed: Callable[..., Path]) -> None:
    changes = {"img": VOLUME_LABELS * 3, "seg": VOLUME_LABELS, "drawn": None, "mm": np.array([0.5, 0.6, 4.0])}
    case = load_first(packed(3, **changes))
    assert case.spacing == (4.0, 0.6, 0.5)
    np.testing.assert_array_equal(case.masks["target"], VOLUME_LABELS == 1)


@pytest.mark.parametrize(
    ("changes", "word"),
    [
        ({"img": None}, 'no array "img"'),
        ({"seg": None}, 'no array "seg"'),
        ({"img": np.zeros((4, 40, 60), np.uint8)}, "3 dimensions"),
        ({"img": np.zeros((40, 60, 4), np.uint8)}, "3 dimensions"),
        ({"img": np.zeros((40, 60, 3), np.float32)}, "8 bits per channel"),
        ({"img": np.full((40, 60), np.nan)}, "NaN"),
        ({"img": np.full((40, 60), "x")}, "no numbers"),
        ({"img": np.zeros((40, 60), complex)}, "no numbers"),
        ({"seg": labels_2d(rows=41)}, "1 x 41 x 60|41 x 60"),
        ({"seg": labels_2d() * 0.5}, "not whole numbers"),
        ({"seg": np.full((40, 60), np.nan)}, "not whole numbers"),
        ({"seg": np.zeros((40, 60), np.uint8)}, "none of the dataset's objects"),
        ({"mm": np.array([1.0, 1.0, 1.0])}, "2 lengths above 0"),
        ({"mm": np.array([1.0, 0.0])}, "2 lengths above 0"),
        ({"drawn": np.zeros((3, 40, 60), np.uint8)}, "scribbles have shape"),
        ({"drawn": np.zeros((3, 2, 60, 40), np.uint8)}, "scribbles have shape"),
    ],
)
def test_npz_files_that_cannot_be_used(packed: Callable[..., Path], changes: dict[str, Any], word: str) -> None:
    folder = packed(**changes)
    assert any(part in refusal(folder) for part in word.split("|"))


class Bomb:
    """What unpickling runs: here it leaves a trace."""

    def __init__(self, trace: Path) -> None:
        self.trace = trace

    def __reduce__(self) -> tuple[Any, ...]:
        return Path.touch, (self.trace,)


def test_objects_in_npz_files_are_never_unpickled(packed: Callable[..., Path], tmp_path: Path) -> None:
    trace = tmp_path / "trace"
    array = np.empty(1, dtype=object)
    array[0] = Bomb(trace)
    folder = packed(seg=array)
    assert "Python objects, which are never loaded" in refusal(folder)
    (folder / "a.npz").write_bytes(pickle.dumps(Bomb(trace)))
    assert "damaged or no npz file" in refusal(folder)
    assert not trace.exists()


def test_damaged_npz_files(packed: Callable[..., Path]) -> None:
    folder = packed()
    content = (folder / "a.npz").read_bytes()
    (folder / "a.npz").write_bytes(content[: len(content) // 2])
    assert "damaged" in refusal(folder)
    spoiled = bytearray(content)
    spoiled[60:90] = b"\xff" * 30
    (folder / "a.npz").write_bytes(bytes(spoiled))
    assert "damaged" in refusal(folder)
    (folder / "a.npz").unlink()
    assert "does not exist" in refusal(folder)


@pytest.mark.skipif(not SHARED.is_dir(), reason="the shared datasets are not on this machine")
def test_one_pair_of_every_shared_dataset_is_loaded() -> None:
    for dataset in find_datasets(SHARED):
        case = load_case(dataset, dataset.pairs[-1])
        assert case.masks
        assert all(case.masks[name].shape == case.volume.geometry.shape for name in list(case.masks)[:3])
