"""A session prompted by supports: files, axes, corrections, errors."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest

from AutoPromptSAMLib.backbones import Backbone
from AutoPromptSAMLib.errors import GeometryError, ModelError, PromptError
from AutoPromptSAMLib.geometry import Crop, Volume, VolumeGeometry
from AutoPromptSAMLib.prompts import MaskPrompt, Point
from AutoPromptSAMLib.session import Session
from AutoPromptSAMLib.session.local import LocalSession
from AutoPromptSAMLib.supports import SupportLibrary, SupportSet, pairs_from_volume
from AutoPromptSAMLib.supports.pairs import as_objects

from ..conftest import SentenceCheck
from ..supports.doubles import ContrastBackbone, CopyPrompter
from ..threshold_backbone import rod
from .conftest import MakeSession, Phantom, slice_box


@pytest.fixture
def prompters(monkeypatch: pytest.MonkeyPatch) -> list[CopyPrompter]:
    """Sessions get a prompter that copies; those that were made."""
    made: list[CopyPrompter] = []

    def prompter_for(backbone: Backbone, supports: SupportSet) -> tuple[CopyPrompter, str]:
        made.append(CopyPrompter(backbone))
        return made[-1], "copy"

    monkeypatch.setattr("AutoPromptSAMLib.supports.encode.prompter_for", prompter_for)
    return made


@pytest.fixture
def supports(tmp_path: Path) -> SupportSet:
    """Slices of another patient's rod, in a library; his file has its voxels in another order."""
    volume, truth = rod(range(1, 10), count=14)
    affine = volume.geometry.ijk_to_ras @ np.diag([-1.0, -1.0, 1.0, 1.0])
    affine[:3, 3] = volume.geometry.ras_from_ijk([47, 47, 0])
    turned = Volume(volume.array[:, ::-1, ::-1], VolumeGeometry(volume.array.shape, affine))
    pairs = pairs_from_volume(turned, {"rod": truth[:, ::-1, ::-1]}, complete=True)
    library = SupportLibrary(tmp_path / "supports")
    return library.add_pairs(library.create("rods").id, pairs)


@pytest.fixture
def session(open_session: MakeSession, prompters: list[CopyPrompter]) -> LocalSession:
    """On a rod that is on slices 3 to 8."""
    made = open_session(ContrastBackbone())
    volume, _ = rod(range(3, 9))
    made.set_image(volume)
    return made


TRUTH = rod(range(3, 9))[1]


def test_it_is_a_session(session: LocalSession) -> None:
    assert isinstance(session, Session)


def test_the_rod_is_found_in_the_order_of_the_image(session: LocalSession, supports: SupportSet) -> None:
    session.set_supports(supports)
    told: dict[int, tuple[Crop, float]] = {}
    progress: list[str] = []
    job = session.prompt_automatically(
        on_slice=lambda name, index, mask, sure: told.__setitem__(index, (mask, sure)),
        on_progress=lambda step: progress.append(f"{step.done}/{step.total} {step.text}"),
    )
    result = job.result(60)
    assert result.complete
    assert result.axis == 0
    np.testing.assert_array_equal(result.masks["rod"].to_full(TRUTH.shape), TRUTH)
    assert sorted(result.confidence["rod"]) == list(range(3, 9))
    assert all(0 < value <= 1 for value in result.confidence["rod"].values())
    assert sorted(told) == list(range(12))
    for index, (mask, sure) in told.items():
        np.testing.assert_array_equal(mask.to_full(TRUTH.shape)[index], TRUTH[index])
        assert sure == result.confidence["rod"].get(index, 0.0)
    assert progress[-1] == "12/12 Done"
    assert set(result.seconds) == {"encode", "prompt", "total"}
    assert session.objects == {}


@pytest.mark.parametrize("axis", [1, 2])
def test_along_the_axis_of_the_supports(session: LocalSession, supports: SupportSet, axis: int) -> None:
    volume, truth = rod(range(3, 9), axis=axis)
    # The axes of the world go with those of the array, so that the slices are axial again.
    world = {1: [[1, 0, 0], [0, 0, 1], [0, 1, 0]], 2: [[0, 1, 0], [0, 0, 1], [1, 0, 0]]}[axis]
    affine = np.eye(4)
    affine[:3, :3] = np.array(world) * volume.geometry.spacing
    session.set_image(Volume(volume.array, VolumeGeometry(volume.array.shape, affine)))
    session.set_supports(supports)
    result = session.prompt_automatically().result(60)
    assert result.axis == axis
    found = result.masks["rod"].to_full(truth.shape)
    assert 2 * (found & truth).sum() / (found.sum() + truth.sum()) > 0.98


