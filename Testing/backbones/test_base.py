"""Frames, features and prompt embeddings."""

from __future__ import annotations

import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from segment_anything.utils.transforms import ResizeLongestSide

from AutoPromptSAMLib.backbones import Features, Frame, PromptEmbedding

sides = st.integers(1, 3000)


@given(sides, sides, st.sampled_from([256, 512, 1024]))
def test_longest_side_is_that_of_sam(rows: int, cols: int, size: int) -> None:
    frame = Frame.longest_side(rows, cols, size)
    expected = ResizeLongestSide.get_preprocess_shape(rows, cols, size)
    # SAM would resize a line thinner than half a pixel to nothing.
    assert (frame.resized_rows, frame.resized_cols) == tuple(max(1, side) for side in expected)
    assert max(frame.resized_rows, frame.resized_cols) == size
    assert frame.scale == (frame.resized_cols / cols, frame.resized_rows / rows)


@given(sides, sides)
def test_stretching_fills_the_square(rows: int, cols: int) -> None:
    frame = Frame.stretched(rows, cols, 1024)
    assert (cols * frame.scale[0], rows * frame.scale[1]) == pytest.approx((1024, 1024))


def _features(images: int, value: float = 0.0, frame: Frame | None = None) -> Features:
    fill = torch.arange(images, dtype=torch.float32) + value
    tensor = fill[:, None, None, None].expand(images, 4, 2, 2)
    return Features(tensor, frame or Frame.longest_side(8, 8, 32), (tensor[:, :2],), {"edge": fill[:, None]})


def test_features_are_chosen_and_joined_by_image() -> None:
    three = Features.concatenate([_features(1), _features(2, value=10.0)])
    assert len(three) == 3
    assert three.embedding[:, 0, 0, 0].tolist() == [0, 10, 11]
    chosen = three[[2, 0]]
    assert chosen.embedding[:, 0, 0, 0].tolist() == [11, 0]
    assert chosen.high_res[0][:, 0, 0, 0].tolist() == [11, 0]
    assert chosen.extras["edge"].tolist() == [[11], [0]]
    assert len(three[1]) == 1
    assert len(three[1:]) == 2


def test_features_count_their_bytes() -> None:
    assert _features(3).nbytes == 3 * (16 + 8 + 1) * 4


def test_features_of_other_frames_are_not_joined() -> None:
    with pytest.raises(ValueError, match="frames"):
        Features.concatenate([_features(1), _features(1, frame=Frame.longest_side(8, 9, 32))])
    with pytest.raises(ValueError, match="no features"):
        Features.concatenate([])


@given(st.lists(st.tuples(st.integers(0, 4), st.integers(0, 4)), min_size=1, max_size=5))
def test_joining_concatenates_the_tokens_of_every_object(counts: list[tuple[int, int]]) -> None:
    left = [torch.randn(a, 256) for a, _ in counts]
    right = [torch.randn(b, 256) for _, b in counts]
    joined = PromptEmbedding.from_tokens(left).join(PromptEmbedding.from_tokens(right))
    assert joined.token_counts == tuple(a + b for a, b in counts)
    for n, (a, b) in enumerate(zip(left, right, strict=True)):
        torch.testing.assert_close(joined.tokens(n), torch.cat([a, b]))


def test_joining_overrides_the_dense_prompt() -> None:
    tokens = [torch.zeros(1, 256)]
    first, second = torch.zeros(1, 256, 2, 2), torch.ones(1, 256, 2, 2)
    none, one, other = (PromptEmbedding.from_tokens(tokens, dense) for dense in (None, first, second))
    assert none.join(none).dense is None
    assert one.join(none).dense is first
    assert one.join(other).dense is second


def test_joining_keeps_gradients() -> None:
    learned = torch.zeros(2, 3, 256, requires_grad=True)
    joined = PromptEmbedding(learned).join(PromptEmbedding.from_tokens([torch.ones(1, 256), torch.ones(2, 256)]))
    joined.sparse.sum().backward()
    assert learned.grad is not None
    assert learned.grad.eq(1).all()


def test_embeddings_that_do_not_fit_are_refused() -> None:
    one, two = (PromptEmbedding(torch.zeros(n, 1, 256)) for n in (1, 2))
    with pytest.raises(ValueError, match="1 and of 2 objects"):
        one.join(two)
    with pytest.raises(ValueError, match="3 lengths for 2"):
        PromptEmbedding(torch.zeros(2, 1, 256), lengths=(1, 1, 1))
    with pytest.raises(ValueError, match="at least one object"):
        PromptEmbedding.from_tokens([])
