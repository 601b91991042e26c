"""The names that the page and the server share, and what they are before anything is open."""

from __future__ import annotations

from typing import Any

TOOL = "tool"
INITIAL: dict[str, Any] = {
    # The image
    "has_image": False,
    "one_slice": False,
    "image_name": "",
    "image_about": "",
    "opening": "",  # what is being opened, in words; "" when nothing is
    "windows": [],
    "window": "auto",
    "open_open": False,
    "series": [],
    "unclear": "",  # the name of a file that may be an image or a label map
    "folder": {"path": "", "parent": None, "folders": [], "files": [], "dicom": False},
    "unfinished": [],
    "export_open": False,
    "exporting": "",
    # Views
    "layout": "four-up",
    "oblique": False,  # whether the slices can be turned
    "cursor": None,
    # Tools
    TOOL: "navigate",
    "tools_ready": False,
    "brush_mm": 8,
    "brush_sphere": False,
    "scissors_mode": "ERASE_INSIDE",
    "islands_mode": "KEEP_LARGEST_ISLAND",
    "islands_minimum": 1000,
    "smoothing_mode": "MEDIAN",
    "smoothing_mm": 3,
    "undo_text": "",
    "redo_text": "",
    # Segments and prompts
    "segments": [],
    "active_segment": "",
    "renaming": "",  # the segment whose name is a field now; each page has its own
    "opacity": 50,
    "surface_shown": False,
    "overwrite_mode": 2,  # vtkMRMLSegmentEditorNode.OverwriteNone: what is there is never lost unasked
    "editable_area": 0,
    "prompts": [],
    # Propagation
    "propagate_view": "axial",
    "propagate_first": 0,
    "propagate_last": 0,
    "propagate_count": 1,
    "propagate_about": "",
    "propagate_weak": [],
    # Examples: sets of annotated images
    "guide": "prompts",  # what goes through the volume: "prompts", "examples" or "review"
    "examples_open": False,
    "examples_sets": [],
    "examples_set": "",  # the id of the chosen one
    "examples_pairs": [],
    "examples_objects": [],
    "examples_off": [],  # names of objects that are not looked for
    "examples_busy": "",
    "examples_form": "",  # "scene" or "files": where new examples come from
    "examples_new": False,  # whether they begin a set of their own
    "examples_name": "",
    "examples_from": [],  # ids of segments
    "examples_slices": "spread",
    "examples_files": {"image": "", "mask": ""},
    "examples_file_objects": "",
    "examples_removed": "",
    "examples_confirm": False,
    "examples_ran": False,
    "examples_unsure": None,
    "examples_vouched": 0,
    "examples_accepted": [],  # slices
    "examples_minutes": 15,
    "examples_learning": None,
    # Review: where the model is unsure of the active segment
    "review_ran": False,
    "review_about": "",
    "review_rows": [],  # the least sure slices
    "review_corrected": [],  # slices that were not carried to their neighbours yet
    "review_changed": 0,
    "review_carry": True,
    "review_overlay": True,
    "review_opacity": 60,
    "review_surface": False,
    "review_suggest": True,  # whether suggestions are drawn
    "review_suggested": "",  # what is suggested for the shown slice, in words
    "review_steps": None,
    "review_exporting": "",
    # What is going on
    "phase": "empty",
    "status": "Open an image to start.",
    "done": 0,
    "total": 0,
    "toasts": [],
    # Models
    "model": "",
    "model_title": "",
    "model_about": "Nothing is downloaded without your click. LiteMedSAM is small and a good start.",
    "models": [],
    "models_open": False,
    "models_accepted": [],  # whose licence was accepted
    "model_fetching": "",
    "model_fetched": 0,
    # Help
    "help_open": False,
    "hint_step": 0,
}
