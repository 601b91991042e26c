from __future__ import annotations

import numpy as np
import pytest
import torch

from AutoPromptSAMLib.backbones.cache import EmbeddingCache
from AutoPromptSAMLib.datasets import UnusablePair
from AutoPromptSAMLib.errors import PromptError
from AutoPromptSAMLib.training.shots import Example, examples_of, shots_of

from ..prompters.scenes import SIZE, random_backbone, scene
from .sets import picture_set

BOTH = ("disc", "square")


def example(seed: int, **masks: np.ndarray) -> Example:
    image, known = scene(seed)
    return Example(f"picture {seed}", f"patient {seed}", image, masks or known)


@pytest.fixture(scope="module")
def backbone():  # type: ignore[no-untyped-def]
    return random_backbone()


def test_the_first_view_is_the_image_as_it_is(backbone) -> None:  # type: ignore[no-untyped-def]
    given = example(0)
    (shot,) = shots_of(backbone, [given], BOTH, SIZE, views=1, seed=0)
    (view,) = shot.views
    assert np.array_equal(view.image.permute(1, 2, 0).numpy(), given.image)
    assert np.array_equal(view.masks.numpy() == 255, np.stack([given.masks[name] for name in BOTH]))
    features = backbone.encode([given.image])
    torch.testing.assert_close(view.embedding.float(), features.embedding[0], atol=2e-3, rtol=2e-3)
    assert view.frame == features.frame


def test_image_and_masks_move_together_and_the_same_for_all(backbone) -> None:  # type: ignore[no-untyped-def]
    """Where the disc is marked in a changed view the image is as bright as it; all images take the same draw."""
    pictures = [example(seed) for seed in range(3)]
    shots = shots_of(backbone, pictures, BOTH, SIZE, views=4, seed=1)
    for number in range(1, 4):
        before, after = [], []
        for shot, picture in zip(shots, pictures, strict=True):
            view, plain = shot.views[number], shot.views[0]
            inside = view.masks[0] == 255
            assert inside.sum() > 50
            assert view.image[0][inside].float().mean() > 150
            assert view.image[0][view.masks.sum(0) == 0].float().mean() < 70
            assert not torch.equal(view.image, plain.image)
            assert not torch.allclose(view.embedding, plain.embedding, atol=1e-2)
            before += [[*_centre(picture.masks[name]), 1] for name in BOTH]
            after += [_centre(mask.numpy() > 127) for mask in view.masks]
        # One affine map takes all six centres to their new places.
        residual = np.linalg.lstsq(np.array(before), np.array(after), rcond=None)[1]
        assert residual.sum() < 6


def _centre(mask: np.ndarray) -> np.ndarray:
    return np.argwhere(mask).mean(0)


def test_the_seed_decides(backbone) -> None:  # type: ignore[no-untyped-def]
    one, same, other = (shots_of(backbone, [example(0)], BOTH, SIZE, 2, seed)[0].views[1] for seed in (3, 3, 4))
    assert torch.equal(one.image, same.image)
    assert torch.equal(one.embedding, same.embedding)
    assert not torch.equal(one.image, other.image)


def test_an_object_that_is_not_there_is_an_empty_mask(backbone) -> None:  # type: ignore[no-untyped-def]
    given = example(0, disc=scene(0)[1]["disc"])
    (shot,) = shots_of(backbone, [given], BOTH, SIZE, views=2, seed=0)
    assert shot.present == (True, False)
    assert not shot.views[0].masks[1].any()


def test_images_are_encoded_once(backbone, tmp_path) -> None:  # type: ignore[no-untyped-def]
    cache = EmbeddingCache(tmp_path, memory_bytes=0)
    first = shots_of(backbone, [example(0)], BOTH, SIZE, 3, 0, cache=cache)
    assert len(list(tmp_path.iterdir())) == 3

    class _Deaf:
        card, device, fingerprint = backbone.card, backbone.device, backbone.fingerprint
        features_fingerprint = backbone.features_fingerprint

    again = shots_of(_Deaf(), [example(0)], BOTH, SIZE, 3, 0, cache=cache)  # type: ignore[arg-type]
    assert torch.equal(again[0].views[2].embedding, first[0].views[2].embedding)


def test_progress_may_stop_it(backbone) -> None:  # type: ignore[no-untyped-def]
    seen = []

    def progress(done: int, total: int) -> None:
        seen.append((done, total))
        if done == 2:
            raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        shots_of(backbone, [example(0), example(1)], BOTH, SIZE, 2, 0, progress)
    assert seen == [(0, 4), (1, 4), (2, 4)]


@pytest.mark.parametrize(
    ("image", "mask", "parts"),
    [
        (np.zeros((8, 8), np.uint8), np.zeros((8, 8), bool), ("'x'", "(8, 8)")),
        (np.zeros((8, 8, 3), np.float32), np.zeros((8, 8), bool), ("float32",)),
        (np.zeros((8, 8, 3), np.uint8), np.zeros((8, 9), bool), ("'disc'", "(8, 9)")),
        (np.zeros((8, 8, 3), np.uint8), np.zeros((8, 8), np.uint8), ("'disc'", "uint8")),
    ],
)
def test_what_does_not_fit_is_refused(image, mask, parts, one_sentence) -> None:  # type: ignore[no-untyped-def]
    with one_sentence(PromptError, *parts):
        Example("x", "", image, {"disc": mask})


def test_pairs_that_cannot_be_used_are_left_out_and_told(tmp_path) -> None:  # type: ignore[no-untyped-def]
    pictures = picture_set(tmp_path / "set", 3)
    (tmp_path / "set" / "1_label.png").write_bytes(b"no image")
    told: list[UnusablePair] = []
    found = examples_of(pictures, objects=["disc"], on_unusable=told.append)
    assert [example.name for example in found] == ["pictures:0:0", "pictures:2:0"]
    assert [unusable.pair for unusable in told] == [pictures.pairs[1]]
    assert "1_label.png is damaged" in told[0].reason
    assert len(examples_of(pictures)) == 2
