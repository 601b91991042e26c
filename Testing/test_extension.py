"""The Slicer extension: what is packaged, and a module file that costs nothing to load."""

from __future__ import annotations

import re
import shutil
import subprocess
import sys
from pathlib import Path

import pytest
from PIL import Image

ROOT = Path(__file__).parents[1]
CMAKE = ROOT / "AutoPromptSAM" / "CMakeLists.txt"

# The least of Slicer that a module file needs in order to be loaded and opened.
STAND_INS = """
import sys, types
def module(name, **members):
    sys.modules[name] = types.ModuleType(name)
    vars(sys.modules[name]).update(members)
class Loadable:
    def __init__(self, parent): self.parent = parent
class Layout:
    def __init__(self): self.widgets = []
    def addWidget(self, widget): self.widgets.append(widget)
    def addStretch(self, stretch): pass
class Widget:
    def __init__(self, parent=None): self.layout = Layout()
    def setup(self): pass
class Label:
    def __init__(self, text): self.text = text
module("slicer")
module("slicer.i18n", tr=lambda text: text, translate=lambda context, text: text)
module("slicer.ScriptedLoadableModule", ScriptedLoadableModule=Loadable, ScriptedLoadableModuleWidget=Widget)
"""

# Slicer's macros as far as they place files: a script with an absolute path goes where it is relative to the binary
# folder (ctkMacroCompilePythonScript), any other where it is relative to the source folder.
SLICER_CONFIG = """
set(Slicer_USE_FILE ${CMAKE_CURRENT_LIST_DIR}/use.cmake)
set(Slicer_EXTENSION_GENERATE_CONFIG ${CMAKE_CURRENT_LIST_DIR}/nothing.cmake)
set(Slicer_EXTENSION_CPACK ${CMAKE_CURRENT_LIST_DIR}/nothing.cmake)
set(Slicer_QTSCRIPTEDMODULES_LIB_DIR lib/modules)
set(Slicer_INSTALL_QTSCRIPTEDMODULES_LIB_DIR lib/modules)
"""
SLICER_MACROS = """
macro(slicerMacroBuildScriptedModule)
  cmake_parse_arguments(MY "WITH_GENERIC_TESTS" "NAME" "SCRIPTS;RESOURCES" ${ARGN})
  foreach(file ${MY_SCRIPTS} ${MY_RESOURCES})
    set(source ${CMAKE_CURRENT_SOURCE_DIR}/${file})
    set(target ${file})
    if(IS_ABSOLUTE ${file})
      set(source ${file})
      file(RELATIVE_PATH target ${CMAKE_CURRENT_BINARY_DIR} ${file})
    endif()
    configure_file(${source} ${CMAKE_BINARY_DIR}/${Slicer_QTSCRIPTEDMODULES_LIB_DIR}/${target} COPYONLY)
  endforeach()
  install(DIRECTORY ${CMAKE_BINARY_DIR}/${Slicer_QTSCRIPTEDMODULES_LIB_DIR}/
    DESTINATION ${Slicer_INSTALL_QTSCRIPTEDMODULES_LIB_DIR} COMPONENT RuntimeLibraries)
endmacro()
"""


def listed(variable: str) -> list[str]:
    """The entries of ``set(variable ...)`` in the module's CMakeLists.txt."""
    found = re.search(rf"^set\({variable}\s+(.*?)\)", CMAKE.read_text(), re.DOTALL | re.MULTILINE)
    assert found, f"{CMAKE} sets no {variable}"
    return found[1].split()


def present(folder: str, *suffixes: str) -> list[str]:
    """Files of a folder; the browser host is no part of the application, which is a host itself."""
    files = [path.relative_to(ROOT) for path in (ROOT / folder).rglob("*") if path.suffix in suffixes]
    return sorted(path.as_posix() for path in files if not path.is_relative_to("AutoPromptSAMLib/web"))


def run(program: str) -> str:
    done = subprocess.run([sys.executable, "-c", program], capture_output=True, text=True, timeout=60)
    assert done.returncode == 0, done.stderr
    return done.stdout.strip()


