"""Automatic prompting of slices: what is found, what a person decides, and what all slices say together."""

from __future__ import annotations

import itertools

import numpy as np
import pytest
import torch

from AutoPromptSAMLib.backbones import Backbone, Features
from AutoPromptSAMLib.backbones.cache import EmbeddingCache
from AutoPromptSAMLib.backbones.lora import Lora, with_additions
from AutoPromptSAMLib.errors import Cancelled, PromptError
from AutoPromptSAMLib.loops.automatic import (
    AutomaticSlices,
    AutomaticStack,
    confidence,
    consistent,
    find,
    prompt_slices,
)
from AutoPromptSAMLib.loops.job import Control
from AutoPromptSAMLib.loops.memory import SliceMemory
from AutoPromptSAMLib.loops.slice import segment_slice
from AutoPromptSAMLib.loops.tracking import SliceMask
from AutoPromptSAMLib.prompts import PixelPrompts
from AutoPromptSAMLib.supports import SupportPair
from AutoPromptSAMLib.supports.encode import encode_pairs
from AutoPromptSAMLib.supports.pool import SupportPool

from ..prompters.scenes import random_backbone, scene, support, tiny_prompter
from ..supports.doubles import ContrastBackbone, CopyPrompter, blob_picture

SIZE = 64


class Bench:
    """Ten slices with a disc that moves down, on slices 2 to 7; two supports with it and one without."""

    def __init__(self) -> None:
        self.backbone = ContrastBackbone()
        self.prompter = CopyPrompter(self.backbone)
        self.cache = EmbeddingCache(None)
        self.memory = SliceMemory()
        self.prompts: dict[int, dict[str, PixelPrompts]] = {}
        self.pool = SupportPool(self.prompter, "copy")  # type: ignore[arg-type]
        empty = np.full((SIZE, SIZE, 3), 50, np.uint8)
        pairs = [SupportPair.of(f"{row}", *self._shown(row)) for row in (26, 30, 34, 38)]
        pairs += [SupportPair.of("none", empty, {"disc": np.zeros((SIZE, SIZE), bool)})]
        for pair, ready in zip(pairs, encode_pairs(self.backbone, self.cache, pairs), strict=True):
            self.pool.add(ready, pair.id, pair.objects)
        self.truth = [
            blob_picture(26 + 2 * n, 30)[1] if 2 <= n <= 7 else np.zeros((SIZE, SIZE), bool) for n in range(10)
        ]

    @staticmethod
    def _shown(row: int) -> tuple[np.ndarray, dict[str, np.ndarray]]:
        image, disc = blob_picture(row, 30)
        return image, {"disc": disc}

    def image(self, index: int) -> np.ndarray:
        return np.repeat(np.where(self.truth[index], 200, 50).astype(np.uint8)[..., None], 3, axis=2)

    def run(self, wanted: range = range(10), control: Control | None = None, on_slice=None) -> AutomaticSlices:  # type: ignore[no-untyped-def]
        stack = AutomaticStack(
            self.image, lambda n, by: self.cache.get_or_encode(by, self.image(n)), self.prompts, "bench"
        )
        pool = self.pool.copy()
        return prompt_slices(self.backbone, pool, stack, ["disc"], wanted, self.memory, control or Control(), on_slice)


@pytest.fixture
def bench() -> Bench:
    return Bench()


def test_the_object_is_found_where_it_is_and_nowhere_else(bench: Bench) -> None:
    told: dict[int, np.ndarray] = {}
    result = bench.run(on_slice=lambda name, index, answer: told.__setitem__(index, answer.mask))
    assert result.complete
    assert result.corrected == {}
    for index, truth in enumerate(bench.truth):
        np.testing.assert_array_equal(result.slices["disc"][index].mask, truth)
        np.testing.assert_array_equal(told[index], truth)
    assert all(0 < result.slices["disc"][n].agreement <= 1 for n in range(2, 8))
    assert all(size == 4 for _, size, _ in bench.prompter.asked)


def test_only_the_slices_that_are_asked_for(bench: Bench) -> None:
    assert sorted(bench.run(range(4, 6)).slices["disc"]) == [4, 5]


def test_running_again_computes_nothing(bench: Bench) -> None:
    first = bench.run()
    assert first.decoded > 0
    again = bench.run()
    assert again.decoded == 0
    for index in range(10):
        np.testing.assert_array_equal(again.slices["disc"][index].mask, first.slices["disc"][index].mask)
        assert again.slices["disc"][index].agreement == first.slices["disc"][index].agreement


def test_cancelling_keeps_what_is_done_and_the_next_run_goes_on(bench: Bench) -> None:
    control = Control()
    seen: list[int] = []

    def stop(name: str, index: int, answer: SliceMask) -> None:
        seen.append(index)
        if index == 4:
            control.cancel()

    result = bench.run(control=control, on_slice=stop)
    assert not result.complete
    assert sorted(result.slices["disc"]) == [0, 1, 2, 3, 4]
    whole = Bench().run()
    assert bench.run().decoded == whole.decoded - result.decoded
    early = Control()
    early.cancel()
    with pytest.raises(Cancelled):
        bench.run(control=early)


