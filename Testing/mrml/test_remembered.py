"""How sure a run was of each slice is still known when its image is open again, unless the slice has changed."""

from __future__ import annotations

import json
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from AutoPromptSAMLib.geometry import Crop, VolumeGeometry
from AutoPromptSAMLib.geometry.lattice import crop_on
from AutoPromptSAMLib.mrml.autosave import WORK, Autosave, unfinished_work
from AutoPromptSAMLib.mrml.exports import export
from AutoPromptSAMLib.mrml.interactive import InteractiveSegmenter
from AutoPromptSAMLib.mrml.kept_segments import crop_slices
from AutoPromptSAMLib.mrml.remembered import KeptRun
from AutoPromptSAMLib.mrml.reports import Propagation
from AutoPromptSAMLib.mrml.scene import create_scene
from AutoPromptSAMLib.mrml.scene_reading import read_scene
from AutoPromptSAMLib.mrml.segments import SegmentWriter
from AutoPromptSAMLib.session.local import LocalSession

from ..finds_bright import SURE, examples
from ..threshold_backbone import ThresholdBackbone
from .person import Person, a_person
from .segmenting import SLICES

GEOMETRY = VolumeGeometry((5, 6, 7), np.diag([0.5, 0.75, 2.0, 1.0]))


@pytest.fixture
def later() -> Iterator[Person]:
    """Somebody who opens the same image after a restart."""
    with create_scene() as context, a_person(context.scene) as person:
        yield person


def unsure(person: Person) -> list[tuple[str, int, float]]:
    """What the list of unsure slices says, by the names of segments."""
    names = {row.id: row.name for row in person.segmenter.segments}
    return [(names[id], index, sure) for id, index, sure in person.segmenter.examples.unsure_slices()]


def test_resumed_work_knows_what_is_unsure(person: Person, later: Person, tmp_path: Path) -> None:
    person.run(examples("rod"))
    person.segmenter.examples.accept(0, 3)
    before = unsure(person)
    assert len(before) == len(SLICES) - 1
    autosave = Autosave(person.segmenter, tmp_path / "one", "sample", person.calls.put)
    autosave.save_segments()
    autosave.close()
    (work,) = unfinished_work(tmp_path)
    later.segmenter.changed.connect(later.changed.append)
    work.resume(later.segmenter, later.calls.put).close()
    assert unsure(later) == before
    assert later.segmenter.examples.accepted_slices(0) == [3]
    assert "propagation" in later.changed

    # And what is known of the other slices stays when it runs again on some of them.
    later.run(examples("rod"), first=7, last=7)
    assert unsure(later) == before


def test_work_of_a_version_that_knew_nothing_of_runs_opens(person: Person, later: Person, tmp_path: Path) -> None:
    person.run(examples("rod"))
    autosave = Autosave(person.segmenter, tmp_path / "one", "sample", person.calls.put)
    autosave.save_segments()
    autosave.close()
    path = tmp_path / "one" / WORK
    data = json.loads(path.read_text())
    for row in data["segments"]:
        assert row.pop("run")
    path.write_text(json.dumps(data))
    unfinished_work(tmp_path)[0].resume(later.segmenter, later.calls.put).close()
    assert later.names() == ["rod"]
    assert unsure(later) == []


def test_a_scene_knows_it_of_the_slices_that_nobody_changed(person: Person, tmp_path: Path) -> None:
    person.run(examples("rod"))
    (segment_id,) = [row.id for row in person.segmenter.segments]
    export(person.segmenter, tmp_path / "case.mrb")
    with create_scene() as context:
        found = read_scene(context.scene, tmp_path / "case.mrb")
        assert found.remembered is not None
        changed = add_voxel(found, segment_id)
        session = LocalSession(ThresholdBackbone())
        segmenter = InteractiveSegmenter(session, found.volume_node, found.segmentation_node, person.calls.put)
        segmenter.restore(found.remembered)
        rows = segmenter.examples.unsure_slices()
        run = segmenter.propagation(segment_id)
        segmenter.close()
        session.close()
    assert run is not None
    assert run.automatic
    assert len(rows) == len(SLICES) - 1
    assert changed not in run.agreement
    ends = [
        sorted(SURE[n] for n in SLICES if n != end) for end in (SLICES[0], SLICES[-1])
    ]  # Slicer may turn the image
    assert sorted(sure for _, _, sure in rows) in ends


def add_voxel(found: Any, segment_id: str) -> int:
    """What a paint brush that knows nothing of runs does on a slice; the slice's index."""
    writer = SegmentWriter(found.segmentation_node, found.volume_node)
    index = crop_slices(writer.read(segment_id), 0)[0]
    writer.write(segment_id, Crop(np.ones((1, 1, 1), bool), (index, 0, 0)), region=Crop.empty())
    writer.close()
    return index