def test_one_slice_and_some_slices(session: LocalSession, supports: SupportSet) -> None:
    session.set_supports(supports)
    one = session.prompt_automatically(first=5, last=5).result(60)
    assert list(one.confidence["rod"]) == [5]
    some = session.prompt_automatically(["rod"], 0, 4, 6).result(60)
    assert list(some.confidence["rod"]) == [4, 5, 6]
    assert (one.decoded, some.decoded) == (1, 2)


def test_some_slices_are_looked_at_together_with_those_that_a_run_before_found(
    session: LocalSession, supports: SupportSet
) -> None:
    """A slice like the rod, apart from it, is no piece of it: also for a run over this slice alone."""
    session.set_image(rod([*range(3, 9), 10])[0])
    session.set_supports(supports)
    alone = session.prompt_automatically(first=10, last=10).result(60)
    assert not alone.masks["rod"].is_empty, "nothing is known of the other slices yet"
    assert session.prompt_automatically().result(60).masks["rod"].upper[0] == 9
    assert session.prompt_automatically(first=10, last=10).result(60).masks["rod"].is_empty
    assert sorted(session.prompt_automatically(first=6, last=8).result(60).confidence["rod"]) == [6, 7, 8]


def test_a_second_run_is_remembered_and_supports_are_encoded_once(
    session: LocalSession, supports: SupportSet, prompters: list[CopyPrompter]
) -> None:
    session.set_supports(supports)
    session.prompt_automatically().result(60)
    (prompter,) = prompters
    assert isinstance(session.backbone, ContrastBackbone)
    before = len(prompter.encoded), session.backbone.encoded
    again = session.prompt_automatically().result(60)
    assert again.decoded == 0
    assert (len(prompter.encoded), session.backbone.encoded) == before
    np.testing.assert_array_equal(again.masks["rod"].to_full(TRUTH.shape), TRUTH)


def test_a_restart_goes_on_where_it_was(
    open_session: MakeSession, prompters: list[CopyPrompter], supports: SupportSet, tmp_path: Path
) -> None:
    decoded = []
    for _ in range(2):
        session = open_session(ContrastBackbone(), runs_folder=tmp_path / "runs")
        session.set_image(rod(range(3, 9))[0])
        session.set_supports(supports)
        decoded.append(session.prompt_automatically().result(60).decoded)
        session.close()
    assert decoded[0] > 0
    assert decoded[1] == 0


def test_cancelling_keeps_the_slices_that_are_done(session: LocalSession, supports: SupportSet) -> None:
    session.set_supports(supports)
    jobs = []

    def stop(name: str, index: int, mask: Crop, sure: float) -> None:
        if index == 5:
            jobs[0].cancel()

    jobs.append(session.prompt_automatically(on_slice=stop))
    result = jobs[0].result(60)
    assert not result.complete
    assert list(result.confidence["rod"]) == [3, 4, 5]
    whole = session.prompt_automatically().result(60)
    np.testing.assert_array_equal(whole.masks["rod"].to_full(TRUTH.shape), TRUTH)


def test_what_a_person_painted_stays_and_becomes_a_support(
    session: LocalSession, supports: SupportSet, prompters: list[CopyPrompter]
) -> None:
    session.set_supports(supports)
    painted = np.zeros(TRUTH.shape, dtype=bool)
    painted[5, 20:30, 20:31] = True
    session.add_prompt("rod", MaskPrompt(Crop.from_full(painted), session.volume.geometry))
    result = session.prompt_automatically().result(60)
    np.testing.assert_array_equal(result.masks["rod"].to_full(TRUTH.shape)[5], painted[5])
    assert result.confidence["rod"][5] == 1.0
    assert result.corrected == {"rod": (5,)}
    assert "slice 5" in prompters[0].encoded


