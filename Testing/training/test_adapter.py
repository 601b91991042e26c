"""Training a Multi-Prompt Adapter: what prompts are drawn, and that they are learned."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from AutoPromptSAMLib.backbones.base import Features, Frame
from AutoPromptSAMLib.backbones.multi_prompt_adapter import AdaptedBackbone, AdapterConfig
from AutoPromptSAMLib.errors import PromptError
from AutoPromptSAMLib.prompts.simulators import tight_box
from AutoPromptSAMLib.training.adapter import (
    LABEL,
    REGION_KIND,
    THING,
    AdapterSettings,
    adapter_loss,
    draw_prompts,
    items_of,
    things,
    train_adapter,
)
from AutoPromptSAMLib.training.pool import REGION, Source
from AutoPromptSAMLib.training.shots import Example, View, shots_of

from ..prompters.scenes import SIZE, random_backbone, scene
from ..threshold_backbone import BRIGHT, DARK, ThresholdBackbone

ROW, COL = np.mgrid[:SIZE, :SIZE]


def source(count: int = 4) -> Source:
    """Pictures of a disc and a square, encoded."""
    pictures = [scene(seed) for seed in range(count)]
    examples = [Example(str(n), str(n), image, masks) for n, (image, masks) in enumerate(pictures)]
    return Source("scenes", tuple(shots_of(random_backbone(), examples, ("disc", "square"), SIZE, 1, 0)))


@given(st.integers(0, 10_000), st.integers(2, 20), st.tuples(st.integers(0, 63), st.integers(0, 63)), st.booleans())
@settings(max_examples=150, deadline=None)
def test_prompts_are_what_a_person_might_give(seed: int, radius: int, centre: tuple[int, int], made_up: bool) -> None:
    mask = np.hypot(ROW - centre[0], COL - centre[1]) <= radius
    prompts = draw_prompts(mask, np.random.default_rng(seed), made_up)
    assert not prompts.is_empty
    assert prompts.box is not None or not made_up  # a click on a region without a name may mean anything
    if prompts.box is not None:
        assert (prompts.box >= 0).all()
        assert (prompts.box <= SIZE - 1).all()
    at = prompts.points.round().astype(int)
    inside = mask[at[:, 1], at[:, 0]] if len(at) else np.zeros(0, bool)
    assert (inside == (prompts.labels == 1)).all()
    assert len(at) <= 13


def test_of_all_prompts_there_are_some_of_every_kind() -> None:
    mask = np.hypot(ROW - 30, COL - 34) <= 12
    rng = np.random.default_rng(0)
    drawn = [draw_prompts(mask, rng) for _ in range(400)]
    kinds = {(prompt.box is not None, bool(len(prompt.points)), bool((prompt.labels == 0).any())) for prompt in drawn}
    with_points = {(boxed, True, against) for boxed in (True, False) for against in (True, False)}
    assert kinds == {(True, False, False)} | with_points
    boxes = np.array([prompt.box for prompt in drawn if prompt.box is not None])
    assert boxes[:, 0].min() < 22 < boxes[:, 0].max()  # loose on both sides of the tight one


def test_pieces_of_a_label_are_objects_of_their_own() -> None:
    image, _ = scene(0)
    two = (np.hypot(ROW - 16, COL - 16) <= 8) | (np.hypot(ROW - 46, COL - 46) <= 6)
    speck = (ROW == 3) & (COL == 60)
    examples = [Example("a", "a", image, {"discs": two | speck, f"{REGION}1": two})]
    shots = shots_of(random_backbone(), examples, ("discs", f"{REGION}1"), SIZE, 1, 0)
    (item,) = items_of(Source("made", tuple(shots)), random_backbone(), np.random.default_rng(0))
    areas = sorted((kind, int(item.mask(n).sum())) for n, (kind, _) in enumerate(item.objects) if kind != THING)
    first, second = int((np.hypot(ROW - 16, COL - 16) <= 8).sum()), int((np.hypot(ROW - 46, COL - 46) <= 6).sum())
    assert areas == [
        (LABEL, second),
        (LABEL, first),
        (LABEL, first + second + 1),
        (REGION_KIND, second),
        (REGION_KIND, first),
    ]


def test_things_are_what_is_found_again_in_its_own_box() -> None:
    bright = np.hypot(ROW - 30, COL - 34) <= 14
    grey = torch.from_numpy(np.where(bright, BRIGHT, DARK))[None].half()
    frame = Frame(SIZE, SIZE, SIZE, SIZE, SIZE)
    view = View(grey, frame, torch.zeros(3, SIZE, SIZE), torch.zeros(0, SIZE, SIZE))
    found = [mask for seed in range(8) for mask in things(ThresholdBackbone(), view, np.random.default_rng(seed))]
    assert len(found) > 10
    for mask in found:
        x0, y0, x1, y1 = tight_box(mask).astype(int)
        assert (mask == (bright & (y0 <= ROW) & (y1 >= ROW) & (x0 <= COL) & (x1 >= COL))).all()
    assert len({mask.tobytes() for mask in found}) > 5
    dark = View(torch.zeros_like(grey), frame, view.image, view.masks)
    assert things(ThresholdBackbone(), dark, np.random.default_rng(0)) == []


def test_it_learns_and_the_model_stays_as_it_was() -> None:
    plain = random_backbone()
    before = {name: tensor.clone() for name, tensor in plain.network.state_dict().items()}
    backbone = AdaptedBackbone(plain, replace(plain.card, name="adapted"))
    untrained = backbone.fingerprint
    shots = source()
    pool, rng = items_of(shots, plain, np.random.default_rng(0)), np.random.default_rng(1)
    asked = [(item, n, draw_prompts(item.mask(n), rng)) for item in pool for n in range(2)]

    def loss() -> float:
        """Mean over prompts that are the same each time."""
        losses = []
        for item, n, prompts in asked:
            features = Features(item.view.embedding[None].float(), Frame.stretched(SIZE, SIZE, SIZE))
            logits = backbone.decode(features, backbone.embed_prompts(features.frame, [prompts])).low_res[:, 0]
            losses.append(float(adapter_loss(logits, torch.from_numpy(item.mask(n))[None].float())))
        return float(np.mean(losses))

    first = loss()
    quick = AdapterSettings(steps=50, images=1, prompts=3, learning_rate=1e-2, averaging=0.8)
    assert len(train_adapter(backbone, [shots], quick)) == 50
    assert loss() < first - 0.01
    assert backbone.fingerprint != untrained
    assert all(torch.equal(tensor, before[name]) for name, tensor in plain.network.state_dict().items())
    assert not any(parameter.requires_grad for parameter in backbone.own.parameters())


def test_cancelled_it_keeps_what_it_learned() -> None:
    class Stop:
        asked = 0

        @property
        def cancelled(self) -> bool:
            self.asked += 1
            return self.asked > 4  # two images are looked at first

        def report(self, done: int, total: int, text: str) -> None:
            assert 0 <= done < total

    plain = random_backbone()
    backbone = AdaptedBackbone(plain, plain.card)
    quick = AdapterSettings(images=1, prompts=2)
    assert len(train_adapter(backbone, [source(2)], quick, Stop())) == 2
    assert backbone.fingerprint != AdaptedBackbone(plain, plain.card).fingerprint


def test_what_cannot_be_trained_is_said(one_sentence) -> None:  # type: ignore[no-untyped-def]
    plain = random_backbone()
    image, _ = scene(0)
    nothing = Example("a", "a", image, {"speck": (ROW == 3) & (COL == 3)})
    empty = Source("empty", tuple(shots_of(plain, [nothing], ("speck",), SIZE, 1, 0)))
    with one_sentence(PromptError, "large enough"):
        train_adapter(AdaptedBackbone(plain, plain.card), [empty])
    with one_sentence(PromptError, "blocks"):
        backbone = AdaptedBackbone(plain, plain.card)
        backbone.config = AdapterConfig("blocks")
        train_adapter(backbone, [source(1)])


@pytest.mark.parametrize("right", [True, False])
def test_the_loss_is_small_only_for_the_truth(right: bool) -> None:
    truth = torch.zeros(1, 8, 8)
    truth[0, 2:5, 2:6] = 1
    logits = torch.where(truth > 0, 12.0, -12.0)
    loss = float(adapter_loss(logits if right else -logits, truth))
    assert loss < 1e-3 if right else loss > 1
