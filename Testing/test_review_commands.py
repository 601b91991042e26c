"""``autopromptsam review``: the table, the uncertainty volume, the refined segmentation, and Ctrl-C."""

from __future__ import annotations

import json
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from AutoPromptSAMLib import review_commands
from AutoPromptSAMLib.geometry import Volume
from AutoPromptSAMLib.images import load_segmentation, load_volume, save_segmentation
from AutoPromptSAMLib.images.writer import write_voxels
from AutoPromptSAMLib.loops.job import Job
from AutoPromptSAMLib.session.local import LocalSession

from .conftest import Run
from .threshold_backbone import ThresholdBackbone, rod

COUNT = 14


class Case:
    """An image, its segmentation with mistakes on slices 6 and 8, and a network that finds what is bright."""

    def __init__(self, folder: Path) -> None:
        volume, self.truth = rod(range(3, 11), COUNT)
        self.volume: Volume = volume
        self.image, self.segmentation = folder / "rod.nii.gz", folder / "rod.seg.nrrd"
        write_voxels(self.image, volume.array, volume.geometry)
        self.mask = self.truth.copy()
        self.mask[6, 30:36, 32:38] = True  # too much, of which the network is sure
        self.mask[8, :, :16] = False  # cut off, where it is unsure
        self.other = np.zeros_like(self.truth)
        self.other[2, 5:9, 5:9] = True
        save_segmentation(self.segmentation, {"rod": self.mask, "other": self.other}, volume.geometry)