def test_a_mask_of_a_person_stays_and_prompts_the_other_slices(bench: Bench) -> None:
    painted = np.zeros((SIZE, SIZE), bool)
    painted[20:44, 18:40] = True
    bench.prompts = {5: {"disc": PixelPrompts(mask=painted)}}
    result = bench.run()
    np.testing.assert_array_equal(result.slices["disc"][5].mask, painted)
    assert result.slices["disc"][5].agreement == 1.0
    assert result.corrected == {"disc": (5,)}
    assert "slice 5" in bench.prompter.encoded


def test_a_correction_computes_only_the_slices_that_it_became_a_support_of(bench: Bench) -> None:
    bench.truth = [blob_picture(20 + 4 * n, 30)[1] for n in range(10)]
    first = bench.run()
    bench.prompts = {0: {"disc": PixelPrompts(mask=bench.truth[0])}}
    assert 0 < bench.run().decoded < first.decoded
    assert bench.run().decoded == 0


def test_a_corrected_slice_outside_of_the_wanted_ones_prompts_them_too(bench: Bench) -> None:
    bench.prompts = {5: {"disc": PixelPrompts(mask=bench.truth[5])}}
    result = bench.run(range(6, 7))
    assert sorted(result.slices["disc"]) == [6]
    assert "slice 5" in bench.prompter.encoded
    assert result.corrected == {}


def test_a_box_joins_and_nothing_is_found_outside(bench: Bench) -> None:
    box = np.array([25.0, 26.0, 34.0, 40.0])
    bench.prompts = {4: {"disc": PixelPrompts(box=box)}}
    result = bench.run(range(4, 5))
    (_, _, prompts), *_ = [asked for asked in bench.prompter.asked if asked[2]]
    np.testing.assert_array_equal(prompts["disc"].box, box)
    expected = np.zeros((SIZE, SIZE), bool)
    expected[26:41, 25:35] = bench.truth[4][26:41, 25:35]
    np.testing.assert_array_equal(result.slices["disc"][4].mask, expected)


def test_a_box_where_the_supports_show_nothing_is_believed(bench: Bench) -> None:
    bench.truth[0] = blob_picture(12, 12)[1]
    bench.prompts = {0: {"disc": PixelPrompts(box=np.array([1.0, 1.0, 24.0, 24.0]))}}
    np.testing.assert_array_equal(bench.run(range(0, 1)).slices["disc"][0].mask, bench.truth[0])


@pytest.mark.parametrize("positive", [True, False])
def test_a_click_is_obeyed_by_a_model_that_knows_boxes_only(bench: Bench, positive: bool) -> None:
    at = (52, 48) if positive else (34, 30)  # row, col
    click = PixelPrompts(np.array([[at[1], at[0]]], dtype=float), np.array([positive], dtype=np.int8))
    bench.prompts = {4: {"disc": click}}
    mask = bench.run(range(4, 5)).slices["disc"][4].mask
    assert bool(mask[at]) is positive
    assert all("disc" not in prompts for _, _, prompts in bench.prompter.asked)
    if positive:  # what was right stays right
        assert mask[bench.truth[4]].all()


def test_clicks_that_take_all_away_teach_that_the_object_is_not_there(bench: Bench) -> None:
    bench.truth = [blob_picture(30, 30, radius=2)[1] for _ in range(10)]
    click = PixelPrompts(np.array([[30.0, 30.0]]), np.array([0], dtype=np.int8))
    bench.prompts = {4: {"disc": click}}
    result = bench.run()
    assert result.slices["disc"][4].is_empty
    assert result.corrected == {"disc": (4,)}


# -- with a network ---------------------------------------------------------------------------------------------------


def test_a_network_finds_every_object_whatever_their_order() -> None:
    backbone = random_backbone()
    prompter = tiny_prompter(backbone)
    supports = [support(backbone, seed) for seed in (1, 2)]
    image, _ = scene(3)
    features = backbone.encode([image])
    found = {}
    for order in itertools.permutations(("disc", "square")):
        with torch.no_grad():
            memory = prompter.encode_supports(supports, order)
        found[order] = find(backbone, prompter, features, image, memory)
        assert tuple(found[order]) == order
    one, other = found.values()
    for name, (logits, sure) in one.items():
        assert logits.shape == image.shape[:2]
        assert logits.dtype == np.float32
        assert 0 <= sure <= 1
        np.testing.assert_allclose(logits, other[name][0], atol=1e-3)
    box = PixelPrompts(box=np.array([10.0, 10.0, 40.0, 40.0]))
    with torch.no_grad():
        memory = prompter.encode_supports(supports, ("disc", "square"))
    boxed = find(backbone, prompter, features, image, memory, {"disc": box})
    assert not (boxed["disc"][0] > 0)[50:].any()
    free = find(backbone, prompter, features, image, memory)
    assert (free["disc"][0] > 0)[50:].any()
    np.testing.assert_allclose(boxed["square"][0], free["square"][0], atol=1e-3)


