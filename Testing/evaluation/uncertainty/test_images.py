"""What a start box gives in each way, on a model that finds what is bright inside a box."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest

from AutoPromptSAMLib.datasets import SliceSample, find_datasets
from AutoPromptSAMLib.evaluation.uncertainty import draws, images
from AutoPromptSAMLib.evaluation.uncertainty.images import STARTS, TIGHT, TOLERANCE, WAYS
from AutoPromptSAMLib.prompts.simulators import box_iou, tight_box

from .fakes import ADAPTED, PLAIN, Seeing, make_discs

pytest.importorskip("monai", reason="the extra `bench` is not installed")


@pytest.fixture(scope="module")
def samples(tmp_path_factory: pytest.TempPathFactory) -> list[SliceSample]:
    (dataset,) = find_datasets(make_discs(Path(tmp_path_factory.mktemp("data")) / "discs", 8))
    return [draws.drawn_samples(dataset, pair, 0)[0] for pair in dataset.pairs]


def test_start_boxes_have_their_iou_and_depend_on_the_seed(samples: list[SliceSample]) -> None:
    for sample in samples:
        tight = tight_box(sample.truth)
        found = images.start_box(sample, TIGHT, 0)
        assert found is not None
        assert found.tolist() == tight.tolist()
        for start in STARTS[1:]:
            one, same, other = (images.start_box(sample, start, seed) for seed in (0, 0, 1))
            assert one is not None
            assert same is not None
            assert other is not None
            assert abs(box_iou(tight, one) - float(start)) <= TOLERANCE
            assert one.tolist() == same.tolist() != other.tolist()


def test_a_box_that_the_object_does_not_allow_is_left_out(samples: list[SliceSample]) -> None:
    from dataclasses import replace

    pixel = replace(samples[0], truth=np.eye(1, dtype=bool), image=samples[0].image[:1, :1])
    assert images.start_box(pixel, "0.5", 0) is None


def test_refining_mends_boxes_that_cut_the_object_and_leaves_tight_ones(samples: list[SliceSample]) -> None:
    found = []
    for sample in samples:
        backbone = Seeing(PLAIN)
        found.append(images.boxes(backbone, backbone.encode([sample.image]), sample, 0))
    figures = {name: np.mean([each[name] for each in found]) for name in found[0]}
    assert {f"{start}/{way}" for start in STARTS for way in WAYS} < set(figures)
    assert figures["0.5/ugpa"] > figures["0.5/ugpa-1"] > figures["0.5/single"]
    assert figures["0.5/always"] > figures["0.5/ugmp"]
    assert figures["0.5/single"] < figures["0.75/single"] < figures["tight/single"]
    assert figures["tight/ugpa"] > 0.95
    assert figures["0.5/guarded"] > figures["0.5/single"]
    assert 0 < figures["0.5/rounds"] <= 3
    assert figures["0.5/iou"] == pytest.approx(0.5, abs=TOLERANCE)


@pytest.mark.parametrize("least", [0.0, 0.5])
def test_guarded_keeps_what_the_plain_model_drew_unless_the_other_is_clearly_better(
    samples: list[SliceSample], monkeypatch: pytest.MonkeyPatch, least: float
) -> None:
    monkeypatch.setattr("AutoPromptSAMLib.refiners.adaptation.LEAST_GAIN", least)
    backbone = Seeing(PLAIN)
    found = images.boxes(backbone, backbone.encode([samples[0].image]), samples[0], 0)
    assert found["0.5/single"] != found["0.5/ugpa"]
    assert found["0.5/guarded"] == found["0.5/single" if least else "0.5/ugpa"]


def test_points_and_click_are_given_to_the_bare_model(samples: list[SliceSample]) -> None:
    backbone = Seeing(ADAPTED)
    features = backbone.encode([samples[0].image])
    found = images.points(backbone, features, samples[0], 0)
    assert set(found) == {f"{start}/+{count}" for start in STARTS[1:] for count in (0, 3, 10)}
    given = [prompt for prompt, _ in backbone.given]
    assert [len(prompt.points) for prompt in given] == [0, 3, 10] * 2
    assert all(prompt.box is not None and (prompt.labels == 1).all() for prompt in given)
    assert given[1].points.tolist() == given[2].points[:3].tolist() == given[4].points.tolist()
    cols, rows = given[2].points.astype(int).T
    assert samples[0].truth[rows, cols].all()
    backbone.given.clear()
    clicked = images.click(backbone, features, samples[0], 0)
    assert backbone.given[0][0].box is None
    assert len(backbone.given[0][0].points) == 1
    assert clicked["raw"] is not None
    assert clicked["raw"] > 0.9  # the disc is the only thing that is bright
