from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import pytest
import yaml

from AutoPromptSAMLib.errors import ModelError
from AutoPromptSAMLib.zoo import card as module
from AutoPromptSAMLib.zoo.card import (
    DEFAULT_MODEL,
    FileSource,
    Normalisation,
    PackageSource,
    UrlSource,
    get_card,
    load_cards,
    read_card,
)
from AutoPromptSAMLib.zoo.store import remove, weights_path

NAMES = {
    "lite-medsam",
    "mobile-sam",
    "mpa-lite-medsam",
    "sam-vit-b",
    "sam-vit-l",
    "sam-vit-h",
    "medsam-vit-b",
    "sam2.1-hiera-t",
    "sam2.1-hiera-s",
    "sam2.1-hiera-b-plus",
    "sam2.1-hiera-l",
    "medsam2",
}
VARIANTS = {"tiny-vit-sam": {"stem"}, "sam-vit": {"encoder"}, "sam2": {"config"}}


def test_the_shipped_cards():
    cards = load_cards()
    assert set(cards) == NAMES
    assert next(iter(cards)) == DEFAULT_MODEL == "lite-medsam"
    assert {name for name, card in cards.items() if card.run_here} == {"lite-medsam", "mobile-sam", "mpa-lite-medsam"}


@pytest.mark.parametrize("name", sorted(NAMES))
def test_each_shipped_card_is_usable(name):
    card = get_card(name)
    assert set(card.variant) - {"antialias"} == VARIANTS[card.architecture]
    assert card.sha256 is not None
    assert card.size_bytes is not None
    assert card.run_here or card.notes.startswith("Not run here")
    assert card.licence.url.startswith("https://")
    assert card.capabilities.boxes
    assert card.capabilities.memory == (card.architecture == "sam2")
    for source in card.sources:
        if isinstance(source, PackageSource):
            assert source.version in source.filename
            assert source.member.endswith(card.file_name)
            assert source.filename in source.label
        else:
            assert isinstance(source, UrlSource)
            assert source.url.startswith("https://")
            assert source.label == source.url


def test_no_two_cards_share_weights_but_with_their_base():
    hashes = [card.sha256 for card in load_cards().values() if card.base is None]
    assert len(set(hashes)) == len(hashes)


def test_the_sam2_cards_name_configurations_of_the_package():
    sam2 = pytest.importorskip("sam2")
    folder = Path(sam2.__file__).parent
    configurations = [card.variant["config"] for card in load_cards().values() if card.architecture == "sam2"]
    assert len(configurations) == 5
    assert all((folder / name).is_file() for name in configurations)


def test_normalisation_is_in_grey_levels():
    cards = load_cards()
    assert cards["lite-medsam"].normalisation == Normalisation("unit")
    assert cards["medsam-vit-b"].normalisation == Normalisation("min-max")
    for name in ("mobile-sam", "sam-vit-h", "sam2.1-hiera-l", "medsam2"):
        assert cards[name].normalisation == Normalisation(
            "standard", (123.675, 116.28, 103.53), (58.395, 57.12, 57.375)
        )


def test_an_unknown_model(sentence):
    with sentence(ModelError, "'sam9'", "lite-medsam", "medsam2"):
        get_card("sam9")


def test_a_card_says_what_it_was_given(make_card, tmp_path):
    card = read_card(
        make_card(
            sources=[
                {
                    "kind": "package",
                    "distribution": "d",
                    "version": "1",
                    "filename": "d-1.whl",
                    "archive_sha256": "a" * 64,
                    "member": "d/w.pt",
                },
                {"kind": "url", "url": "https://example.org/w.pt"},
                {"kind": "file", "path": "w.pt"},
            ],
            licence={"spdx": "MIT", "url": "https://example.org/LICENSE", "terms": "Be kind."},
            notes="A note.",
        )
    )
    assert card.sources == (
        PackageSource("d", "1", "d-1.whl", "a" * 64, "d/w.pt"),
        UrlSource("https://example.org/w.pt"),
        FileSource(tmp_path / "w.pt"),
    )
    assert card.sources[2].label == str(tmp_path / "w.pt")
    assert (card.licence.terms, card.notes) == ("Be kind.", "A note.")
    assert card.path == tmp_path / "example.yaml"


