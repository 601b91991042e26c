"""What is said of packages that do not import."""

from __future__ import annotations

import pytest

from AutoPromptSAMLib import doctor
from AutoPromptSAMLib.backbones import engines


@pytest.mark.parametrize(
    ("error", "found"),
    [
        (ImportError(), "does not import: ImportError"),
        (OSError("libfoo.so: cannot open\nmore"), "does not import: libfoo.so: cannot open"),
        (ModuleNotFoundError("No module", name="timm"), "not installed"),
    ],
)
def test_an_import_that_fails_is_a_finding(monkeypatch: pytest.MonkeyPatch, error: Exception, found: str) -> None:
    def broken(*_: object) -> None:
        raise error

    monkeypatch.setattr(doctor, "import_module", broken)
    monkeypatch.setattr(engines, "import_openvino", broken)
    findings = {each.what: each for each in doctor.examine()}
    for name in ("timm", "openvino"):
        assert findings[name].found == found
        assert not findings[name].ok
