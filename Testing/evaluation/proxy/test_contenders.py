"""The simple ways to use annotated images: where their prompts go, and what they find."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest
import torch

from AutoPromptSAMLib.backbones import Frame
from AutoPromptSAMLib.errors import PromptError
from AutoPromptSAMLib.evaluation.errors import BenchError
from AutoPromptSAMLib.evaluation.proxy.cells import best_pieces, centres, on_image
from AutoPromptSAMLib.evaluation.proxy.contenders import contender
from AutoPromptSAMLib.evaluation.proxy.persam import likeness_map, region_of
from AutoPromptSAMLib.evaluation.proxy.targets import Target
from AutoPromptSAMLib.prompters import Support
from AutoPromptSAMLib.prompts import PixelPrompts

from ...conftest import SentenceCheck
from ...prompters.scenes import dice, random_backbone, scene
from .fakes import CELLS, Brightness

WIDE = (48, 96)  # half of the square beside the image is padding


def picture(backbone: Brightness, seed: int) -> tuple[Support, Target]:
    image, masks = scene(seed, *WIDE)
    features = backbone.encode([image])
    return Support(features, image, masks), Target(features, image, masks)


@pytest.fixture(params=[True, False], ids=["points", "boxes only"])
def backbone(request: pytest.FixtureRequest) -> Brightness:
    return Brightness(request.param)


@pytest.mark.parametrize("size", [(64, 64), (30, 90), (90, 30)])
def test_the_centre_of_a_cell_has_the_code_of_the_cell(size: tuple[int, int]) -> None:
    sam = random_backbone()
    frame = Frame.longest_side(*size, 64)
    there = np.argwhere(on_image(frame, 16, 16))
    cells = [(int(row), int(col)) for row, col in there[:: max(1, len(there) // 9)]]
    points = centres(frame, cells, 16, 16)
    tokens = sam.embed_prompts(frame, [PixelPrompts(points, np.ones(len(points)))]).sparse[0, : len(points)]
    codes = tokens - sam.network.prompt_encoder.point_embeddings[1].weight
    expected = torch.stack([sam.dense_pe()[0, :, row, col] for row, col in cells])
    inner = [n for n, (x, y) in enumerate(points) if 0 < x < size[1] - 1 and 0 < y < size[0] - 1]
    assert len(inner) > 4
    assert torch.allclose(codes[inner], expected[inner], atol=1e-4)


def test_cells_of_the_padding_do_not_lie_on_the_image() -> None:
    assert on_image(Frame.longest_side(*WIDE, 64), 16, 16).sum(axis=0).tolist() == [8] * 16


def test_nearest_copy_takes_over_labels_whatever_the_object(backbone: Brightness) -> None:
    supports = [picture(backbone, seed)[0] for seed in (1, 2)]
    target = picture(backbone, 3)[1]
    found = contender("nearest-copy", backbone).prepare(supports, ("square", "disc"))(target)
    assert list(found) == ["square", "disc"]
    for name, mask in found.items():
        assert mask.dtype == np.bool_
        assert mask.shape == WIDE
        assert dice(mask, target.truths[name]) > 0.7


def test_persam_with_points_is_refined_by_its_mask_and_then_by_its_box() -> None:
    backbone = Brightness(points=True)
    support, target = picture(backbone, 1)[0], picture(backbone, 3)[1]
    found = contender("persam", backbone).prepare([support], ("disc",))(target)["disc"]
    assert dice(found, target.truths["disc"]) > 0.9
    (first, no_mask), (second, mask), (third, mask_again) = backbone.given
    (good, bad), labels = first.points, first.labels.tolist()
    assert labels == [1, 0]
    assert target.truths["disc"][round(good[1]), round(good[0])]
    assert not target.truths["disc"][round(bad[1]), round(bad[0])]
    assert no_mask is None
    assert first.box is None
    assert mask is not None
    assert second.box is None
    assert mask_again is not None
    assert third.box is not None
    rows, cols = np.nonzero(target.truths["disc"])
    x0, y0, x1, y1 = third.box  # around what was found so far, which may be more than the disc
    assert x0 <= cols.min() + 2
    assert y0 <= rows.min() + 2
    assert x1 >= cols.max() - 2
    assert y1 >= rows.max() - 2
    assert np.array_equal(second.points, third.points)


def test_persam_gives_a_box_to_models_that_take_no_points() -> None:
    backbone = Brightness(points=False)
    support, target = picture(backbone, 1)[0], picture(backbone, 3)[1]
    found = contender("persam", backbone).prepare([support], ("disc",))(target)["disc"]
    assert dice(found, target.truths["disc"]) > 0.7
    assert len(backbone.given) == 2
    assert all(not len(prompt.points) and prompt.box is not None for prompt, _ in backbone.given)
    assert all(mask is None for _, mask in backbone.given)
    rows, cols = np.nonzero(target.truths["disc"])
    cell = WIDE[1] / CELLS
    assert np.abs(backbone.given[0][0].box - [cols.min(), rows.min(), cols.max(), rows.max()]).max() <= 2 * cell


def test_the_box_of_the_truth_is_tight(backbone: Brightness) -> None:
    target = picture(backbone, 3)[1]
    found = contender("true-box", backbone).prepare([], ("disc", "nothing"))(target)
    rows, cols = np.nonzero(target.truths["disc"])
    assert backbone.given[0][0].box.tolist() == [cols.min(), rows.min(), cols.max(), rows.max()]
    assert dice(found["disc"], target.truths["disc"]) > 0.9
    assert not found["nothing"].any()


@pytest.mark.parametrize("name", ["persam", "nearest-copy"])
def test_an_object_that_no_support_shows_is_refused(
    name: str, backbone: Brightness, one_sentence: SentenceCheck
) -> None:
    support = picture(backbone, 1)[0]
    with one_sentence(PromptError, "spleen"):
        contender(name, backbone).prepare([support], ("spleen",))


def test_unknown_contenders_and_a_proxy_without_a_network_are_refused(one_sentence: SentenceCheck) -> None:
    backbone = Brightness(points=True)
    with one_sentence(BenchError, "oracle", "nearest-copy"):
        contender("oracle", backbone)
    with one_sentence(BenchError, "network"):
        contender("proxy", backbone)


def test_the_region_is_as_large_as_the_object_and_without_scattered_cells() -> None:
    likeness = np.zeros((8, 8))
    likeness[2:5, 2:5] = 0.9
    likeness[7, 7] = 0.8
    likeness[0] = np.nan
    region = region_of(likeness, 10 / 56)
    assert region.sum() == 9
    assert region[2:5, 2:5].all()
    assert region_of(likeness, 0.0).sum() == 9  # at least the best, and those like it
    assert best_pieces(np.zeros((3, 3), dtype=bool), 0.5).sum() == 0


def test_likeness_is_a_cosine_without_what_all_cells_share_and_unknown_beside_the_image() -> None:
    features = picture(Brightness(points=True), 3)[1].features
    cells = features.embedding[0, :, :8].flatten(1)
    own = cells - cells.mean(1, keepdim=True)
    at = int(own.norm(dim=0).argmax())
    likeness = likeness_map(features, torch.nn.functional.normalize(own[:, at], dim=0))
    assert np.isnan(likeness[8:]).all()
    assert likeness[:8].ravel()[at] == pytest.approx(1)
    assert np.nanmin(likeness) < 0
    brighter = replace(features, embedding=features.embedding + torch.tensor([5.0, 0.0, 3.0])[:, None, None])
    np.testing.assert_allclose(
        likeness_map(brighter, torch.nn.functional.normalize(own[:, at], dim=0)), likeness, atol=1e-5
    )