def test_a_click_corrects_what_was_found_automatically(session: LocalSession, supports: SupportSet) -> None:
    session.set_supports(supports)
    session.prompt_automatically().result(60)
    at = (5, 14, 22)  # k, j, i on the rod's edge
    assert TRUTH[at]
    session.add_prompt("rod", Point(session.volume.geometry.ras_from_ijk([at[::-1]])[0], positive=False))
    assert len(session.objects["rod"]) == 2  # the slice as it was, and the click
    result = session.prompt_automatically().result(60)
    found = result.masks["rod"].to_full(TRUTH.shape)
    assert not found[at]
    assert found[5].sum() > 0.7 * TRUTH[5].sum()
    assert not (found[5] & ~TRUTH[5]).any()
    assert session.undo() is not None
    assert not session.objects["rod"]


def test_a_box_on_a_slice_limits_what_is_found_there(session: LocalSession, supports: SupportSet) -> None:
    session.set_supports(supports)
    half = TRUTH.copy()
    half[:, :, 23:] = False
    session.add_prompt("rod", slice_box(session.volume, half, 0, 6))
    found = session.prompt_automatically().result(60).masks["rod"].to_full(TRUTH.shape)
    np.testing.assert_array_equal(found[6], half[6])
    np.testing.assert_array_equal(found[4], TRUTH[4])


def test_a_picture_prompts_a_picture(session: LocalSession, prompters: list[CopyPrompter]) -> None:
    volume, truth = rod(range(1), count=1)
    flat = Volume(volume.array, VolumeGeometry((1, 48, 48), np.diag([-1.0, -1.0, 1.0, 1.0])))
    (pair,) = pairs_from_volume(flat, {"rod": truth})
    session.set_image(flat)
    session.set_supports(SupportSet("", "one", as_objects(["rod"]), (pair,)))
    result = session.prompt_automatically().result(60)
    np.testing.assert_array_equal(result.masks["rod"].to_full(truth.shape), truth)


def test_what_is_missing_is_one_sentence(
    session: LocalSession, supports: SupportSet, one_sentence: SentenceCheck
) -> None:
    with one_sentence(PromptError, "no supports"):
        session.prompt_automatically()
    with one_sentence(PromptError, "no annotated image"):
        session.set_supports(SupportSet("", "empty", ()))
    session.set_supports(supports)
    with one_sentence(PromptError, '"liver"'):
        session.prompt_automatically(["liver"])
    with one_sentence(PromptError, "No object"):
        session.prompt_automatically([])
    with one_sentence(GeometryError, "axes"):
        session.prompt_automatically(axis=3)
    with one_sentence(GeometryError, "0 to 11"):
        session.prompt_automatically(first=12)
    session.set_supports(None)
    with one_sentence(PromptError, "no supports"):
        session.prompt_automatically()


def test_a_model_without_a_network_says_so(
    open_session: MakeSession, supports: SupportSet, monkeypatch: pytest.MonkeyPatch, one_sentence: SentenceCheck
) -> None:
    monkeypatch.setattr("AutoPromptSAMLib.supports.encode.general_network", lambda backbone: None)
    session = open_session(ContrastBackbone())
    session.set_image(rod(range(3, 9))[0])
    session.set_supports(supports)
    with one_sentence(ModelError, "autopromptsam learn"):
        session.prompt_automatically().result(60)


def test_the_real_model_with_the_masks_of_another_slice(
    lite_session: Callable[..., LocalSession], phantom: Phantom, prompters: list[CopyPrompter]
) -> None:
    """Two objects at once, on an oblique volume, by LiteMedSAM's own decoder."""
    pairs = pairs_from_volume(phantom.volume, phantom.truth, slices=[2, 4], complete=True)
    session = lite_session()
    session.set_supports(SupportSet("", "phantom", as_objects(["large", "small"]), tuple(pairs)))
    result = session.prompt_automatically(first=2, last=4).result(300)
    for name, truth in phantom.truth.items():
        found = result.masks[name].to_full(truth.shape)[2:5]
        assert 2 * (found & truth[2:5]).sum() / (found.sum() + truth[2:5].sum()) > 0.85
        assert list(result.confidence[name]) == [2, 3, 4]
