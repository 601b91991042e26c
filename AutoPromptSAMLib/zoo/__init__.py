"""Model cards, and the weights they name: fetched on request, verified and deleted."""

from AutoPromptSAMLib.zoo.card import DEFAULT_MODEL, ModelCard, get_card, load_cards
from AutoPromptSAMLib.zoo.sample import SampleCT, sample_ct
from AutoPromptSAMLib.zoo.store import (
    ensure,
    expected_sha256,
    home,
    is_installed,
    remove,
    verify,
    weights_path,
)

__all__ = [
    "DEFAULT_MODEL",
    "ModelCard",
    "SampleCT",
    "ensure",
    "expected_sha256",
    "get_card",
    "home",
    "is_installed",
    "load_cards",
    "remove",
    "sample_ct",
    "verify",
    "weights_path",
]
