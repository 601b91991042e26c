"""The library on disk: what is kept, what is refused, and that nothing is lost."""

from __future__ import annotations

import hashlib
import io
import json
import os
import zipfile
from dataclasses import replace
from pathlib import Path

import filelock
import numpy as np
import pytest
from PIL import Image

from AutoPromptSAMLib.atomic import atomic_path
from AutoPromptSAMLib.errors import StorageError
from AutoPromptSAMLib.supports import SupportError, SupportLibrary, SupportObject, SupportPair, SupportSet
from AutoPromptSAMLib.supports import library as library_module

from ..conftest import SentenceCheck
from .doubles import blob_picture
from .kept import RED, other_pixels, pair, same, task_file


def test_what_is_kept_comes_back_in_another_process(library: SupportLibrary, filled: SupportSet) -> None:
    (found,) = SupportLibrary(library.folder).sets()
    same(found, filled)
    assert found.names == ("disc", "cup")
    assert found.objects[0] == SupportObject("disc", RED, "SCT^1")
    assert [p.name for p in found.pairs] == ["eye", "eye (2)"]
    original = pair(0)
    np.testing.assert_array_equal(found.pairs[0].image, original.image)
    np.testing.assert_array_equal(found.pairs[0].masks["cup"], original.masks["cup"])
    assert not found.pairs[1].masks["cup"].any()
    assert "cup" in found.pairs[1].objects  # known not to be there


def test_by_default_it_is_in_the_home_folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("AUTOPROMPTSAM_HOME", str(tmp_path))
    assert SupportLibrary().sets() == []
    made = SupportLibrary().create("eyes")
    assert (tmp_path / "supports" / made.id / "set.json").is_file()


def test_thumbnails_show_the_objects_in_their_colours(library: SupportLibrary, filled: SupportSet) -> None:
    for each in filled.pairs:
        assert each.thumbnail is not None
        shown = np.array(Image.open(each.thumbnail))
        assert max(shown.shape) <= 256
        at = (shown == (255, 0, 0)).all(axis=2)
        rows, cols = np.nonzero(each.masks["disc"])
        seen = np.nonzero(at)
        assert (seen[0].min(), seen[0].max()) == pytest.approx((rows.min(), rows.max()), abs=1.1)
        assert (seen[1].min(), seen[1].max()) == pytest.approx((cols.min(), cols.max()), abs=1.1)
        assert not at[int(rows.mean()), int(cols.mean())]
    blue = library.change_object(filled.id, "disc", colour=(0, 0, 1))
    thumbnail = blue.pairs[0].thumbnail
    assert thumbnail is not None
    shown = np.array(Image.open(thumbnail))
    assert (shown == (0, 0, 255)).all(axis=2).any()
    assert not (shown == (255, 0, 0)).all(axis=2).any()


def test_a_large_image_has_a_small_thumbnail(library: SupportLibrary) -> None:
    image, disc = blob_picture(300, 500, size=900, radius=100)
    made = library.create("x")
    (kept,) = library.add_pairs(made.id, [SupportPair.of("a", image[:600], {"d": disc[:600]})]).pairs
    assert kept.thumbnail is not None
    with Image.open(kept.thumbnail) as shown:
        assert shown.size == (256, 171)


def test_the_same_pair_is_added_once(library: SupportLibrary, filled: SupportSet) -> None:
    again = library.add_pairs(filled.id, [pair(0), pair(2)])
    assert [p.id for p in again.pairs] == [pair(0).id, pair(1, cup=False).id, pair(2).id]


def test_files_go_while_no_other_process_can_bring_them_back(
    library: SupportLibrary, filled: SupportSet, monkeypatch: pytest.MonkeyPatch
) -> None:
    gone, discard = [], library_module._discard

    def locked_discard(path: Path) -> None:
        with pytest.raises(filelock.Timeout):
            filelock.FileLock(library.folder / ".lock", timeout=0).acquire()
        gone.append(path.suffix)
        discard(path)

    monkeypatch.setattr(library_module, "_discard", locked_discard)
    library.remove_pair(filled.id, filled.pairs[0].id)
    library.detach_task(filled.id, "lite-medsam")
    assert gone == [".zip", ".png", ".safetensors"]


