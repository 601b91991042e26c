"""Labels copied from cell to cell, on features that say what is where."""

from __future__ import annotations

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from AutoPromptSAMLib.backbones import Features
from AutoPromptSAMLib.backbones.base import Frame
from AutoPromptSAMLib.prompters.proxy_prompt import label_copy
from AutoPromptSAMLib.prompters.proxy_prompt.label_copy import (
    VOTE,
    Copied,
    LabelledCells,
    copied,
    labelled_cells,
    on_image,
)
from AutoPromptSAMLib.prompters.proxy_prompt.prompter import ProxyPrompter

from .scenes import random_backbone, support, target, tiny_prompter

KINDS = torch.eye(4, 8)  # features of four kinds of tissue
SIDE = 8


def picture(kinds: np.ndarray, rows: int = SIDE, cols: int = SIDE) -> Features:
    """Features of an image of ``rows`` x ``cols`` pixels, a pixel a cell, with a kind of tissue in each cell."""
    embedding = KINDS[torch.from_numpy(kinds)].movedim(-1, 0)[None]
    return Features(embedding, Frame(rows, cols, rows, cols, SIDE))


def cells(kinds: np.ndarray, label: np.ndarray) -> LabelledCells:
    return labelled_cells(picture(kinds), torch.from_numpy(label).float()[None], SIDE)


def halves(column: int) -> np.ndarray:
    """Kind 0 left of a column, kind 1 from there on."""
    return np.tile((np.arange(SIDE) >= column).astype(int), (SIDE, 1))


def test_cells_take_the_label_of_those_that_look_like_them() -> None:
    found = copied(picture(halves(3)), [cells(halves(5), halves(5) == 0)], SIDE)
    np.testing.assert_allclose(found.labels[0].numpy(), halves(3) == 0, atol=1e-3)
    assert found.vote.tolist() == pytest.approx([VOTE])


def test_what_looks_like_its_surroundings_gets_no_vote() -> None:
    label = np.zeros((SIDE, SIDE), dtype=bool)
    label[:3, :3] = True
    found = copied(picture(np.zeros((SIDE, SIDE), int)), [cells(np.zeros((SIDE, SIDE), int), label)], SIDE)
    assert found.vote.tolist() == [0.0]
    logits = torch.randn(1, 1, 32, 32)
    assert torch.equal(found.joined(logits), logits)


def test_an_object_that_no_support_shows_gets_no_vote() -> None:
    nothing = cells(halves(4), np.zeros((SIDE, SIDE), dtype=bool))
    found = copied(picture(halves(4)), [nothing], SIDE)
    assert found.labels.max() == 0
    assert found.vote.tolist() == [0.0]


def test_objects_are_judged_one_by_one() -> None:
    noise = np.random.default_rng(0).random((SIDE, SIDE)) < 0.2
    masks = torch.from_numpy(np.stack([halves(4) == 0, noise])).float()
    seen = labelled_cells(picture(halves(4)), masks, SIDE)
    found = copied(picture(halves(4)), [seen], SIDE)
    assert found.vote[0] == pytest.approx(VOTE)
    assert found.vote[1] == 0


def test_padding_neither_gives_nor_takes_labels() -> None:
    kinds = np.full((SIDE, SIDE), 2)
    kinds[:, :4] = halves(2)[:, :4]
    label = torch.ones(1, SIDE, SIDE)  # the canvas says more than there is
    seen = labelled_cells(picture(kinds, cols=4), label, SIDE)
    assert seen.directions.shape == (4 * SIDE, 8)
    found = copied(picture(kinds, cols=4), [seen], SIDE)
    assert found.labels[0, :, 4:].max() == 0
    assert found.labels[0, :, :4].min() > 0.99
    assert on_image(picture(kinds, cols=4).frame, SIDE, SIDE).sum() == 4 * SIDE


def test_an_image_too_narrow_for_a_cell_gives_and_takes_nothing() -> None:
    narrow = Features(picture(halves(4)).embedding, Frame(64, 2, 64, 2, 64))
    seen = labelled_cells(narrow, torch.ones(1, SIDE, SIDE), SIDE)
    assert len(seen.directions) == 0
    for image, supports in ((narrow, [cells(halves(4), halves(4) == 0)]), (picture(halves(4)), [seen])):
        found = copied(image, supports, SIDE)
        assert found.vote.tolist() == [0.0]
        assert found.labels.isfinite().all()


@given(st.integers(0, 2**31 - 1), st.integers(1, 4))
@settings(max_examples=25, deadline=None)
def test_supports_one_by_one_are_as_good_as_all_cells_at_once(seed: int, count: int) -> None:
    rng = np.random.default_rng(seed)
    each = [cells(rng.integers(0, 4, (SIDE, SIDE)), rng.random((SIDE, SIDE)) < 0.4) for _ in range(count)]
    image = picture(rng.integers(0, 4, (SIDE, SIDE)))
    together = LabelledCells(torch.cat([c.directions for c in each]), torch.cat([c.labels for c in each], 1))
    found, other, turned = (copied(image, some, SIDE) for some in (each, [together], each[::-1]))
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(label_copy, "_KEPT", 0)  # as with many supports
        streamed = copied(image, each, SIDE)
    assert torch.equal(found.labels, streamed.labels)
    torch.testing.assert_close(found.vote, streamed.vote)
    torch.testing.assert_close(found.labels, other.labels)
    torch.testing.assert_close(found.labels, turned.labels)
    torch.testing.assert_close(found.vote, other.vote)
    torch.testing.assert_close(found.vote, turned.vote)
    assert found.vote.min() >= 0
    assert found.vote.max() <= VOTE


def test_a_vote_is_a_mean_of_probabilities() -> None:
    second = Copied(torch.ones(1, 4, 4), torch.tensor([0.5]))
    logits = torch.tensor([-30.0, -1.0, 0.0, 30.0])[None, None].expand(1, 1, 4, 4)
    probability = second.joined(logits).sigmoid()
    torch.testing.assert_close(probability, (logits.sigmoid() + 1) / 2, atol=1e-5, rtol=0)
    assert second.joined(logits).isfinite().all()


def test_the_prompter_asks_for_it_and_forgets_it_when_a_support_has_none(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(label_copy, "DISTRUSTED", -1.0)  # random features are all alike
    monkeypatch.setattr(label_copy, "TRUSTED", 0.0)
    backbone = random_backbone()
    plain = tiny_prompter(backbone)
    copying = ProxyPrompter(plain.network, backbone, copying=True)
    supports = [support(backbone, seed) for seed in range(2)]
    image = target(backbone, 100)

    def masks(prompter, memory) -> torch.Tensor:  # type: ignore[no-untyped-def]
        prompted = prompter.prompt(image, memory)
        return prompted.refine(backbone.decode(image, prompted.embedding)).low_res

    with torch.no_grad():
        bare, whole = (p.encode_supports(supports, ("disc",)) for p in (plain, copying))
        mixed = whole.concatenate([plain.encode_supports(supports[:1], ("disc",)), whole])
        assert len(whole.cells) == 2
        assert bare.cells == mixed.cells == ()
        assert whole.nbytes == bare.nbytes + sum(c.directions.nbytes + c.labels.nbytes for c in whole.cells)
        assert not torch.allclose(masks(copying, whole), masks(plain, bare), atol=1e-3)
        torch.testing.assert_close(masks(copying, bare), masks(plain, bare))