def test_optional_keys_may_be_left_out(make_card):
    card = read_card(make_card(notes=...))
    assert (card.notes, card.licence.terms) == ("", "")


REQUIRED = (
    "name",
    "title",
    "architecture",
    "variant",
    "input_size",
    "resize",
    "normalisation",
    "capabilities",
    "file_name",
    "sha256",
    "size_bytes",
    "sources",
    "licence",
    "trained_on",
    "citation",
    "run_here",
)


@pytest.mark.parametrize("key", REQUIRED)
def test_a_missing_key_is_refused(make_card, sentence, key):
    with sentence(ModelError, "example.yaml", f"'{key}'", "missing"):
        read_card(make_card(**{key: ...}))


@pytest.mark.parametrize(
    ("changes", "where"),
    [
        ({"colour": "blue"}, "'colour'"),
        ({"licence": {"spdx": "MIT", "url": "https://x", "name": "y"}}, "'licence.name'"),
        ({"normalisation": {"kind": "unit", "mean": [1, 2, 3]}}, "'normalisation.mean'"),
        ({"sources": [{"kind": "url", "url": "https://x", "sha": "y"}]}, "'sources[0].sha'"),
        ({"name": "other"}, "'name'"),
        ({"name": "Example"}, "'name'"),
        ({"title": ""}, "'title'"),
        ({"title": 5}, "'title'"),
        ({"architecture": "resnet"}, "'architecture'"),
        ({"variant": "vit_b"}, "'variant'"),
        ({"input_size": 0}, "'input_size'"),
        ({"input_size": "1024"}, "'input_size'"),
        ({"input_size": True}, "'input_size'"),
        ({"resize": "crop"}, "'resize'"),
        ({"normalisation": {"kind": "zscore"}}, "'normalisation.kind'"),
        ({"normalisation": {"kind": "standard", "mean": [0.5, 0.5], "std": [1, 1, 1]}}, "'normalisation.mean'"),
        ({"normalisation": {"kind": "standard", "mean": [1, 1, 1], "std": [0, 1, 1]}}, "'normalisation.std'"),
        ({"capabilities": {"points": "yes"}}, "'capabilities.points'"),
        ({"capabilities": {"points": True}}, "'capabilities.boxes'"),
        ({"file_name": "../../evil.pt"}, "'file_name'"),
        ({"file_name": ".hidden"}, "'file_name'"),
        ({"sha256": "abc"}, "'sha256'"),
        ({"sha256": "A" * 64}, "'sha256'"),
        ({"sha256": None, "run_here": True}, "'sha256'"),
        ({"size_bytes": -1}, "'size_bytes'"),
        ({"sources": []}, "'sources'"),
        ({"sources": "https://x"}, "'sources'"),
        ({"sources": ["https://x"]}, "'sources[0].'"),
        ({"sources": [{"kind": "torrent"}]}, "'sources[0].kind'"),
        ({"sources": [{"kind": "url", "url": "ftp://x"}]}, "'sources[0].url'"),
        ({"run_here": "no"}, "'run_here'"),
    ],
)
def test_a_wrong_value_is_refused_by_name(make_card, sentence, changes, where):
    with sentence(ModelError, "example.yaml", where):
        read_card(make_card(**changes))


@pytest.mark.parametrize("text", ["- a list", "", "key: [unclosed", "text"])
def test_a_file_that_is_no_card(tmp_path, sentence, text):
    path = tmp_path / "example.yaml"
    path.write_text(text)
    with sentence(ModelError, str(path)):
        read_card(path)


def test_a_card_that_is_not_text(tmp_path, sentence):
    path = tmp_path / "example.yaml"
    path.write_bytes(b"\xff\xfe\x00")
    with sentence(ModelError, str(path)):
        read_card(path)