def test_a_set_whose_network_is_missing_can_be_changed(
    library: SupportLibrary, filled: SupportSet, tmp_path: Path, one_sentence: SentenceCheck
) -> None:
    filled.tasks["lite-medsam"].unlink()
    library.rename(filled.id, "retina")
    changed = library.remove_pair(filled.id, filled.pairs[0].id)
    assert (changed.name, len(changed.pairs), changed.tasks) == ("retina", 1, filled.tasks)
    with one_sentence(SupportError, 'What "retina" has learned with lite-medsam is missing'):
        library.export(filled.id, tmp_path / "out")
    again = library.attach_task(filled.id, task_file(tmp_path / "task.safetensors"))
    assert again.tasks["lite-medsam"].exists()


def test_a_set_has_a_network_for_each_model(
    library: SupportLibrary, filled: SupportSet, tmp_path: Path, one_sentence: SentenceCheck
) -> None:
    first = filled.tasks["lite-medsam"]
    both = library.attach_task(filled.id, task_file(tmp_path / "other.safetensors", b"b", "mobile-sam"))
    assert {model: task.exists() for model, task in both.tasks.items()} == {"lite-medsam": True, "mobile-sam": True}
    same(library.import_(library.export(filled.id, tmp_path / "both")), both)
    newer = library.attach_task(filled.id, task_file(tmp_path / "newer.safetensors", b"c"))
    assert not first.exists()
    assert newer.tasks["mobile-sam"] == both.tasks["mobile-sam"]
    left = library.detach_task(filled.id, "lite-medsam")
    assert list(left.tasks) == ["mobile-sam"]
    assert not newer.tasks["lite-medsam"].exists()
    with one_sentence(SupportError, 'no network for "lite-medsam"', "mobile-sam"):
        library.detach_task(filled.id, "lite-medsam")


def test_a_network_of_before_there_was_one_for_each_model_is_known_by_its_file(
    library: SupportLibrary, filled: SupportSet
) -> None:
    path = library.folder / filled.id / "set.json"
    whole = json.loads(path.read_text())
    said = whole["set"]
    (said["task"],) = said.pop("tasks").values()
    digest = hashlib.sha256(json.dumps(said, sort_keys=True, ensure_ascii=False).encode()).hexdigest()
    path.write_text(json.dumps({**whole, "version": 1, "sha256": digest}))
    assert library.get(filled.id).tasks == filled.tasks


def test_a_pair_that_is_added_again_gets_its_new_names(library: SupportLibrary) -> None:
    made = library.create("eyes")
    wrong = SupportPair.of("eye", pair(0).image, {"cup": pair(0).masks["disc"], "disc": pair(0).masks["cup"]})
    library.add_pairs(made.id, [wrong])
    right = SupportPair.of("eye", pair(0).image, {"disc": pair(0).masks["disc"], "cup": pair(0).masks["cup"]})
    assert right.id == wrong.id
    (kept,) = library.add_pairs(made.id, [right]).pairs
    np.testing.assert_array_equal(kept.masks["disc"], pair(0).masks["disc"])
    (again,) = SupportLibrary(library.folder).get(made.id).pairs
    assert (again.name, again.objects) == ("eye", ("disc", "cup"))
    np.testing.assert_array_equal(again.masks["cup"], pair(0).masks["cup"])


def test_too_many_objects_are_refused_and_the_set_stays(
    library: SupportLibrary, filled: SupportSet, one_sentence: SentenceCheck
) -> None:
    mask = pair(0).masks["disc"]
    atlas = SupportPair.of("atlas", 255 - pair(0).image, {f"label {n}": mask for n in range(300)})
    with one_sentence(SupportError, "would have 302", "can have 256 objects"):
        library.add_pairs(filled.id, [atlas])
    same(library.get(filled.id), filled)


