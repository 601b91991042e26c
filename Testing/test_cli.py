"""The command line end to end, with the real default model, on real files and the sample CT."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
import time
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
import SimpleITK as sitk  # noqa: N813 - the name in its own manual

from AutoPromptSAMLib import __version__
from AutoPromptSAMLib.geometry import VolumeGeometry
from AutoPromptSAMLib.images import load_segmentation
from AutoPromptSAMLib.zoo import get_card

from .conftest import Run


@pytest.fixture
def home(model_home: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.setenv("AUTOPROMPTSAM_HOME", str(model_home))
    return model_home


@pytest.fixture
def phantom(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """An oblique CT-like NIfTI, 10 slices of 96x96: a bright ball (radius 24 voxels in plane) at (50, 44, 5)."""
    k, j, i = np.mgrid[:10, :96, :96]
    ball = (i - 50.0) ** 2 + (j - 44.0) ** 2 + ((k - 5) * 5.0) ** 2 < 24**2
    image = sitk.GetImageFromArray(np.where(ball, 120, -60).astype(np.int16))
    image.SetSpacing((1.0, 1.0, 4.0))
    turn = np.deg2rad(20)
    image.SetDirection((np.cos(turn), -np.sin(turn), 0, np.sin(turn), np.cos(turn), 0, 0, 0, 1))
    image.SetOrigin((10, -20, 30))
    path = tmp_path_factory.mktemp("phantom") / "phantom.nii.gz"
    sitk.WriteImage(image, str(path))
    return path


BOX = "ball=axial:5:26,20,74,68"
WINDOW = ("--window", "30,400")


def ball_dice(masks: dict[str, np.ndarray], slices: slice = slice(None)) -> float:
    k, j, i = np.mgrid[:10, :96, :96]
    truth = ((i - 50.0) ** 2 + (j - 44.0) ** 2 + ((k - 5) * 5.0) ** 2 < 24**2)[slices]
    mask = masks["ball"][slices]
    return 2 * float((mask & truth).sum()) / float(mask.sum() + truth.sum())


def test_version(run: Run) -> None:
    assert run("--version") == (0, f"{__version__}\n", "")


def test_help_begins_with_what_it_is_for(run: Run) -> None:
    outcome = run("--help")
    assert outcome.code == 0
    assert "Segment medical images with prompts, examples and review." in outcome.out
    assert "``" not in outcome.out


def test_one_box_segments_its_slice_with_the_geometry_of_the_input(
    run: Run, home: Path, phantom: Path, tmp_path: Path
) -> None:
    output = tmp_path / "ball.seg.nrrd"
    outcome = run("segment", phantom, "-o", output, "--box", BOX, *WINDOW, "--json")
    assert outcome.code == 0, outcome.err
    about = json.loads(outcome.out)
    assert about["objects"][0]["name"] == "ball"
    masks, geometry = load_segmentation(output)
    assert about["objects"][0]["voxels"] == masks["ball"].sum()
    assert set(np.flatnonzero(masks["ball"].any(axis=(1, 2)))) == {5}
    assert ball_dice(masks, slice(5, 6)) > 0.9
    source = sitk.ReadImage(str(phantom))
    lps = np.eye(4)
    lps[:3, :3] = np.reshape(source.GetDirection(), (3, 3)) * source.GetSpacing()
    lps[:3, 3] = source.GetOrigin()
    assert geometry.close_to(VolumeGeometry((10, 96, 96), np.diag([-1, -1, 1, 1]) @ lps))


def test_propagation_prompts_file_and_nifti(run: Run, home: Path, phantom: Path, tmp_path: Path) -> None:
    saved, first, second = tmp_path / "p.json", tmp_path / "a.seg.nrrd", tmp_path / "b.nii.gz"
    outcome = run("segment", phantom, "-o", first, "--box", BOX, *WINDOW, "--propagate", "--save-prompts", saved)
    assert outcome.code == 0, outcome.err
    masks, _ = load_segmentation(first)
    assert ball_dice(masks) > 0.85
    assert run("segment", phantom, "-o", second, "--prompts", saved, *WINDOW, "--propagate").code == 0
    again = sitk.GetArrayFromImage(sitk.ReadImage(str(second)))
    np.testing.assert_array_equal(again > 0, masks["ball"])


def test_slices_limit_the_propagation(run: Run, home: Path, phantom: Path, tmp_path: Path) -> None:
    output = tmp_path / "ball.seg.nrrd"
    assert run("segment", phantom, "-o", output, "--box", BOX, *WINDOW, "--propagate", "--slices", "4-6").code == 0
    masks, _ = load_segmentation(output)
    assert set(np.flatnonzero(masks["ball"].any(axis=(1, 2)))) == {4, 5, 6}


def test_a_click_in_ras_lands_on_its_slice(run: Run, home: Path, phantom: Path, tmp_path: Path) -> None:
    source = sitk.ReadImage(str(phantom))
    left, posterior, superior = source.TransformIndexToPhysicalPoint((50, 44, 3))
    output = tmp_path / "ball.seg.nrrd"
    click = f"ball=ras:{-left},{-posterior},{superior}"
    outcome = run("segment", phantom, "-o", output, "--point", click, *WINDOW)
    assert outcome.code == 0, outcome.err
    masks, _ = load_segmentation(output)
    assert set(np.flatnonzero(masks["ball"].any(axis=(1, 2)))) == {3}
    assert masks["ball"][3, 44, 50]


@pytest.mark.parametrize(
    ("arguments", "words"),
    [
        (["--box", "ball=axial:55:26,20,74,68"], ["55", "0 to 9"]),
        (["--box", "ball=axial:5:26,20,174,68"], ["outside", "0 to 95"]),
        (["--box", "ball=axial:5:74,20,26,68"], ["x0 < x1"]),
        (["--box", "ball=axial:5:1,2,3"], ["4 numbers"]),
        (["--box", "axial:5:1,2,3,4"], ["names no object"]),
        (["--box", "ball=upward:5:1,2,3,4"], ["no view"]),
        (["--point", "ball=ras:1e6,0,0"], ["outside the image"]),
        ([], ["no prompts"]),
        (["--prompts", "nowhere.json"], ["nowhere.json", "could not be read"]),
        (["--box", BOX, "--model", "sam-of-nobody"], ["sam-of-nobody"]),
        (["--box", BOX, "--device", "cuda:77"], ["cuda:77"]),
        (["--box", BOX, "--window", "dark"], ["LEVEL,WIDTH"]),
        (["--box", BOX, "--propagate", "--slices", "6"], ["FIRST-LAST"]),
        (["--box", BOX, "--propagate", "--slices", "7-9"], ["no prompt on slices"]),
    ],
)
def test_wrong_input_is_one_sentence_and_writes_nothing(
    run: Run, home: Path, phantom: Path, tmp_path: Path, arguments: list[str], words: list[str]
) -> None:
    output = tmp_path / "never.seg.nrrd"
    outcome = run("segment", phantom, "-o", output, *arguments)
    assert outcome.code == 1
    assert outcome.err.count("Error:") == 1
    assert "Traceback" not in outcome.err
    assert all(word in outcome.err for word in words), outcome.err
    assert not output.exists()


def write_empty(path: Path) -> None:
    path.write_bytes(b"")


def write_nan(path: Path) -> None:
    array = np.zeros((3, 8, 8), np.float32)
    array[1, 2, 3] = np.nan
    sitk.WriteImage(sitk.GetImageFromArray(array), str(path))


def write_four_dimensions(path: Path) -> None:
    sitk.WriteImage(sitk.GetImageFromArray(np.zeros((2, 3, 8, 8), np.float32), isVector=False), str(path))


@pytest.mark.parametrize(
    ("write", "words"),
    [(write_empty, ["empty"]), (write_nan, ["1 of 192", "NaN"]), (write_four_dimensions, ["frame"])],
)
def test_unfit_images_are_one_sentence(
    run: Run, home: Path, tmp_path: Path, write: Callable[[Path], None], words: list[str]
) -> None:
    path = tmp_path / "image.nii.gz"
    write(path)
    outcome = run("segment", path, "-o", tmp_path / "never.seg.nrrd", "--box", "a=axial:0:1,1,5,5")
    assert outcome.code == 1
    assert outcome.err.count("Error:") == 1
    assert all(word in outcome.err for word in words), outcome.err


def test_colour_is_used_as_it_is_and_refused_where_grey_is_needed(run: Run, home: Path, tmp_path: Path) -> None:
    colour = np.full((64, 64, 3), 40, np.uint8)
    colour[16:48, 16:48] = (220, 60, 60)
    path, output = tmp_path / "photo.png", tmp_path / "photo.seg.nrrd"
    sitk.WriteImage(sitk.GetImageFromArray(colour, isVector=True), str(path))
    outcome = run("segment", path, "-o", output, "--box", "mole=axial:0:14,14,50,50")
    assert outcome.code == 0, outcome.err
    outcome = run("segment", path, "-o", output, "--box", "mole=axial:0:14,14,50,50", "--window", "lung")
    assert outcome.code == 1
    assert "colour" in outcome.err


def test_prompts_of_another_geometry_are_refused(run: Run, home: Path, phantom: Path, tmp_path: Path) -> None:
    saved, other = tmp_path / "p.json", tmp_path / "other.nii.gz"
    assert (
        run("segment", phantom, "-o", tmp_path / "a.nii.gz", "--box", BOX, *WINDOW, "--save-prompts", saved).code == 0
    )
    sitk.WriteImage(sitk.GetImageFromArray(np.zeros((4, 20, 20), np.int16)), str(other))
    outcome = run("segment", other, "-o", tmp_path / "b.nii.gz", "--prompts", saved)
    assert outcome.code == 1
    assert "load the image they belong to" in outcome.err


def test_tampered_weights_are_refused(
    run: Run, phantom: Path, home: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    from AutoPromptSAMLib.zoo import weights_path

    content = weights_path(get_card("lite-medsam")).read_bytes()
    monkeypatch.setenv("AUTOPROMPTSAM_HOME", str(tmp_path / "home"))
    path = weights_path(get_card("lite-medsam"))
    path.parent.mkdir(parents=True)
    path.write_bytes(content[:1000] + b"tampered" + content[1008:])
    outcome = run("segment", phantom, "-o", tmp_path / "never.nii.gz", "--box", BOX)
    assert outcome.code == 1
    assert "autopromptsam models fetch lite-medsam --force" in outcome.err.replace("\n", " ")


def test_a_full_disk_leaves_no_broken_file(run: Run, home: Path, phantom: Path, tiny_disk: Path) -> None:
    (tiny_disk / "filler").write_bytes(bytes(os.statvfs(tiny_disk).f_bavail * os.statvfs(tiny_disk).f_frsize))
    outcome = run("segment", phantom, "-o", tiny_disk / "ball.seg.nrrd", "--box", BOX, *WINDOW)
    assert outcome.code == 1
    assert "disk is full" in outcome.err.replace("\n", " ")
    assert [path.name for path in tiny_disk.iterdir()] == ["filler"]


def test_models_and_doctor_tell_what_is_here(run: Run, home: Path) -> None:
    cards = {card["name"]: card for card in json.loads(run("models", "list", "--json").out)}
    assert cards["lite-medsam"]["installed"]
    assert cards["lite-medsam"]["prompts"] == ["boxes"]
    assert "not these weights" in cards["sam-vit-b"]["run_here"]
    assert "Apache-2.0" in run("models", "info", "mobile-sam").out
    findings = {finding["what"]: finding for finding in json.loads(run("doctor", "--json").out)}
    assert findings["torch"]["ok"]
    assert "lite-medsam" in findings["weights"]["found"]


def test_weights_are_fetched_and_removed(
    run: Run, home: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("AUTOPROMPTSAM_HOME", str(tmp_path))
    outcome = run("models", "fetch", "lite-medsam")
    assert outcome.code == 0, outcome.err
    assert Path(outcome.out.strip()).stat().st_size == get_card("lite-medsam").size_bytes
    assert "39 MB freed" in run("models", "remove", "lite-medsam").err
    assert not Path(outcome.out.strip()).exists()


def test_sample_ct_from_one_box(run: Run, home: Path, tmp_path: Path) -> None:
    """The main job on real input: the right kidney on its largest slice and the two beside it."""
    about = json.loads(run("sample", "--json").out)
    output = tmp_path / "kidney.nii.gz"
    reference = sitk.GetArrayFromImage(sitk.ReadImage(about["labels"])) == 2
    index = int(reference.sum(axis=(1, 2)).argmax())
    rows, cols = np.flatnonzero(reference[index].any(axis=1)), np.flatnonzero(reference[index].any(axis=0))
    box = f"kidney=axial:{index}:{cols[0]},{rows[0]},{cols[-1]},{rows[-1]}"
    slices = f"{index - 1}-{index + 1}"
    outcome = run("segment", about["image"], "-o", output, "--box", box, "--propagate", "--slices", slices)
    assert outcome.code == 0, outcome.err
    mask = sitk.GetArrayFromImage(sitk.ReadImage(str(output))) > 0
    truth = reference.copy()
    truth[: index - 1] = truth[index + 2 :] = False
    assert 2 * (mask & truth).sum() / (mask.sum() + truth.sum()) > 0.93


def test_stopped_in_mid_propagation_it_leaves_no_broken_file_and_goes_on(
    home: Path, phantom: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    own = tmp_path / "home"
    own.mkdir()
    for part in home.iterdir():
        if part.is_symlink():
            (own / part.name).symlink_to(part.resolve())
    monkeypatch.setenv("AUTOPROMPTSAM_HOME", str(own))
    output = tmp_path / "ball.seg.nrrd"
    command = [sys.executable, "-m", "AutoPromptSAMLib.cli", "segment", str(phantom), "-o", str(output)]
    command += ["--box", BOX, *WINDOW, "--propagate", "--slices", "3-7"]

    def hear_signals() -> None:  # a shell that runs tests in the background lets them ignore Ctrl-C
        signal.signal(signal.SIGINT, signal.SIG_DFL)

    process = subprocess.Popen(command, stderr=subprocess.PIPE, encoding="utf-8", preexec_fn=hear_signals)
    deadline = time.monotonic() + 240
    while not list((own / "runs").rglob("*.npz")) and time.monotonic() < deadline:
        assert process.poll() is None, process.communicate()[1]
        time.sleep(0.05)
    process.send_signal(signal.SIGINT)
    _, error = process.communicate(timeout=120)
    assert process.returncode == 130, error
    assert "Traceback" not in error
    assert not output.exists()
    done = {path.relative_to(own) for path in (own / "runs").rglob("*.npz") if not path.name.startswith(".")}
    stamps = {path: (own / path).stat().st_mtime_ns for path in done}
    finished = subprocess.run(command, capture_output=True, encoding="utf-8", timeout=240)
    assert finished.returncode == 0, finished.stderr
    masks, _ = load_segmentation(output)
    assert ball_dice(masks, slice(3, 8)) > 0.85
    # What was done before the stop was taken over, not made again.
    assert {path: (own / path).stat().st_mtime_ns for path in done} == stamps
