"""The weights that come with the project fit the code and the models that their names say."""

from __future__ import annotations

from pathlib import Path

import pytest
import torch

from AutoPromptSAMLib.backbones.multi_prompt_adapter import KIND as ADAPTER
from AutoPromptSAMLib.backbones.tensor_file import read_tensors
from AutoPromptSAMLib.prompters.proxy_prompt import ProxyPromptConfig
from AutoPromptSAMLib.prompters.proxy_prompt.network import ProxyPromptNetwork
from AutoPromptSAMLib.prompters.proxy_prompt.weights import KIND
from AutoPromptSAMLib.zoo.card import ModelCard, cards_folder, get_card, load_cards

FILES = sorted(cards_folder().glob("proxy-prompt-*.safetensors"))
MOST_BYTES, MOST_ADAPTER_BYTES = 15e6, 10e6


def test_the_models_that_were_run_have_general_weights() -> None:
    assert [path.stem for path in FILES] == ["proxy-prompt-lite-medsam", "proxy-prompt-mobile-sam"]


@pytest.mark.parametrize("path", FILES, ids=[path.stem for path in FILES])
def test_weights_fit_the_model_in_their_name_and_have_a_card(path: Path) -> None:
    header, tensors = read_tensors(path, KIND)
    model = get_card(path.stem.removeprefix("proxy-prompt-"))
    assert header.backbone == model.name
    assert str(model.sha256) in header.fingerprint
    assert path.stat().st_size <= MOST_BYTES
    with torch.device("meta"):
        network = ProxyPromptNetwork(ProxyPromptConfig.from_dict(header.config))
    assert {name: value.shape for name, value in network.state_dict().items()} == {
        name: value.shape for name, value in tensors.items()
    }
    assert all(value.isfinite().all() for value in tensors.values())
    text = path.with_suffix(".md").read_text(encoding="utf-8")
    for heading in ("## Trained on", "## How well it does", "## Where it fails"):
        assert heading in text


@pytest.mark.parametrize("card", [card for card in load_cards().values() if card.adapter], ids=lambda card: card.name)
def test_adapters_fit_the_model_in_their_card(card: ModelCard) -> None:
    assert card.adapter is not None
    header, tensors = read_tensors(card.adapter.path, ADAPTER)
    assert header.sha256 == card.adapter.sha256
    assert header.backbone == card.base
    assert str(card.sha256) in header.fingerprint
    assert card.adapter.path.stat().st_size <= MOST_ADAPTER_BYTES
    assert all(value.isfinite().all() for value in tensors.values())
    text = card.adapter.path.with_suffix(".md").read_text(encoding="utf-8")
    for heading in ("## Trained on", "## How well it does", "## Where it fails"):
        assert heading in text
