"""Slicer's list of anatomy: names to choose from, and the codes that go with them."""

from __future__ import annotations

from typing import Any

import slicer

ANATOMY = "Segmentation category and type - 3D Slicer General Anatomy list"
REGIONS = "Anatomic codes - DICOM master list"


def anatomy_terms(logic: slicer.vtkSlicerTerminologiesModuleLogic) -> dict[str, str]:
    """The terminology entry of each name in the list, as segments keep it (``vtkSegment.SetTerminology``)."""
    category, kind = slicer.vtkSlicerTerminologyCategory(), slicer.vtkSlicerTerminologyType()
    terms: dict[str, str] = {}
    for number in range(logic.GetNumberOfCategoriesInTerminology(ANATOMY)):
        logic.GetNthCategoryInTerminology(ANATOMY, number, category)
        for entry in range(logic.GetNumberOfTypesInTerminologyCategory(ANATOMY, category)):
            logic.GetNthTypeInTerminologyCategory(ANATOMY, category, entry, kind)
            coded = f"{ANATOMY}~{_code(category)}~{_code(kind)}~^^~{REGIONS}~^^~^^"
            terms.setdefault(str(kind.GetCodeMeaning()), coded)
    return dict(sorted(terms.items()))


def _code(entry: Any) -> str:
    return f"{entry.GetCodingSchemeDesignator()}^{entry.GetCodeValue()}^{entry.GetCodeMeaning()}"
