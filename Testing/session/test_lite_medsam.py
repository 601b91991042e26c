"""The session with the real LiteMedSAM on a small phantom, from box to corrected 3D mask."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest

from AutoPromptSAMLib.backbones import Backbone
from AutoPromptSAMLib.geometry import Crop, Volume, oblique_plane, sample_plane, slice_plane
from AutoPromptSAMLib.prompts import Point
from AutoPromptSAMLib.prompts.file import load_prompts, save_prompts
from AutoPromptSAMLib.session import Session
from AutoPromptSAMLib.session.local import LocalSession

from .conftest import Phantom, box_around, dice, slice_box

MakeSession = Callable[..., LocalSession]


def test_it_is_a_session(lite_session: MakeSession) -> None:
    assert isinstance(lite_session(), Session)


@pytest.mark.parametrize("name", ["large", "small"])
def test_a_box_on_a_slice_finds_the_object_there(lite_session: MakeSession, phantom: Phantom, name: str) -> None:
    session, truth = lite_session(), phantom.truth[name]
    session.add_prompt(name, slice_box(phantom.volume, truth, 0, 3))
    plane = slice_plane(phantom.volume.geometry, 0, 3)
    done = []
    job = session.segment(name, plane, done.append)
    result = job.result()
    session.close()
    assert done == [job]
    assert (result.name, result.plane, result.explanation) == (name, plane, "")
    assert set(result.seconds) == {"encode", "decode", "paste"}
    assert result.mask.lower[0] == 3
    assert result.mask.mask.shape[0] == 1
    assert dice(result.mask.to_full(truth.shape)[3], truth[3]) > 0.93


def test_an_image_is_encoded_once_even_over_a_restart(
    lite: Backbone, lite_session: MakeSession, phantom: Phantom, monkeypatch: pytest.MonkeyPatch
) -> None:
    plane = slice_plane(phantom.volume.geometry, 0, 3)
    first = lite_session()
    first.add_prompt("large", slice_box(phantom.volume, phantom.truth["large"], 0, 3))
    expected = first.segment("large", plane).result().mask
    monkeypatch.setattr(type(lite), "encode", lambda *_: pytest.fail("the slice was encoded again"))
    again = lite_session()
    again.replay(first.export_prompts())
    found = again.segment("large", plane).result().mask
    assert found.lower == expected.lower
    np.testing.assert_array_equal(found.mask, expected.mask)


def test_two_objects_from_one_box_each_corrected_and_resumed(
    lite_session: MakeSession, phantom: Phantom, tmp_path: Path
) -> None:
    """One long story, because each step needs the one before."""
    shape = phantom.volume.geometry.shape
    session = lite_session(tmp_path / "runs")
    results = {}
    for name, truth in phantom.truth.items():
        session.add_prompt(name, slice_box(phantom.volume, truth, 0, 3))
        shown: dict[int, Crop] = {}
        results[name] = session.propagate(name, on_slice=shown.__setitem__).result()
        assert results[name].complete
        assert results[name].axis == 0
        assert results[name].seeds == (3,)
        assert dice(results[name].mask.to_full(shape), truth) > 0.9
        together = np.any([crop.to_full(shape) for crop in shown.values()], axis=0)
        np.testing.assert_array_equal(together, results[name].mask.to_full(shape))
        assert set(results[name].agreement) == {index for index, crop in shown.items() if not crop.is_empty}
    assert not (results["large"].mask.to_full(shape) & results["small"].mask.to_full(shape)).any()

    # A person cuts a bit off slice 5: 6 and 4 are found anew from there, nothing from slice 3 down.
    at = phantom.volume.geometry.ras_from_ijk([[46, 42, 5]])[0]
    assert results["large"].mask.to_full(shape)[5, 42, 46]
    session.add_prompt("large", Point(at, positive=False))
    corrected = session.propagate("large").result()
    full = corrected.mask.to_full(shape)
    assert corrected.seeds == (3, 5)
    assert not full[5, 42, 46]
    assert corrected.decoded == 2
    before = results["large"].mask.to_full(shape)
    np.testing.assert_array_equal(full[:4], before[:4])
    assert dice(full[5], before[5]) > 0.7, "a click corrects the slice, it does not start anew"

    # Saved, and replayed by a process that starts anew: the same mask, and nothing is decoded twice.
    save_prompts(tmp_path / "p.json", session.objects, session.export_prompts().model, phantom.volume.geometry)
    restarted = lite_session(tmp_path / "runs")
    assert restarted.replay(load_prompts(tmp_path / "p.json")) == []
    resumed = restarted.propagate("large").result()
    assert resumed.decoded == 0
    assert resumed.mask.lower == corrected.mask.lower
    np.testing.assert_array_equal(resumed.mask.mask, corrected.mask.mask)

    # The same without any memory.
    elsewhere = lite_session()
    elsewhere.replay(load_prompts(tmp_path / "p.json"))
    recomputed = elsewhere.propagate("large").result()
    assert recomputed.decoded > 0
    np.testing.assert_array_equal(recomputed.mask.to_full(shape), full)

    # And taken back: the click and the slice that it kept are one step.
    assert session.undo() == "Add point"
    undone = session.propagate("large").result()
    assert undone.decoded == 0
    np.testing.assert_array_equal(undone.mask.to_full(shape), before)


def test_an_oblique_plane_is_segmented(lite_session: MakeSession, phantom: Phantom) -> None:
    session, geometry, truth = lite_session(), phantom.volume.geometry, phantom.truth["large"]
    col, row, normal = (geometry.ijk_to_ras[:3, n] / geometry.spacing[n] for n in range(3))
    tilted = row + 0.15 * normal
    plane = oblique_plane(geometry, geometry.ras_from_ijk([[46, 60, 3]])[0], col, tilted)
    assert plane.axis is None
    seen = sample_plane(Volume(truth, geometry), plane, order=0, fill=0)
    session.add_prompt("large", box_around(seen, plane))
    result = session.segment("large", plane).result()
    found = result.mask.to_full(geometry.shape)
    assert found.any(axis=(1, 2)).sum() > 2, "the plane crosses several slices"
    drawn = sample_plane(Volume(found, geometry), plane, order=0, fill=0)
    assert dice(drawn, seen) > 0.9
    assert (found & truth).sum() > 0.9 * found.sum()
