"""What uses a remote session: a Python without torch, and the interactive part on a real scene."""

from __future__ import annotations

import hashlib
import os
import subprocess
import sys
import threading
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from AutoPromptSAMLib.errors import ModelError
from AutoPromptSAMLib.geometry import slice_plane
from AutoPromptSAMLib.session.learning import LearningResult
from AutoPromptSAMLib.session.local import LocalSession
from AutoPromptSAMLib.session.remote import RemoteSession
from AutoPromptSAMLib.supports.pairs import SupportPair, SupportSet, as_objects
from AutoPromptSAMLib.training.preview import Preview

from ..remote_server import TOKEN, Site, Town
from ..session.conftest import slice_box
from ..threshold_backbone import ThresholdBackbone, rod

CLIENT = """
import sys
HEAVY = ("torch", "torchvision", "timm", "segment_anything", "sam2", "safetensors", "openvino", "kornia", "monai")

class Blocked:
    def find_spec(self, name, path=None, target=None):
        if name.split(".")[0] in HEAVY + ("fastapi", "uvicorn"):
            raise ImportError(name + " is not installed here")

sys.meta_path.insert(0, Blocked())
import numpy as np
from AutoPromptSAMLib.geometry import Volume, VolumeGeometry, slice_plane
from AutoPromptSAMLib.prompts import Box
from AutoPromptSAMLib.session import Session
from AutoPromptSAMLib.session.local import LocalSession
from AutoPromptSAMLib.session.remote import RemoteSession

session = RemoteSession(sys.argv[1], sys.argv[2])
assert isinstance(session, Session)
array = np.full((6, 30, 30), 50, np.uint8)
array[1:5, 8:20, 9:22] = 200
geometry = VolumeGeometry(array.shape, np.diag([1, 1, 2, 1.0]))
session.set_image(Volume(array, geometry))
plane = slice_plane(geometry, 0, 3)
session.add_prompt("block", Box.on_plane(plane, (8, 7, 22, 20)))
found = session.segment("block", plane).result(60)
whole = session.propagate("block").result(60)
review = session.review("block", whole.mask).result(60)
print(found.mask.count, whole.mask.count, sorted(review.slices), session.undo())
session.close()
print([name for name in HEAVY if name in sys.modules])
"""


def test_a_client_needs_no_torch(site: Site) -> None:
    done = subprocess.run(
        [sys.executable, "-c", CLIENT, site.address, TOKEN],
        capture_output=True,
        text=True,
        env={**os.environ, "PYTHONPATH": str(Path(__file__).parents[2])},
        timeout=120,
    )
    assert done.returncode == 0, done.stderr
    first, second = done.stdout.splitlines()
    assert first == f"{12 * 13} {4 * 12 * 13} [0, 1, 2, 3, 4, 5] Add box"
    assert second == "[]"


def test_the_interactive_part_does_not_notice(site: Site, monkeypatch: pytest.MonkeyPatch) -> None:
    pytest.importorskip("slicer")
    from AutoPromptSAMLib.mrml.scene import create_scene

    from ..mrml import segmenting

    def elsewhere(backbone: object) -> RemoteSession:
        return site.client(ahead=8)

    monkeypatch.setattr(segmenting, "LocalSession", elsewhere)
    with create_scene() as context:
        host: Any = segmenting.Host(context.scene)
        host.segmenter.add_prompt(host.box(5))
        host.settle()
        assert np.array_equal(host.voxels(), host.only(5))
        host.segmenter.propagate()
        host.settle()
        assert np.array_equal(host.voxels(), host.truth)
        assert sorted(host.segmenter.propagation().agreement) == list(segmenting.SLICES)
        host.segmenter.undo()
        assert np.array_equal(host.voxels(), host.only(5))
        host.segmenter.redo()
        assert np.array_equal(host.voxels(), host.truth)
        host.segmenter.add_prompt(host.point(22, 14, 7, positive=False))
        host.settle()
        assert len(host.segmenter.prompts()) == 3
        assert not host.voxels()[7, 14, 22]
        for _ in range(3):
            host.segmenter.undo()
            host.settle()
        assert not host.voxels().any()
        assert host.said == []
        host.close()