def test_cards_hold_no_objects(tmp_path, sentence):
    path = tmp_path / "example.yaml"
    path.write_text("!!python/object/apply:os.system ['false']")
    with sentence(ModelError, str(path)):
        read_card(path)


def test_a_folder_of_cards(make_card, tmp_path):
    make_card()
    assert list(load_cards(tmp_path)) == ["example"]
    assert get_card("example", tmp_path).title == "Example"


def test_the_packaged_cards_come_before_those_beside_the_package(tmp_path, monkeypatch, make_card, sentence):
    package = tmp_path / "site-packages" / "AutoPromptSAMLib"
    (package / "zoo").mkdir(parents=True)
    monkeypatch.setattr(module, "__file__", str(package / "zoo" / "card.py"))
    with sentence(ModelError, "No model cards"):
        load_cards()
    for folder in (package.parent / "models", package / "models"):
        folder.mkdir()
        make_card().rename(folder / "example.yaml")
        assert module.cards_folder() == folder


def test_importing_the_zoo_is_cheap():
    code = "import sys, AutoPromptSAMLib.zoo; print(*sorted({'torch', 'numpy', 'pydantic', 'bs4'} & set(sys.modules)))"
    root = Path(__file__).resolve().parents[2]
    done = subprocess.run([sys.executable, "-c", code], cwd=root, capture_output=True, text=True, check=True)
    assert done.stdout.strip() == ""


ADAPTED = {
    "name": "adapted",
    "title": "Example, adapted",
    "base": "example",
    "adapter": {"file_name": "adapted.safetensors", "sha256": "1" * 64},
    "temperature": 1.5,
    "capabilities": {"points": True, "boxes": True, "masks": False, "multimask": False, "memory": False},
    "licence": {"spdx": "Apache-2.0", "url": "https://example.invalid/adapter"},
    "trained_on": "little",
    "citation": "somebody",
    "run_here": True,
}


@pytest.fixture
def make_adapted(make_card, tmp_path):
    def make(**changes):
        make_card()
        path = tmp_path / "adapted.yaml"
        path.write_text(yaml.safe_dump({k: v for k, v in {**ADAPTED, **changes}.items() if v is not ...}))
        return path

    return make


def test_a_card_with_an_adapter_takes_the_rest_from_its_base(make_adapted, tmp_path, monkeypatch):
    monkeypatch.setenv("AUTOPROMPTSAM_HOME", str(tmp_path / "home"))
    card, base = read_card(make_adapted()), read_card(tmp_path / "example.yaml")
    assert (card.name, card.base, card.capabilities.masks) == ("adapted", "example", False)
    assert card.adapter is not None
    assert card.adapter.path == tmp_path / "adapted.safetensors"
    assert (card.temperature, base.temperature) == (1.5, 1.0)
    assert (card.sha256, card.input_size, card.sources) == (base.sha256, base.input_size, base.sources)
    assert weights_path(card) == weights_path(base)
    with pytest.raises(ModelError, match="uses the weights of example"):
        remove(card)


@pytest.mark.parametrize(
    ("changes", "said"),
    [
        ({"base": "nobody"}, "cannot be read"),
        ({"base": "adapted"}, "have this one as their base"),
        ({"adapter": ...}, "'adapter'"),
        ({"adapter": {"file_name": "../x", "sha256": "1" * 64}}, "'adapter.file_name'"),
        ({"adapter": {"file_name": "x.safetensors", "sha256": "one"}}, "'adapter.sha256'"),
        ({"temperature": 0}, "'temperature'"),
        ({"temperature": True}, "'temperature'"),
        ({"resize": "stretch"}, "'resize'"),
    ],
)
def test_a_card_with_a_wrong_adapter_is_refused(make_adapted, changes, said):
    with pytest.raises(ModelError, match=said):
        read_card(make_adapted(**changes))