@given(
    turn=st.permutations([0, 1, 2]),
    signs=st.tuples(*[st.sampled_from([1, -1])] * 3),
    axis=st.integers(0, 2),
    seed=st.integers(0, 2**16),
)
def test_it_is_the_same_slice_in_whatever_order_the_voxels_are(
    turn: list[int], signs: tuple[int, ...], axis: int, seed: int
) -> None:
    mask = Crop.from_full(np.random.default_rng(seed).random(GEOMETRY.shape) < 0.3)
    slices = crop_slices(mask, axis)
    run = Propagation(axis, {n: n / 10 for n in slices}, slices[:1], False, True)
    kept = KeptRun.from_json(json.loads(json.dumps(KeptRun.of(run, mask).to_json())))
    assert kept == KeptRun.of(run, mask)

    other = reordered(GEOMETRY, turn, signs)
    moved = crop_on(mask, GEOMETRY, other)
    assert moved is not None
    found = kept.on(moved, GEOMETRY, other)
    assert found is not None
    assert (found.complete, found.automatic) == (False, True)
    for before, now in ((slices, list(found.agreement)), (slices[:1], list(found.seeds))):
        pairs = [(one_slice(mask, axis, n), run.agreement[n]) for n in before]
        for index in now:
            crop = one_slice(moved, found.axis, index)
            back = crop_on(crop, other, GEOMETRY)
            assert back is not None
            assert any(
                sure == found.agreement[index] and back.symmetric_difference(one).is_empty for one, sure in pairs
            )
        assert len(now) == len(before)


def reordered(geometry: VolumeGeometry, turn: list[int], signs: tuple[int, ...]) -> VolumeGeometry:
    """The same voxels, their index axes (i, j, k) exchanged and reversed."""
    sizes = geometry.shape[::-1]
    matrix = np.eye(4)
    matrix[:3, :3] = 0
    for column, (source, sign) in enumerate(zip(turn, signs, strict=True)):
        matrix[source, column] = sign
        if sign < 0:
            matrix[source, 3] += sizes[source] - 1
    shape = tuple(sizes[source] for source in turn)[::-1]
    return VolumeGeometry(shape, geometry.ijk_to_ras @ matrix)


def one_slice(mask: Crop, axis: int, index: int) -> Crop:
    full = np.zeros((9, 9, 9), bool)
    part = (slice(None),) * axis + (index,)
    full[part] = mask.to_full((9, 9, 9))[part]
    return Crop.from_full(full).tight()


def test_undoing_a_run_takes_back_what_is_known_and_emptied_slices_are_not_kept(person: Person) -> None:
    person.segmenter.add_segment("rod")
    person.segmenter.add_prompt(person.box(4))
    person.settle()
    person.segmenter.propagate()
    person.settle()
    (segment_id,) = [row.id for row in person.segmenter.segments]
    run = person.segmenter.propagation(segment_id)
    assert run is not None
    assert len(run.agreement) == len(SLICES)
    assert np.array_equal(person.voxels(segment_id), person.truth)
    person.segmenter.undo()
    assert person.segmenter.propagation(segment_id) is None
    assert np.array_equal(person.voxels(segment_id), person.only(4))
    person.segmenter.redo()
    assert person.segmenter.propagation(segment_id) == run
    assert np.array_equal(person.voxels(segment_id), person.truth)
    person.paint(segment_id, person.only(4, 5))  # past the run, as another editor does, and away again
    person.segmenter.writer.write(segment_id, Crop.empty(), region=Crop.from_full(person.truth))
    person.settle()
    (kept,) = person.segmenter.kept_runs().values()
    assert list(kept.run.agreement) == []


def test_a_slice_with_other_voxels_is_not_known() -> None:
    full = np.zeros(GEOMETRY.shape, bool)
    full[1:4, 2:4, 2:5] = True
    kept = KeptRun.of(Propagation(0, {1: 0.9, 2: 0.8, 3: 0.7}), Crop.from_full(full))
    full[2, 0, 0] = True
    full[3] = False
    now = kept.on(Crop.from_full(full), GEOMETRY, GEOMETRY)
    assert now is not None
    assert now.agreement == {1: 0.9}
    elsewhere = VolumeGeometry(GEOMETRY.shape, np.diag([0.5, 0.75, 2.5, 1.0]))
    assert kept.on(Crop.from_full(full), GEOMETRY, elsewhere) is None
