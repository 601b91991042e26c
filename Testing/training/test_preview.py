from __future__ import annotations

import numpy as np

from AutoPromptSAMLib.training.preview import Preview


def test_a_preview_shows_truth_in_white_and_what_was_found_in_orange() -> None:
    truth, mask = np.zeros((1, 4, 4), bool), np.zeros((1, 4, 4), bool)
    truth[0, :2], mask[0, 2:] = True, True
    preview = Preview(1, 2, 0.5, "one", np.zeros((16, 16, 3), np.uint8), truth, mask)
    picture = preview.picture()
    assert picture[7, 5].tolist() == [255, 255, 255]
    assert picture[8, 5].tolist() == [255, 140, 0]
    assert picture[4, 5].tolist() == [0, 0, 0]
    assert not preview.image.any()