@pytest.fixture
def case(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Case:
    @contextmanager
    def session(model: str, device: str) -> Iterator[LocalSession]:
        opened = LocalSession(ThresholdBackbone())
        yield opened
        opened.close()

    monkeypatch.setattr(review_commands, "local_session", session)
    return Case(tmp_path)


def test_the_least_sure_slices_come_first(case: Case, run: Run) -> None:
    done = run("review", case.image, case.segmentation, "--object", "rod", "--show", 3)
    assert done.code == 0, done.err
    assert "the 3 least sure of 10 axial slices" in done.err
    rows = [line.split("│")[1:-1] for line in done.err.splitlines() if line.startswith("│")]
    assert len(rows) == 3
    index, position, expected, *_ = (cell.strip() for cell in rows[0])
    assert index == "6"
    assert float(position) == pytest.approx(500 + 6 * 3.0)
    assert 0.8 < float(expected) < 0.95


def test_json_tells_all_slices(case: Case, run: Run) -> None:
    done = run("review", case.image, case.segmentation, "--object", "rod", "--json")
    assert done.code == 0, done.err
    about = json.loads(done.out)
    assert about["complete"]
    assert sorted(each["slice"] for each in about["slices"]) == list(range(2, 12))
    assert about["slices"][0]["slice"] == 6
    assert [each["slice"] for each in about["slices"] if each["is_empty"]] in ([2, 11], [11, 2])
    assert "refined" not in about


@pytest.mark.parametrize("name", ["unsure.nii.gz", "unsure.nrrd"])
def test_the_uncertainty_lies_on_the_image(case: Case, run: Run, tmp_path: Path, name: str) -> None:
    done = run("review", case.image, case.segmentation, "--object", "rod", "-o", tmp_path / name)
    assert done.code == 0, done.err
    written = load_volume(tmp_path / name)
    assert written.array.dtype == np.uint8
    assert written.geometry.close_to(case.volume.geometry)
    assert written.array[3:11].max() > 200
    assert not written.array[[0, 1, 12, 13]].any()


def test_refined_slices_are_written_with_all_segments(
    case: Case, run: Run, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("AutoPromptSAMLib.refiners.adaptation.LEAST_GAIN", 0.01)  # the cut on slice 8 is a small one
    refined = tmp_path / "refined.seg.nrrd"
    done = run("review", case.image, case.segmentation, "--object", "rod", "--refine", refined, "--json")
    assert done.code == 0, done.err
    masks, geometry = load_segmentation(refined)
    assert geometry.close_to(case.volume.geometry)
    np.testing.assert_array_equal(masks["other"], case.other)
    mended = json.loads(done.out)["refined"]
    untouched = [n for n in range(COUNT) if n not in mended]
    np.testing.assert_array_equal(masks["rod"][untouched], case.mask[untouched])
    assert 8 in mended
    assert (masks["rod"][8] ^ case.truth[8]).sum() < (case.mask[8] ^ case.truth[8]).sum()


def test_refining_keeps_colours_terms_and_names(case: Case, run: Run, tmp_path: Path) -> None:
    colors, term = {"rod": (1.0, 0.0, 0.0)}, "list~SCT^1^Organ~SCT^2^Liver~^^~list~^^~^^"
    masks = {"other": case.other, "rod": case.mask, "all": case.mask | case.other}
    save_segmentation(case.segmentation, masks, case.volume.geometry, colors, {"rod": term})
    refined = tmp_path / "refined.seg.nrrd"
    done = run("review", case.image, case.segmentation, "--object", "rod", "--refine", refined)
    assert done.code == 0, done.err
    before, after = load_segmentation(case.segmentation)[0], load_segmentation(refined)[0]
    assert list(after) == list(masks)
    assert list(after.colors["rod"]) == [1, 0, 0]
    assert (after.colors, after.terms, after.label_values) == (before.colors, before.terms, before.label_values)


def test_refining_a_label_map_keeps_its_values_and_other_segments(
    case: Case, run: Run, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("AutoPromptSAMLib.refiners.adaptation.LEAST_GAIN", 0.01)
    labels = np.where(case.mask, 7, 0).astype(np.int16)
    labels[8, :, :16] = np.where(case.truth[8, :, :16], 5, 0)  # what is missing of the rod is another's
    labels[2, 5:9, 5:9] = 5
    path, refined = tmp_path / "labels.nii.gz", tmp_path / "refined.nii.gz"
    write_voxels(path, labels, case.volume.geometry)
    done = run("review", case.image, path, "--object", "Segment_7", "--refine", refined, "--json")
    assert done.code == 0, done.err
    assert 8 in json.loads(done.out)["refined"]
    after = load_volume(refined).array
    assert set(np.unique(after)) == {0, 5, 7}
    np.testing.assert_array_equal(after == 5, labels == 5)


def test_overlaps_that_a_label_map_cannot_hold_are_said_before_the_run(
    case: Case, run: Run, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(LocalSession, "review", lambda *given, **named: pytest.fail("it ran"))
    save_segmentation(case.segmentation, {"rod": case.mask, "all": case.mask | case.other}, case.volume.geometry)
    done = run("review", case.image, case.segmentation, "--object", "rod", "--refine", tmp_path / "refined.nii.gz")
    assert done.code == 1
    assert 'Segment "all" overlaps another, which NIfTI cannot hold' in done.err


@pytest.mark.parametrize(
    ("arguments", "words"),
    [
        ([], ["2 segments", "--object", "rod, other"]),
        (["--object", "liver"], ['no segment "liver"', "rod, other"]),
        (["--object", "rod", "--axis", "oblique"], ["oblique", "sagittal"]),
        (["--object", "rod", "-o", "unsure.png"], ["unsure.png", "file type"]),
        (["--object", "rod", "--refine", "/nowhere/at/all.seg.nrrd"], ["/nowhere"]),
    ],
)
def test_bad_usage_is_one_sentence(case: Case, run: Run, arguments: list[str], words: list[str]) -> None:
    done = run("review", case.image, case.segmentation, *arguments)
    assert done.code == 1
    assert done.err.startswith("Error: ")
    assert done.err.strip().count("\n") == 0
    for word in words:
        assert word in done.err


def test_a_segmentation_of_another_image_is_refused(case: Case, run: Run, tmp_path: Path) -> None:
    other, _ = rod(range(3, 11), COUNT, axis=1)
    write_voxels(tmp_path / "other.nii.gz", other.array, other.geometry)
    done = run("review", tmp_path / "other.nii.gz", case.segmentation, "--object", "rod")
    assert done.code == 1
    assert "the image it was made on" in done.err


def test_ctrl_c_keeps_the_slices_that_are_done(
    case: Case, run: Run, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    looked, reached, cancelled = 0, threading.Event(), threading.Event()
    plain, start = ThresholdBackbone.encode, LocalSession.review

    def encode(backbone: ThresholdBackbone, images: list[np.ndarray]) -> object:
        nonlocal looked
        looked += 1
        if looked == 4:  # slice 9, as slices that are alike (3 to 5, 6 to 8) are encoded once
            reached.set()
            assert cancelled.wait(60)
        return plain(backbone, images)

    class Interrupted:
        """A job whose waiting is interrupted once, as Ctrl-C does."""

        def __init__(self, job: Job[Any]) -> None:
            self.job = job

        def result(self) -> object:
            if not cancelled.is_set():
                assert reached.wait(60)
                raise KeyboardInterrupt
            return self.job.result()

        def cancel(self) -> None:
            self.job.cancel()
            cancelled.set()

    monkeypatch.setattr(ThresholdBackbone, "encode", encode)
    monkeypatch.setattr(LocalSession, "review", lambda *given, **named: Interrupted(start(*given, **named)))
    unsure, refined = tmp_path / "unsure.nii.gz", tmp_path / "refined.seg.nrrd"
    done = run("review", case.image, case.segmentation, "--object", "rod", "-o", unsure, "--refine", refined)
    assert done.code == 130, done.err
    assert "least sure of 8 axial slices" in done.err
    assert "Interrupted" in done.err
    array = load_volume(unsure).array
    assert array[3:10].any(axis=(1, 2)).all()
    assert not array[10:].any()
    assert not refined.exists()
