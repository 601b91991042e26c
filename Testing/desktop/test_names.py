"""Every class, property, signal and slot that the module names is one that Slicer, CTK or Qt has."""

from __future__ import annotations

from pathlib import Path

import pytest

from .double.check_names import unknown_names

MODULE = Path(__file__).parents[2] / "AutoPromptSAM"
UI, PYTHON = sorted(MODULE.glob("Resources/UI/*.ui")), sorted(MODULE.glob("**/*.py"))


def test_all_names_exist() -> None:
    assert len(UI) >= 10
    assert unknown_names(UI, PYTHON) == []


@pytest.mark.parametrize(
    ("right", "wrong"),
    [
        ('class="ctkRangeWidget"', 'class="ctkRangWidget"'),
        ('name="noneEnabled"', 'name="noneAllowed"'),
        ("setMRMLScene(vtkMRMLScene*)", "setScene(vtkMRMLScene*)"),
        ("mrmlSceneChanged(vtkMRMLScene*)", "sceneChanged(vtkMRMLScene*)"),
    ],
)
def test_a_typo_in_a_ui_file_is_found(tmp_path: Path, right: str, wrong: str) -> None:
    source = next(path for path in UI if right in path.read_text(encoding="utf-8"))
    typo = tmp_path / source.name
    typo.write_text(source.read_text(encoding="utf-8").replace(right, wrong), encoding="utf-8")
    assert unknown_names([typo], []) != []


def test_a_typo_in_a_signal_of_a_python_file_is_found(tmp_path: Path) -> None:
    typo = tmp_path / "panel.py"
    typo.write_text('def wire(ui, f):\n    ui.rangeSlider.connect("valueChanged(double,double)", f)\n')
    assert unknown_names([], [typo]) != []