def pictures(count: int = 3) -> SupportSet:
    pairs = []
    for number in range(count):
        image = np.random.default_rng(number).integers(0, 255, (20, 30, 3), dtype=np.uint8)
        pairs.append(SupportPair.of(f"picture {number}", image, {"disc": image[..., 0] > 100}))
    return SupportSet("0" * 8, "pictures", as_objects(["disc"]), tuple(pairs))


def test_learning_brings_home_what_was_learned(town: Town, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Learning itself is tested with the session's own; here its words and its file travel."""
    content = np.random.default_rng(0).bytes(3_000_000)
    got: dict[str, Any] = {}
    clicked = threading.Event()

    def learn_from(
        supports: SupportSet, backbone: object, cache: object, folder: Path, minutes: float, control: Any, preview: Any
    ) -> LearningResult:
        got.update(supports=supports, minutes=minutes, pixels=[pair.image.copy() for pair in supports.pairs])
        preview(Preview(1, 2, float("nan"), "ß", pictures(1).pairs[0].image, np.eye(3) > 0, np.ones((1, 2, 2), bool)))
        control.report(1, 2, "Learning")
        while not clicked.wait(0.01):
            control.make_way()
        folder.mkdir(parents=True, exist_ok=True)
        (folder / "task-x.safetensors").write_bytes(content)
        return LearningResult(folder / "task-x.safetensors", 0.75, 2, 1.5, True, better=False, held_back=3)

    monkeypatch.setattr("AutoPromptSAMLib.session.local.learn_from", learn_from)
    monkeypatch.setenv("AUTOPROMPTSAM_HOME", str(tmp_path / "client"))
    session = town.open(ThresholdBackbone(), runs_folder=tmp_path / "server" / "runs").client()
    # What was learned with other models stays here, or is not here at all.
    supports = replace(pictures(), tasks={"another": tmp_path / "nowhere.safetensors"})
    previews, told = [], []
    job = session.learn(supports, 7.5, told.append, previews.append)
    volume, truth = rod(range(12))
    session.set_image(volume)
    session.add_prompt("rod", slice_box(volume, truth, 0, 5))
    plane = slice_plane(volume.geometry, 0, 5)
    assert session.segment("rod", plane).result(30).mask.count == truth[5].sum(), "a click goes before"
    assert not job.done
    clicked.set()
    result = job.result(30)
    assert got["supports"].tasks == {}
    assert not result.better
    assert result.held_back == 3
    assert result.task.parent == tmp_path / "client" / "tasks"
    assert result.task.read_bytes() == content
    assert result.task.stem == hashlib.sha256(content).hexdigest()
    assert (result.dice, result.steps, result.seconds, result.complete) == (0.75, 2, 1.5, True)
    assert got["minutes"] == 7.5
    assert [pair.id for pair in got["supports"].pairs] == [pair.id for pair in supports.pairs]
    for one, other in zip(got["pixels"], supports.pairs, strict=True):
        np.testing.assert_array_equal(one, other.image)
    assert [progress.text for progress in told] == ["Learning"]
    (preview,) = previews
    assert (preview.step, preview.name, preview.dice != preview.dice) == (1, "ß", True)
    np.testing.assert_array_equal(preview.truth, np.eye(3) > 0)
    session.close()


def test_what_keeps_it_from_learning_is_said_as_locally(site: Site) -> None:
    said = []
    for session in (site.client(), LocalSession(ThresholdBackbone())):
        with pytest.raises(ModelError) as caught:
            session.learn(pictures(1), 0.001).result(30)
        said.append(str(caught.value))
        session.close()
    assert said[0] == said[1]