def test_a_person_is_answered_by_the_model_as_it_is_whatever_a_task_made_of_it() -> None:
    plain = random_backbone()
    lora = Lora(plain)
    with torch.no_grad():
        for parameter in lora.parameters():
            parameter.normal_(std=0.3)
    prompter = tiny_prompter(with_additions(plain, lora.additions()))
    cache, image = EmbeddingCache(None), scene(3)[0]
    asked: list[tuple[int, object]] = []

    def features(index: int, by: Backbone) -> Features:
        asked.append((index, by))
        return cache.get_or_encode(by, image)

    pool = SupportPool(prompter, "learned")
    pool.add(support(prompter.backbone, 1), "one", ["disc"])  # type: ignore[arg-type]
    mask = PixelPrompts(mask=scene(3)[1]["disc"])
    box = PixelPrompts(box=np.array([10.0, 10.0, 40.0, 40.0]), points=np.array([[20.0, 20.0]]), labels=np.array([1]))
    for given in (mask, box):
        asked.clear()
        stack = AutomaticStack(lambda n: image, features, {0: {"disc": given}}, "bench")
        found = prompt_slices(plain, pool.copy(), stack, ["disc"], range(2), SliceMemory(), Control())
        assert {by for index, by in asked if index == 0} == {plain, prompter.backbone}
        assert {by for index, by in asked if index == 1} == {prompter.backbone}
        answer = found.slices["disc"][0]
        if given is mask:
            own = segment_slice(plain, plain.encode([image]), mask)
            np.testing.assert_array_equal(answer.mask, own > 0)
        else:
            assert answer.mask[20, 20]


def test_an_object_that_no_support_shows_cannot_be_asked_for() -> None:
    backbone = random_backbone()
    with pytest.raises(PromptError, match="vein"):
        tiny_prompter(backbone).encode_supports([support(backbone, 1)], ("vein",))


# -- confidence and consistency ---------------------------------------------------------------------------------------


def test_confidence_is_the_dice_that_the_probabilities_expect() -> None:
    logits = np.full((10, 10), -20.0, np.float32)
    assert confidence(logits, 1.0) == 0.0
    logits[2:6, 2:6] = 20
    assert confidence(logits, 1.0) == pytest.approx(1.0)
    assert confidence(logits, 0.5) == pytest.approx(0.5)
    unsure = np.where(logits > 0, 0.4, -0.4).astype(np.float32)
    p, q = 1 / (1 + np.exp(-0.4)), 1 / (1 + np.exp(0.4))
    assert confidence(unsure, 1.0) == pytest.approx(2 * 16 * p / (16 * p + 84 * q + 16))


def slices_of(stack: np.ndarray, sure: float = 0.8) -> dict[int, SliceMask]:
    return {n: SliceMask.from_logits(np.where(mask, 5, -5).astype(np.float32), sure) for n, mask in enumerate(stack)}


def test_specks_go_and_large_pieces_stay() -> None:
    stack = np.zeros((8, SIZE, SIZE), bool)
    stack[2:6, 10:20, 10:20] = True
    stack[2:5, 10:20, 40:50] = True  # a second organ
    speck = stack.copy()
    speck[0, 50:53, 50:53] = True
    speck[4, 50:53, 5:8] = True
    result = consistent(slices_of(speck))
    np.testing.assert_array_equal([result[n].mask for n in range(8)], stack)
    assert result[0].is_empty


def test_a_speck_on_a_slice_that_a_person_corrected_stays_with_all_that_hangs_on_it() -> None:
    stack = np.zeros((8, SIZE, SIZE), bool)
    stack[3:8, 10:30, 10:30] = True
    stack[0:2, 50:53, 50:53] = True
    before = slices_of(stack)
    result = consistent(before, corrected=[1])
    np.testing.assert_array_equal([result[n].mask for n in range(8)], stack)
    assert result[1] is before[1]


def test_a_slice_unlike_its_neighbours_is_less_sure() -> None:
    stack = np.zeros((5, SIZE, SIZE), bool)
    stack[:, 10:30, 10:30] = True
    stack[2, 10:30, 10:20] = False
    stack[2, 10:30, 30:40] = True  # half of it elsewhere
    result = consistent(slices_of(stack))
    assert result[0].agreement == 0.8
    assert result[2].agreement == pytest.approx(0.8 * 0.5)
    assert consistent(slices_of(stack[:1]))[0].agreement == 0.8
    assert consistent({}) == {}
