"""Annotated images and sets of them."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest

from AutoPromptSAMLib.supports import SupportError, SupportObject, SupportPair, SupportSet
from AutoPromptSAMLib.supports.pairs import as_objects

from ..conftest import SentenceCheck
from .doubles import blob_picture

IMAGE, DISC = blob_picture(20, 30)


def test_large_images_are_made_smaller_and_their_masks_with_them() -> None:
    image, disc = blob_picture(700, 900, size=2048, radius=200)
    pair = SupportPair.of("large", image[:1500], {"disc": disc[:1500]}, spacing=(0.5, 0.5))
    assert pair.image.shape == (750, 1024, 3)
    assert pair.masks["disc"].shape == (750, 1024)
    assert pair.spacing == (1.0, 1.0)
    assert pair.masks["disc"].sum() == pytest.approx(disc.sum() / 4, rel=0.02)
    rows, cols = np.nonzero(pair.masks["disc"])
    assert (rows.mean(), cols.mean()) == pytest.approx((350, 450), abs=1)


def test_the_id_is_that_of_the_pixels() -> None:
    pair = SupportPair.of("a", IMAGE, {"disc": DISC})
    assert SupportPair.of("another name", IMAGE, {"other": DISC}, source="x").id == pair.id
    changed = DISC.copy()
    changed[0, 0] = True
    brighter = IMAGE.copy()
    brighter[0, 0, 0] += 1
    others = {
        SupportPair.of("a", IMAGE, {"disc": changed}).id,
        SupportPair.of("a", brighter, {"disc": DISC}).id,
        SupportPair.of("a", IMAGE, {"disc": DISC, "none": DISC & False}).id,
        SupportPair.of("a", IMAGE.swapaxes(0, 1), {"disc": DISC.T}).id,
    }
    assert len(others | {pair.id}) == 5


@pytest.mark.parametrize(
    ("image", "masks", "word"),
    [
        (IMAGE[..., 0], {"disc": DISC}, "8-bit RGB"),
        (IMAGE.astype(float), {"disc": DISC}, "8-bit RGB"),
        (IMAGE, {}, "no object"),
        (IMAGE, {"disc": DISC[:-1]}, "same size"),
        (IMAGE, {"": DISC}, "name"),
        (IMAGE, {"x" * 300: DISC}, "letters"),
        (IMAGE, {"bell\a": DISC}, "shown"),
    ],
)
def test_what_does_not_fit_is_refused(
    one_sentence: SentenceCheck, image: np.ndarray, masks: dict[str, np.ndarray], word: str
) -> None:
    with one_sentence(SupportError, word):
        SupportPair.of("a", image, masks)


def test_a_set_has_the_objects_of_its_pairs(one_sentence: SentenceCheck) -> None:
    pair = SupportPair.of("a", IMAGE, {"disc": DISC})
    assert SupportSet("", "s", as_objects(["disc"]), (pair,)).names == ("disc",)
    with one_sentence(SupportError, '"disc"', "add it"):
        SupportSet("", "s", as_objects(["cup"]), (pair,))
    with one_sentence(SupportError, "twice"):
        SupportSet("", "s", as_objects(["cup", "cup"]))
    with one_sentence(SupportError, "colour"):
        SupportObject("cup", (1.5, 0, 0))


def test_pixels_are_read_when_they_are_asked_for() -> None:
    def read() -> tuple[np.ndarray, dict[str, np.ndarray]]:
        raise SupportError("It was read.")

    pair = replace(SupportPair.of("a", IMAGE, {"disc": DISC}), read=read, thumbnail=Path("x.png"))
    assert pair.objects == ("disc",)
    with pytest.raises(SupportError, match="read"):
        _ = pair.image
