"""Models in a list, and what they run on."""

from __future__ import annotations

from types import SimpleNamespace

import pytest
import torch

from AutoPromptSAMLib.workbench import model_rows
from AutoPromptSAMLib.zoo import load_cards

from ..threshold_backbone import ThresholdBackbone


def test_what_is_here_comes_first_then_what_we_ran(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(model_rows, "is_installed", lambda card: card.name == "sam-vit-h")
    rows = model_rows.model_rows()
    assert {row.name for row in rows} == set(load_cards())
    assert rows[0].name == "sam-vit-h"
    assert [row.installed for row in rows].count(True) == 1
    ran = [row.run_here for row in rows[1:]]
    assert ran == sorted(ran, reverse=True)
    assert {True, False} == set(ran)


def test_a_card_in_words() -> None:
    row = next(row for row in model_rows.model_rows() if row.name == "lite-medsam")
    card = load_cards()["lite-medsam"]
    assert (row.title, row.input, row.licence, row.fetchable) == (card.title, 256, card.licence.spdx, True)
    assert row.prompts == "boxes"
    assert row.size.endswith(" MB")


def test_where_it_runs(monkeypatch: pytest.MonkeyPatch) -> None:
    backbone = ThresholdBackbone()
    assert model_rows.device_word(backbone.device) == "CPU"
    assert model_rows.device_text(backbone) == "the CPU (a threshold; slower than on a GPU)"
    monkeypatch.setattr(torch.cuda, "get_device_name", lambda device: "Fast 9000")
    fast = SimpleNamespace(device=torch.device("cuda"), engine="PyTorch")
    assert model_rows.device_word(fast.device) == "GPU"
    assert model_rows.device_text(fast) == "the GPU (Fast 9000; PyTorch)"  # type: ignore[arg-type]
