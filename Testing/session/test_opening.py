"""Sessions as hosts open them."""

from __future__ import annotations

from pathlib import Path

import pytest

from AutoPromptSAMLib.geometry import slice_plane
from AutoPromptSAMLib.prompts import Box
from AutoPromptSAMLib.session.opening import local_session

from ..threshold_backbone import ThresholdBackbone, rod


def test_embeddings_and_runs_are_kept_at_home(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.setenv("AUTOPROMPTSAM_HOME", str(tmp_path))
    volume, truth = rod(range(2, 9))
    counts = []
    for _ in range(2):
        backbone = ThresholdBackbone()
        session = local_session(backbone)
        session.set_image(volume)
        session.add_prompt("rod", Box.on_plane(slice_plane(volume.geometry, 0, 4), (8, 8, 40, 40)))
        assert session.propagate("rod", 0, 3, 5).result().mask.count == truth[3:6].sum()
        session.close()
        counts.append(backbone.encoded)
    assert counts == [1, 0]  # the three slices are alike
    assert any((tmp_path / "embeddings").iterdir())
    assert any((tmp_path / "runs").iterdir())
