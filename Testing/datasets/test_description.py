"""``dataset.yaml``: what it may say, and that everything else is refused with the place and the reason."""

from __future__ import annotations

import json
import pickle
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import yaml

from AutoPromptSAMLib.datasets import DatasetError, find_datasets, read_dataset

Content = dict[str, Any]
Write = Callable[..., Path]
SHARED = Path(__file__).parents[3] / "shared" / "data"


def test_a_dataset_is_read(photos: Content, write: Write) -> None:
    folder = write(photos, licence="CC0-1.0", use="train")
    dataset = read_dataset(folder)
    assert (dataset.name, dataset.modality, dataset.dimensions) == ("photos", "endoscopy", 2)
    assert (dataset.licence, dataset.use) == ("CC0-1.0", "train")
    assert [name for name, _ in dataset.objects.named] == ["polyp", "tool", "all"]
    assert [pair.id for pair in dataset.pairs] == ["images/a", "images/b", "images/c"]
    assert dataset.pairs[0].group == "pa"
    assert dataset.pairs[0].modality == "endoscopy"
    assert dataset.pairs[0].image == folder / "images" / "a.png"
    assert read_dataset(folder / "dataset.yaml") == dataset
    assert pickle.loads(pickle.dumps(dataset)) == dataset  # worker processes get it


def test_what_need_not_be_said(photos: Content, write: Write) -> None:
    for pair in photos["pairs"]:
        del pair["group"]
    dataset = read_dataset(write(photos))
    assert dataset.licence == "not stated"
    assert dataset.use == "evaluation"  # nobody publishes weights by mistake
    assert [pair.group for pair in dataset.pairs] == ["images/a", "images/b", "images/c"]


def test_pairs_say_more(photos: Content, write: Write) -> None:
    photos["pairs"] = [
        photos["pairs"][0] | {"group": 7, "modality": "CT", "sequence": 3, "frame": 0},
        photos["pairs"][1] | {"group": 7, "channel": "flair", "sequence": "3", "frame": 12},
    ]
    first, second = read_dataset(write(photos)).pairs
    assert (first.group, first.modality, first.sequence, first.frame) == ("7", "CT", "3", 0)
    assert (second.channel, second.frame) == ("flair", 12)


def test_ids_are_unique_where_images_or_masks_come_repeatedly(photos: Content, write: Write) -> None:
    photos["pairs"] = [
        {"image": "images/a.png", "mask": "masks/a.png"},
        {"image": "images/a.png", "mask": "masks/b.png"},
        {"image": "images/c.nii.gz", "mask": "masks/b.png"},
    ]
    dataset = read_dataset(write(photos))
    assert [pair.id for pair in dataset.pairs] == ["images/a+masks/a", "images/a+masks/b", "images/c"]
    photos["pairs"].append(photos["pairs"][0])
    with pytest.raises(DatasetError, match=r"images/a\+masks/a: it is listed 2 times"):
        read_dataset(write(photos))


def change(path: str, value: Any) -> Callable[[Content], None]:
    """Sets the entry at a dotted path; ... takes it away."""

    def apply(content: Content) -> None:
        *above, last = [int(key) if key.isdigit() else key for key in path.split(".")]
        for key in above:
            content = content[key]
        if value is ...:
            del content[last]
        else:
            content[last] = value

    return apply


