"""``segment --support`` and ``autopromptsam supports`` on real files, with the real default model."""

from __future__ import annotations

import json
import re
from collections.abc import Callable
from pathlib import Path
from types import SimpleNamespace
from typing import NamedTuple

import numpy as np
import pytest
import SimpleITK as sitk  # noqa: N813 - the name in its own manual
from PIL import Image

from AutoPromptSAMLib import cli
from AutoPromptSAMLib.backbones import Backbone, load_backbone
from AutoPromptSAMLib.images import load_segmentation
from AutoPromptSAMLib.prompters.proxy_prompt.weights import save_task
from AutoPromptSAMLib.supports import SupportLibrary, SupportSet

from ..conftest import Run
from ..prompters.scenes import tiny_network
from .doubles import CopyPrompter, blob_picture


@pytest.fixture(scope="module")
def backbone(model_home: Path) -> Backbone:
    """The default model, loaded once."""
    return load_backbone("lite-medsam", "cpu")


@pytest.fixture(autouse=True)
def home(model_home: Path, backbone: Backbone, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A home of the test's own, without supports, and the model that is loaded already."""
    monkeypatch.setattr("AutoPromptSAMLib.backbones.load_backbone", lambda model, device: backbone)
    home = tmp_path / "home"
    home.mkdir()
    for part in model_home.iterdir():
        (home / part.name).symlink_to(part.resolve())
    monkeypatch.setenv("AUTOPROMPTSAM_HOME", str(home))
    return home


@pytest.fixture
def copying(monkeypatch: pytest.MonkeyPatch) -> list[SupportSet]:
    """In place of a network: a box around what the supports show, for the real model. The sets that were used."""
    used: list[SupportSet] = []

    def prompter_for(backbone: Backbone, supports: SupportSet) -> tuple[CopyPrompter, str]:
        used.append(supports)
        return CopyPrompter(backbone), "copy"

    monkeypatch.setattr("AutoPromptSAMLib.supports.encode.prompter_for", prompter_for)
    return used


class Files(NamedTuple):
    image: Path
    mask: Path
    truth: np.ndarray


@pytest.fixture
def picture(tmp_path: Path) -> Callable[[int, int], Files]:
    """Writes a photograph with a bright disc, and the disc as labels."""

    def write(row: int, col: int) -> Files:
        image, disc = blob_picture(row, col, size=96, radius=18)
        noisy = np.clip(image + np.random.default_rng(row).normal(0, 4, image.shape), 0, 255).astype(np.uint8)
        paths = (tmp_path / f"doe_{row}.png", tmp_path / f"doe_{row}_mask.png")
        Image.fromarray(noisy).save(paths[0])
        Image.fromarray((disc * 255).astype(np.uint8)).save(paths[1])
        return Files(*paths, disc)

    return write


def dice(a: np.ndarray, b: np.ndarray) -> float:
    return 2 * float((a & b).sum()) / float(a.sum() + b.sum())


def test_two_supports_prompt_a_third_image(
    run: Run, copying: list[SupportSet], picture: Callable[[int, int], Files], tmp_path: Path
) -> None:
    one, two, target = picture(44, 46), picture(50, 50), picture(47, 49)
    output = tmp_path / "found.seg.nrrd"
    shown = ["--support", one.image, one.mask, "--support", two.image, two.mask]
    outcome = run("segment", target.image, "-o", output, *shown, "--objects", "disc", "--json")
    assert outcome.code == 0, outcome.err
    masks, _ = load_segmentation(output)
    assert dice(masks["disc"][0], target.truth) > 0.9
    (about,) = json.loads(outcome.out)["objects"]
    assert about["voxels"] == masks["disc"].sum()
    assert about["ml"] is None  # of a picture only pixels are known
    assert 0 < about["confidence"] <= 1
    assert about["confidence_by_slice"] == {"0": about["confidence"]}
    assert len(copying[0].pairs) == 2
    outcome = run("segment", target.image, "-o", output, *shown, "--objects", "disc")
    assert " ml " not in outcome.err
    assert re.search(r"disc .*0\.\d+", outcome.err)
    assert "confidence" in outcome.err


def test_a_volume_is_gone_through_slice_by_slice_and_a_box_joins(
    run: Run, copying: list[SupportSet], tmp_path: Path
) -> None:
    discs = np.stack([blob_picture(40 + 2 * n, 44, size=96, radius=18)[1] for n in range(4)])
    for name, array in (("ct", np.where(discs, 120, -60).astype(np.int16)), ("seg", discs.astype(np.uint8))):
        image = sitk.GetImageFromArray(array)
        image.SetSpacing((1.0, 1.0, 4.0))
        sitk.WriteImage(image, str(tmp_path / f"{name}.nii.gz"))
    output = tmp_path / "out.nii.gz"
    shown = ["--support", tmp_path / "ct.nii.gz", tmp_path / "seg.nii.gz", "--window", "30,400"]
    outcome = run("segment", tmp_path / "ct.nii.gz", "-o", output, *shown, "--slices", "1-2", "--json")
    assert outcome.code == 0, outcome.err
    found = sitk.GetArrayFromImage(sitk.ReadImage(str(output))) > 0
    assert list(np.flatnonzero(found.any(axis=(1, 2)))) == [1, 2]
    assert dice(found[1:3], discs[1:3]) > 0.9
    assert {pair.view for pair in copying[0].pairs} == {"axial"}
    box = "object=axial:1:26,24,44,60"  # the left half
    outcome = run("segment", tmp_path / "ct.nii.gz", "-o", output, *shown, "--slices", "1-2", "--box", box, "--json")
    assert outcome.code == 0, outcome.err
    found = sitk.GetArrayFromImage(sitk.ReadImage(str(output))) > 0
    assert not found[1, :, 46:].any()
    assert json.loads(outcome.out)["objects"][0]["confidence_by_slice"]["1"] == 1.0


def test_a_network_of_one_s_own_and_a_result_without_anything(
    run: Run, backbone: Backbone, picture: Callable[[int, int], Files], tmp_path: Path
) -> None:
    """The whole way with a network that has not learned; it must be for the same model."""
    one, target = picture(44, 46), picture(50, 50)
    task, other = tmp_path / "task.safetensors", tmp_path / "other.safetensors"
    save_task(tiny_network(), task, backbone)
    save_task(tiny_network(), other, SimpleNamespace(card=backbone.card, fingerprint="another"))  # type: ignore[arg-type]
    output = tmp_path / "found.seg.nrrd"
    shown = ["--support", one.image, one.mask]
    outcome = run("segment", target.image, "-o", output, *shown, "--task", task)
    assert outcome.code in (0, 3), outcome.err
    masks, geometry = load_segmentation(output)
    assert geometry.shape == (1, 96, 96)
    assert bool(masks["object"].any()) is (outcome.code == 0)
    assert ("other supports" in outcome.err) is (outcome.code == 3)
    outcome = run("segment", target.image, "-o", tmp_path / "never.nii.gz", *shown, "--task", other)
    assert outcome.code == 1
    assert "other weights" in outcome.err
    assert not (tmp_path / "never.nii.gz").exists()


def test_sets_are_made_listed_used_exported_imported_and_removed(
    run: Run, copying: list[SupportSet], picture: Callable[[int, int], Files], tmp_path: Path
) -> None:
    one, two, target = picture(44, 46), picture(50, 50), picture(47, 49)
    made = run("supports", "add", "discs", one.image, one.mask, "--objects", "disc", "--source", "drawn by A")
    assert made.code == 0, made.err
    assert "1 of 1" in made.err
    again = run("supports", "add", "discs", one.image, one.mask, "--objects", "disc")
    assert "0 of 1" in again.err
    assert run("supports", "add", "discs", two.image, two.mask, "--objects", "disc").out == made.out
    (about,) = json.loads(run("supports", "list", "--json").out)["sets"]
    assert about["id"] == made.out.strip()
    assert about["objects"] == ["disc"]
    assert [pair["name"] for pair in about["pairs"]] == ["image", "image (2)"]
    assert about["pairs"][0]["source"] == "drawn by A"
    assert "discs" in run("supports", "list").out
    output = tmp_path / "found.seg.nrrd"
    assert run("segment", target.image, "-o", output, "--supports", "discs").code == 0
    assert dice(load_segmentation(output)[0]["disc"][0], target.truth) > 0.9
    file = Path(run("supports", "export", "discs", tmp_path / "discs").out.strip())
    assert file == tmp_path / "discs.apsupports"
    assert run("supports", "remove", "discs", "--pair", "image (2)").code == 0
    assert len(json.loads(run("supports", "list", "--json").out)["sets"][0]["pairs"]) == 1
    assert run("supports", "remove", "discs").code == 0
    assert json.loads(run("supports", "list", "--json").out) == {"sets": [], "problems": []}
    assert run("supports", "import", file).code == 0
    assert len(json.loads(run("supports", "list", "--json").out)["sets"][0]["pairs"]) == 2
    file.write_bytes(file.read_bytes().replace(b"drawn by A", b"drawn by B"))
    damaged = run("supports", "import", file)
    assert damaged.code == 1
    assert damaged.err.count("Error:") == 1


def test_a_damaged_set_is_shown_and_can_be_removed(
    run: Run, picture: Callable[[int, int], Files], tmp_path: Path
) -> None:
    one = picture(44, 46)
    id = run("supports", "add", "discs", one.image, one.mask).out.strip()
    path = tmp_path / "home" / "supports" / id / "set.json"
    path.write_text("{}")
    listed = run("supports", "list")
    assert listed.code == 0
    assert id in listed.err
    assert run("supports", "remove", id).code == 0
    assert not path.exists()


@pytest.mark.parametrize(
    ("arguments", "words"),
    [
        (["--support", "IMAGE"], ["two files"]),
        (["--support", "IMAGE", "MASK", "--supports", "discs"], ["one of them"]),
        (["--supports", "discs"], ['"discs"', "supports add"]),
        (["--task", "MASK"], ["no task"]),
        (["--support", "IMAGE", "nowhere.png"], ["nowhere.png", "does not exist"]),
        (["--support", "IMAGE", "MASK", "--objects", ","], ["--objects"]),
        (["--support", "IMAGE", "."], [". is a folder"]),
        (["--support", "a [/red] :cup:.png", "MASK"], ["a [/red] :cup:.png does not exist"]),
        (["--support", "IMAGE", "MASK", "--slices", "3"], ["FIRST-LAST"]),
        ([], ["--support"]),
    ],
)
def test_wrong_use_is_one_sentence(
    run: Run, picture: Callable[[int, int], Files], tmp_path: Path, arguments: list[str], words: list[str]
) -> None:
    one, target = picture(44, 46), picture(50, 50)
    given = [{"IMAGE": str(one.image), "MASK": str(one.mask)}.get(word, word) for word in arguments]
    outcome = run("segment", target.image, "-o", tmp_path / "never.nii.gz", *given)
    assert outcome.code == 1
    assert outcome.err.count("Error:") == 1
    assert all(word in outcome.err for word in words), outcome.err
    assert not (tmp_path / "never.nii.gz").exists()


def test_an_option_takes_its_value_behind_an_equals_sign_too(
    run: Run, copying: list[SupportSet], picture: Callable[[int, int], Files], tmp_path: Path
) -> None:
    one, target = picture(44, 46), picture(50, 50)
    outcome = run("segment", target.image, "-o", tmp_path / "found.seg.nrrd", f"--support={one.image}", one.mask)
    assert outcome.code == 0, outcome.err
    assert len(copying[0].pairs) == 1


def test_a_place_that_takes_no_file_is_told_before_the_work(
    run: Run, picture: Callable[[int, int], Files], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    one = picture(44, 46)
    folder = tmp_path / "folder.seg.nrrd"
    folder.mkdir()
    monkeypatch.setattr(cli, "local_session", lambda *_: pytest.fail("the model was loaded"))
    for output in (tmp_path / "nowhere" / "out.seg.nrrd", folder):
        outcome = run("segment", one.image, "-o", output, "--support", one.image, one.mask)
        assert outcome.code == 1
        assert outcome.err.count("Error:") == 1
        assert f"{output} could not be written" in outcome.err
    assert not list(folder.iterdir())


def test_ctrl_c_is_one_sentence_wherever_it_comes(
    run: Run, picture: Callable[[int, int], Files], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    one = picture(44, 46)

    def interrupted(*_: object) -> None:
        raise KeyboardInterrupt

    monkeypatch.setattr(cli, "chosen_supports", interrupted)
    outcome = run("segment", one.image, "-o", tmp_path / "out.seg.nrrd", "--support", one.image, one.mask)
    assert outcome.code == 130
    assert outcome.err.strip() == "Interrupted; run the same command again to go on from here."


def test_names_are_shown_as_they_are(run: Run, picture: Callable[[int, int], Files], tmp_path: Path) -> None:
    one, name = picture(44, 46), "left [/red] [bold] :cup:"
    made = run("supports", "add", name, one.image, one.mask, "--objects", name)
    assert made.code == 0, made.err
    assert made.err.count(name) == 2
    assert run("supports", "list").out.count(name) == 2
    unknown = run("supports", "export", "other", tmp_path / "x")
    assert unknown.code == 1
    assert f'choose one of "{name}"' in unknown.err


def test_what_cannot_be_added_makes_no_set(
    run: Run,
    backbone: Backbone,
    picture: Callable[[int, int], Files],
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    one, task = picture(44, 46), tmp_path / "task.safetensors"
    assert run("supports", "add", "eyes", one.image, one.mask, "--task", one.mask).code == 1
    assert json.loads(run("supports", "list", "--json").out)["sets"] == []
    save_task(tiny_network(), task, backbone)

    def interrupted(*_: object) -> None:
        raise KeyboardInterrupt

    with monkeypatch.context() as patch:
        patch.setattr(SupportLibrary, "attach_task", interrupted)
        assert run("supports", "add", "eyes", one.image, one.mask, "--task", task).code == 130
    assert json.loads(run("supports", "list", "--json").out)["sets"] == []
    made = run("supports", "add", "eyes", one.image, one.mask, "--task", task)
    with monkeypatch.context() as patch:  # a set that was there stays
        patch.setattr(SupportLibrary, "attach_task", interrupted)
        assert run("supports", "add", "eyes", one.image, one.mask, "--task", task).code == 130
    assert run("supports", "add", "  eyes ", one.image, one.mask).out == made.out
    assert len(json.loads(run("supports", "list", "--json").out)["sets"]) == 1


def test_a_set_that_does_not_fit_or_was_changed_is_one_sentence(
    run: Run, backbone: Backbone, picture: Callable[[int, int], Files], home: Path, tmp_path: Path
) -> None:
    one, target, task = picture(44, 46), picture(50, 50), tmp_path / "task.safetensors"
    save_task(tiny_network(), task, SimpleNamespace(card=backbone.card, fingerprint="another"))  # type: ignore[arg-type]
    assert run("supports", "add", "eyes", one.image, one.mask, "--task", task).code == 0
    output = tmp_path / "never.seg.nrrd"
    outcome = run("segment", target.image, "-o", output, "--supports", "eyes")
    assert (outcome.code, outcome.err.count("Error:")) == (1, 1)
    assert "other weights" in outcome.err
    (pair,) = (home / "supports").glob("*/pairs/*.zip")
    pair.write_bytes(pair.read_bytes()[:-40])
    for command in (["segment", target.image, "-o", output], ["supports", "export"]):
        ending = ["--supports", "eyes"] if command[0] == "segment" else ["eyes", tmp_path / "eyes"]
        outcome = run(
            *command, *ending, *(["--task", _fitting(tmp_path, backbone)] if command[0] == "segment" else [])
        )
        assert (outcome.code, outcome.err.count("Error:")) == (1, 1)
        assert f"{pair} is damaged" in outcome.err
    outcome = run("supports", "export", "eyes", tmp_path)
    assert (outcome.code, outcome.err.count("Error:")) == (1, 1)
    assert f"{tmp_path} is a folder" in outcome.err
    assert not output.exists()
    assert not list(tmp_path.glob("*.apsupports"))


def _fitting(folder: Path, backbone: Backbone) -> Path:
    save_task(tiny_network(), folder / "fitting.safetensors", backbone)
    return folder / "fitting.safetensors"