def test_names_change_and_masks_stay(library: SupportLibrary, filled: SupportSet) -> None:
    library.rename(filled.id, "retina")
    library.rename_pair(filled.id, filled.pairs[0].id, "left eye")
    changed = library.change_object(filled.id, "cup", new_name="optic cup", terminology="T")
    assert changed.name == "retina"
    assert changed.pairs[0].name == "left eye"
    assert changed.objects[1].name == "optic cup"
    assert changed.objects[1].terminology == "T"
    assert changed.objects[1].colour == filled.objects[1].colour
    assert changed.pairs[0].objects == ("disc", "optic cup")
    np.testing.assert_array_equal(changed.pairs[0].masks["optic cup"], pair(0).masks["cup"])
    assert library.find("retina").id == library.find(filled.id).id == filled.id


def test_removing(library: SupportLibrary, filled: SupportSet, one_sentence: SentenceCheck) -> None:
    first, second = filled.pairs
    left = library.remove_pair(filled.id, first.id)
    assert [p.id for p in left.pairs] == [second.id]
    assert not list(library.folder.rglob(f"{first.id}*"))
    with one_sentence(SupportError, "no pair"):
        library.remove_pair(filled.id, first.id)
    assert library.detach_task(filled.id, "lite-medsam").tasks == {}
    assert not left.tasks["lite-medsam"].exists()
    library.remove(filled.id)
    assert library.sets() == []
    assert not (library.folder / filled.id).exists()
    with one_sentence(SupportError, "may have been removed"):
        library.get(filled.id)


def test_names_that_do_not_fit_change_nothing(
    library: SupportLibrary, filled: SupportSet, one_sentence: SentenceCheck
) -> None:
    with one_sentence(SupportError, "name"):
        library.rename(filled.id, "  ")
    with one_sentence(SupportError, "twice"):
        library.change_object(filled.id, "cup", new_name="disc")
    with one_sentence(SupportError, "no object"):
        library.change_object(filled.id, "lens", new_name="x")
    with one_sentence(SupportError, "no id"):
        library.get("../eyes")
    with one_sentence(SupportError, '"eyes"'):
        library.find("noses")
    same(library.get(filled.id), filled)


def test_a_task_must_be_one(
    library: SupportLibrary, filled: SupportSet, tmp_path: Path, one_sentence: SentenceCheck
) -> None:
    other = tmp_path / "notes.txt"
    other.write_text("not weights")
    with one_sentence(SupportError, "no task"):
        library.attach_task(filled.id, other)
    with one_sentence(SupportError, "cannot be read"):
        library.attach_task(filled.id, tmp_path / "nowhere")
    same(library.get(filled.id), filled)


# -- damage -----------------------------------------------------------------------------------------------------------


def test_a_damaged_set_is_named_and_hides_no_other(
    library: SupportLibrary, filled: SupportSet, one_sentence: SentenceCheck
) -> None:
    whole = library.create("noses", ["nose"])
    path = library.folder / filled.id / "set.json"
    path.write_bytes(path.read_bytes().replace(b"drawn by A", b"drawn by B"))
    sets, (problem,) = library.listing()
    assert [each.id for each in sets] == [whole.id]
    assert filled.id in problem
    with one_sentence(SupportError, "not what was saved", "remove it"):
        library.get(filled.id)
    library.remove(filled.id)
    assert library.listing()[1] == []


def test_damaged_pixels_are_found_when_they_are_read(
    library: SupportLibrary, filled: SupportSet, tmp_path: Path, one_sentence: SentenceCheck
) -> None:
    for number, damage in enumerate((lambda data: other_pixels("pairs/", data), lambda data: data[:200])):
        path = library.folder / filled.id / "pairs" / f"{filled.pairs[number].id}.zip"
        path.write_bytes(damage(path.read_bytes()))
        fresh = SupportLibrary(library.folder).get(filled.id).pairs[number]
        with one_sentence(SupportError, str(path), "add it again"):
            _ = fresh.masks
    with one_sentence(SupportError, "damaged"):
        SupportLibrary(library.folder).export(filled.id, tmp_path / "x")
    assert not (tmp_path / "x.apsupports").exists()