@pytest.mark.parametrize(
    ("path", "value", "words"),
    [
        ("name", ..., ['"name" is missing']),
        ("name", 2015, ['"name" must be text', "2015"]),
        ("dimensions", 4, ['"dimensions" must be 2 (images) or 3 (volumes)']),
        ("dimensions", True, ['"dimensions"']),
        ("dimensions", "2", ['"dimensions"']),
        ("licenses", "CC0", ["photos", '"licenses" is no key']),
        ("use", "test", ['"use" must be one of train, evaluation, not "test"']),
        ("objects", ["polyp"], ['"objects" must hold keys and values']),
        ("objects", {}, ['"objects" must name at least one']),
        ("objects.polyp", 1, ['"objects.polyp" must be a list']),
        ("objects.polyp", [], ['"objects.polyp"']),
        ("objects.polyp", [0], ['"objects.polyp"', "other than 0"]),
        ("objects.polyp", [1, 1], ['"objects.polyp"', "different"]),
        ("objects.polyp", [1.5], ['"objects.polyp"']),
        ("objects.polyp", [True], ['"objects.polyp"']),
        ("objects.polyp", "non-zero", ['"objects.polyp"', '"nonzero"']),
        ("objects.labels", "each", ['"objects.all" is no key']),  # beside other objects it would mean two things
        ("objects", {"labels": "every"}, ['"objects.labels"', '"every"']),
        ("objects", {"labels": "missing.json"}, ['"objects.labels"', "missing.json", "cannot be read"]),
        ("objects", {"labels": "../labels.json"}, ["inside the folder"]),
        ("pairs", [], ['"pairs" must be a list with at least one entry']),
        ("pairs", {"image": "a"}, ['"pairs" must be a list']),
        ("pairs.1", "images/a.png", ["pair 2", '"pairs[1]" must hold keys and values']),
        ("pairs.1.mask", ..., ["images/b.png", '"pairs[1].mask" is missing']),
        ("pairs.1.label", "masks/b.png", ["images/b.png", '"pairs[1].label" is no key']),
        ("pairs.1.image", "/etc/hostname", ["/etc/hostname", "inside the folder"]),
        ("pairs.1.mask", "../../b.png", ["images/b.png", "inside the folder"]),
        ("pairs.1.mask", "masks/\0.png", ["inside the folder"]),
        ("pairs.1.group", 1.5, ['"pairs[1].group" must be text']),
        ("pairs.1.group", "", ['"pairs[1].group" must be text']),
        ("pairs.1.sequence", "s1", ['"frame" belong together']),
        ("pairs.1.frame", 1, ['"frame" belong together']),
        ("pairs.1.object", "other", ["renames the only object"]),
        ("pairs.1.npz", "b.npz", ["needs the entry", "npz"]),
    ],
)
def test_what_is_wrong_is_refused_with_its_place(
    photos: Content, write: Write, path: str, value: Any, words: list[str]
) -> None:
    change(path, value)(photos)
    with pytest.raises(DatasetError) as refused:
        read_dataset(write(photos))
    for word in words:
        assert word in str(refused.value)
    assert "\n" not in str(refused.value)


@pytest.mark.parametrize("frame", [-1, 1.5, "1", True])
def test_frames_are_whole_numbers(photos: Content, write: Write, frame: Any) -> None:
    photos["pairs"][0] |= {"sequence": "s", "frame": frame}
    with pytest.raises(DatasetError, match="whole number from 0"):
        read_dataset(write(photos))


def test_a_video_is_in_one_group_and_its_frames_have_numbers_of_their_own(photos: Content, write: Write) -> None:
    for pair in photos["pairs"]:
        pair |= {"sequence": "s", "frame": 1, "group": "p"}
    with pytest.raises(DatasetError, match="sequence s has frame 1 3 times"):
        read_dataset(write(photos))
    for number, pair in enumerate(photos["pairs"]):
        pair |= {"frame": number, "group": f"p{number}"}
    with pytest.raises(DatasetError, match="sequence s is in the groups p0, p1, p2"):
        read_dataset(write(photos))


@pytest.mark.parametrize(
    ("text", "word"),
    [
        ("", "must hold keys"),
        ("- 1\n- 2\n", "must hold keys"),
        ("name: [", "as YAML in line"),
        ("name: a\nname: b\n", '"name" is there twice'),
        ("objects:\n  liver: [1]\n  liver: [2]\n", '"liver" is there twice'),
        ("? [a]\n: 1\n", "YAML"),
        ("!!python/object/apply:os.getcwd []\n", "YAML"),
        ("name: \x00", "YAML"),
    ],
)
def test_files_that_are_no_description(tmp_path: Path, text: str, word: str) -> None:
    (tmp_path / "dataset.yaml").write_text(text, encoding="utf-8")
    with pytest.raises(DatasetError, match=word) as refused:
        read_dataset(tmp_path)
    assert str(tmp_path) in str(refused.value)