@pytest.mark.parametrize(
    ("variable", "folder", "suffixes"),
    [("LIBRARY_SCRIPTS", "AutoPromptSAMLib", (".py",)), ("MODEL_FILES", "models", (".yaml", ".safetensors", ".md"))],
)
def test_every_file_is_packaged(variable, folder, suffixes):
    entries, files = listed(variable), present(folder, *suffixes)
    missing, extra = sorted(set(files) - set(entries)), sorted(set(entries) - set(files))
    assert not missing, f"add to {variable} in {CMAKE}: {' '.join(missing)}"
    assert not extra, f"remove from {variable} in {CMAKE}: {' '.join(extra)}"
    assert entries == files, f"sort {variable} in {CMAKE}"


def test_installed_extension_has_the_library_beside_the_module_and_finds_its_cards(tmp_path):
    cmake = shutil.which("cmake")
    if cmake is None:
        pytest.skip("no cmake here")
    config = tmp_path / "slicer"
    config.mkdir()
    (config / "SlicerConfig.cmake").write_text(SLICER_CONFIG)
    (config / "use.cmake").write_text(SLICER_MACROS)
    (config / "nothing.cmake").write_text("")
    build, installed = tmp_path / "build", tmp_path / "installed"
    for step in (
        ["-S", ROOT, "-B", build, f"-DSlicer_DIR={config}", f"-DCMAKE_INSTALL_PREFIX={installed}"],
        ["--install", build, "--component", "RuntimeLibraries"],
    ):
        done = subprocess.run([cmake, *map(str, step)], capture_output=True, text=True, timeout=120)
        if "CMAKE_CXX_COMPILER" in done.stderr:
            pytest.skip("no compiler here, which cmake asks for")
        assert done.returncode == 0, done.stderr
    modules = installed / "lib" / "modules"
    assert (modules / "AutoPromptSAM.py").is_file()
    assert (modules / "Resources" / "Icons" / "AutoPromptSAM.png").is_file()
    names = run(
        f"import sys; sys.path.insert(0, {str(modules)!r})\n"
        "import AutoPromptSAMLib; from AutoPromptSAMLib.zoo.card import load_cards\n"
        f"assert AutoPromptSAMLib.__file__.startswith({str(modules)!r})\nprint(*sorted(load_cards()))"
    )
    assert names.split() == sorted(Path(file).stem for file in present("models", ".yaml"))


def test_module_file_loads_without_importing_the_library_or_anything_heavy():
    folder = str(ROOT / "AutoPromptSAM")
    loaded = run(
        f"{STAND_INS}\nsys.path.insert(0, {folder!r})\nbefore = set(sys.modules)\nimport AutoPromptSAM\n"
        "print(*sorted(set(sys.modules) - before))"
    )
    assert set(loaded.split()) <= {"AutoPromptSAM", "__future__"}
    assert "AutoPromptSAM" in loaded.split()


def test_module_says_what_it_is_and_how_to_use_it():
    folder = str(ROOT / "AutoPromptSAM")
    shown = run(
        f"{STAND_INS}\nsys.path.insert(0, {folder!r})\nimport AutoPromptSAM\n"
        "parent = types.SimpleNamespace()\nAutoPromptSAM.AutoPromptSAM(parent)\n"
        "module('qt', QLabel=Label)\n"
        "widget = AutoPromptSAM.AutoPromptSAMWidget()\nwidget.setup()\n"
        "print(parent.title, parent.categories, parent.helpText, *(w.text for w in widget.layout.widgets))"
    )
    assert "AutoPromptSAM ['Segmentation']" in shown
    assert "autopromptsam doctor" in shown


def test_icon_is_one_picture_of_128_pixels():
    icon = ROOT / "Resources" / "AutoPromptSAM.png"
    with Image.open(icon) as image:
        assert (image.size, image.mode) == ((128, 128), "RGBA")
    assert (ROOT / "AutoPromptSAM" / "Resources" / "Icons" / "AutoPromptSAM.png").read_bytes() == icon.read_bytes()
    metadata = (ROOT / "CMakeLists.txt").read_text()
    assert re.search(r'set\(EXTENSION_ICONURL "https://[^"]+/Resources/AutoPromptSAM.png"\)', metadata)