def test_a_changed_task_is_not_exported(
    library: SupportLibrary, filled: SupportSet, tmp_path: Path, one_sentence: SentenceCheck
) -> None:
    task_file(filled.tasks["lite-medsam"], b"others")
    with one_sentence(SupportError, "changed"):
        library.export(filled.id, tmp_path / "x")
    assert not (tmp_path / "x.apsupports").exists()


def test_a_huge_picture_is_not_unpacked(
    library: SupportLibrary, filled: SupportSet, one_sentence: SentenceCheck
) -> None:
    path = library.folder / filled.id / "pairs" / f"{filled.pairs[0].id}.zip"
    png = io.BytesIO()
    Image.new("RGB", (5000, 5000)).save(png, "PNG")
    with zipfile.ZipFile(path, "w") as archive:
        archive.writestr("image.png", png.getvalue())
    with one_sentence(SupportError, "5000"):
        _ = SupportLibrary(library.folder).get(filled.id).pairs[0].image


# -- disks ------------------------------------------------------------------------------------------------------------


def test_a_full_disk_leaves_the_set_as_it_was(tiny_disk: Path, one_sentence: SentenceCheck) -> None:
    library = SupportLibrary(tiny_disk / "supports")
    made = library.create("eyes")
    made = library.add_pairs(made.id, [pair(0)])
    before = {path: path.read_bytes() for path in library.folder.rglob("*") if path.is_file()}
    image = np.random.default_rng(0).integers(0, 255, (256, 256, 3)).astype(np.uint8)  # does not shrink
    large = SupportPair.of("noise", image, {"disc": np.ones((256, 256), bool)})
    with one_sentence(StorageError, "disk is full"):
        library.add_pairs(made.id, [pair(1), large])
    assert {path: path.read_bytes() for path in library.folder.rglob("*") if path.is_file()} == before
    same(library.get(made.id), made)
    with one_sentence(StorageError, "disk is full"):
        SupportLibrary(tiny_disk / "other").import_(_exported(large, tiny_disk.parent))
    assert SupportLibrary(tiny_disk / "other").listing() == ([], [])


def _exported(content: SupportPair, folder: Path) -> Path:
    library = SupportLibrary(folder / "elsewhere")
    return library.export(library.add_pairs(library.create("x").id, [content]).id, folder / "x")


def test_a_crash_between_the_files_leaves_the_set_as_it_was(
    library: SupportLibrary, filled: SupportSet, monkeypatch: pytest.MonkeyPatch
) -> None:
    def crash(path: Path):  # type: ignore[no-untyped-def]
        if path.name == "set.json":
            raise KeyboardInterrupt
        return atomic_path(path)

    monkeypatch.setattr("AutoPromptSAMLib.supports.library.atomic_path", crash)
    with pytest.raises(KeyboardInterrupt):
        library.add_pairs(filled.id, [pair(5)])
    monkeypatch.undo()
    same(library.get(filled.id), filled)
    assert not list(library.folder.rglob(f"{pair(5).id}*"))


def test_a_folder_that_is_not_ours_is_one_sentence(tmp_path: Path, one_sentence: SentenceCheck) -> None:
    (tmp_path / "file").write_text("no folder")
    with one_sentence(StorageError, "could not be written"):
        SupportLibrary(tmp_path / "file").create("eyes")


def test_two_processes_add_at_the_same_time(library: SupportLibrary, filled: SupportSet) -> None:
    """The second one starts from what the first one wrote, not from what it saw before."""
    other = SupportLibrary(library.folder)
    other.get(filled.id)
    library.add_pairs(filled.id, [pair(3)])
    after = other.add_pairs(filled.id, [replace(pair(4), name="last")])
    assert [p.name for p in after.pairs] == ["eye", "eye (2)", "eye (3)", "last"]
    assert os.listdir(library.folder / filled.id / "pairs")