def test_a_link_out_of_the_folder_is_no_way_out(photos: Content, write: Write, tmp_path: Path) -> None:
    outside = tmp_path.parent / f"{tmp_path.name}-outside.png"
    outside.write_bytes((tmp_path / "images" / "a.png").read_bytes())
    (tmp_path / "images" / "a.png").unlink()
    (tmp_path / "images" / "a.png").symlink_to(outside)
    with pytest.raises(DatasetError, match="inside the folder"):
        read_dataset(write(photos))


def test_npz_files_need_the_names_of_their_arrays(photos: Content, write: Write) -> None:
    photos["pairs"] = [{"npz": "a.npz"}]
    dataset = read_dataset(write(photos, npz={"image": "img", "mask": "seg", "spacing": "mm"}))
    assert dict(dataset.npz_keys) == {"image": "img", "mask": "seg", "spacing": "mm"}
    assert dataset.pairs[0].id == "a"
    with pytest.raises(DatasetError, match=r'"npz\.mask" is missing'):
        read_dataset(write(photos, npz={"image": "img"}))
    with pytest.raises(DatasetError, match=r'"npz\.images" is no key'):
        read_dataset(write(photos, npz={"image": "img", "mask": "seg", "images": "x"}))
    with pytest.raises(DatasetError, match="scribbles do not say whose"):
        read_dataset(write(photos, npz={"image": "img", "mask": "seg", "scribbles": "s"}))
    photos["pairs"] = [{"npz": "a.npz", "mask": "masks/a.png"}]
    with pytest.raises(DatasetError, match=r'"pairs\[0\]\.mask" is no key'):
        read_dataset(write(photos, npz={"image": "img", "mask": "seg"}))


@pytest.mark.parametrize("table", [[], {}, {"0": "background"}, {"one": "liver"}, {"1": ""}, {"m": {"1": 2}}])
def test_tables_of_labels_that_make_no_sense(photos: Content, write: Write, tmp_path: Path, table: Any) -> None:
    (tmp_path / "labels.json").write_text(json.dumps(table))
    with pytest.raises(DatasetError, match=r"labels\.json"):
        read_dataset(write(photos, objects={"labels": "labels.json"}))


def test_datasets_of_a_folder(photos: Content, tmp_path: Path) -> None:
    for folder, name in (("one", "b"), ("two", "a"), ("three", "c")):
        (tmp_path / folder).mkdir()
        (tmp_path / folder / "dataset.yaml").write_text(yaml.safe_dump(photos | {"name": name}))
    (tmp_path / "empty").mkdir()
    assert [dataset.name for dataset in find_datasets(tmp_path)] == ["a", "b", "c"]
    assert [dataset.name for dataset in find_datasets(tmp_path / "one")] == ["b"]
    assert [dataset.name for dataset in find_datasets(tmp_path / "one" / "dataset.yaml")] == ["b"]
    (tmp_path / "three" / "dataset.yaml").write_text(yaml.safe_dump(photos | {"name": "a"}))
    with pytest.raises(DatasetError, match="have the same name"):
        find_datasets(tmp_path)
    for nothing in ("empty", "nowhere"):
        with pytest.raises(DatasetError, match=r"no dataset\.yaml"):
            find_datasets(tmp_path / nothing)


def test_an_error_survives_the_way_from_another_process() -> None:
    error = pickle.loads(pickle.dumps(DatasetError("set", "pair", "it is broken.")))
    assert (error.dataset, error.pair, error.reason) == ("set", "pair", "it is broken.")
    assert str(error) == "Dataset set, pair pair: it is broken."


@pytest.mark.skipif(not SHARED.is_dir(), reason="the shared datasets are not on this machine")
def test_every_shared_dataset_is_read() -> None:
    found = find_datasets(SHARED)
    assert len(found) == len(list(SHARED.glob("*/dataset.yaml")))
    for dataset in found:
        for pair in dataset.pairs:
            assert all(path is None or path.is_file() for path in (pair.image, pair.mask, pair.npz))
