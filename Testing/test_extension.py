"""The Slicer extension: what is packaged, and a module file that costs nothing to load."""

from __future__ import annotations

import json
import re
import shutil
import subprocess
import sys
from pathlib import Path

import pytest
from PIL import Image

ROOT = Path(__file__).parents[1]
CMAKE = ROOT / "AutoPromptSAM" / "CMakeLists.txt"

# The least of Slicer that a module file needs in order to be loaded and listed.
STAND_INS = """
import sys, types
def module(name, **members):
    sys.modules[name] = types.ModuleType(name)
    vars(sys.modules[name]).update(members)
class Loadable:
    def __init__(self, parent=None): self.parent = parent
connected = []
module("slicer", app=types.SimpleNamespace(connect=lambda signal, slot: connected.append(signal)))
module("slicer.i18n", tr=lambda text: text, translate=lambda context, text: text)
module("slicer.util", VTKObservationMixin=type("VTKObservationMixin", (), {}))
kinds = ("", "Widget", "Logic", "Test")
module("slicer.ScriptedLoadableModule",
       **{f"ScriptedLoadableModule{kind}": type(kind, (Loadable,), {}) for kind in kinds})
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
macro(slicer_add_python_unittest)
  cmake_parse_arguments(MY "" "SCRIPT;TESTNAME_PREFIX" "SLICER_ARGS" ${ARGN})
  if(NOT EXISTS ${CMAKE_CURRENT_SOURCE_DIR}/${MY_SCRIPT})
    message(FATAL_ERROR "There is no test ${MY_SCRIPT}")
  endif()
  file(APPEND ${CMAKE_BINARY_DIR}/tests.txt "${MY_SCRIPT}\n")
endmacro()
"""


def listed(variable: str) -> list[str]:
    """The entries of ``set(variable ...)`` in the module's CMakeLists.txt."""
    found = re.search(rf"^set\({variable}\s+(.*?)\)", CMAKE.read_text(), re.DOTALL | re.MULTILINE)
    assert found, f"{CMAKE} sets no {variable}"
    return found[1].split()


def present(folder: Path, *suffixes: str, base: Path = ROOT) -> list[str]:
    """Files of a folder, relative to ``base``; the browser host is no part of the application, a host itself."""
    found = (path for path in folder.rglob("*") if path.is_file() and "__pycache__" not in path.parts)
    files = [path for path in found if path.suffix in suffixes or not suffixes]
    hosts = [ROOT / "AutoPromptSAMLib" / name for name in ("web", "server")]  # they run outside of Slicer
    return sorted(path.relative_to(base).as_posix() for path in files if not any(map(path.is_relative_to, hosts)))


# Variable of the module's CMakeLists.txt, and the files on disk that it has to list.
MODULE = CMAKE.parent
LISTS = {
    "DESKTOP_SCRIPTS": lambda: present(MODULE / "AutoPromptSAMDesktop", ".py", base=MODULE),
    "RESOURCE_FILES": lambda: present(MODULE / "Resources", base=MODULE),
    "LIBRARY_SCRIPTS": lambda: present(ROOT / "AutoPromptSAMLib", ".py"),
    "MODEL_FILES": lambda: present(ROOT / "models", ".yaml", ".safetensors", ".md"),
}


def run(program: str) -> str:
    done = subprocess.run([sys.executable, "-c", program], capture_output=True, text=True, timeout=60)
    assert done.returncode == 0, done.stderr
    return done.stdout.strip()


def configure_and_install(source: Path, folder: Path) -> tuple[Path, Path]:
    """Configure and install the extension at ``source``; returns the build folder and that of installed modules."""
    cmake = shutil.which("cmake")
    if cmake is None:
        pytest.skip("no cmake here")
    config = folder / "slicer"
    config.mkdir()
    (config / "SlicerConfig.cmake").write_text(SLICER_CONFIG)
    (config / "use.cmake").write_text(SLICER_MACROS)
    (config / "nothing.cmake").write_text("")
    build, installed = folder / "build", folder / "installed"
    for step in (
        [
            "-S",
            source,
            "-B",
            build,
            f"-DSlicer_DIR={config}",
            f"-DCMAKE_INSTALL_PREFIX={installed}",
            "-DBUILD_TESTING=ON",
        ],
        ["--install", build, "--component", "RuntimeLibraries"],
    ):
        done = subprocess.run([cmake, *map(str, step)], capture_output=True, text=True, timeout=120)
        if "CMAKE_CXX_COMPILER" in done.stderr:
            pytest.skip("no compiler here, which cmake asks for")
        assert done.returncode == 0, done.stderr
    return build, installed / "lib" / "modules"


@pytest.fixture(scope="module")
def built(tmp_path_factory) -> tuple[Path, Path]:
    return configure_and_install(ROOT, tmp_path_factory.mktemp("extension"))


@pytest.mark.parametrize("variable", LISTS)
def test_every_file_is_listed(variable):
    entries, files = listed(variable), LISTS[variable]()
    missing, extra = sorted(set(files) - set(entries)), sorted(set(entries) - set(files))
    assert files
    assert not missing, f"add to {variable} in {CMAKE}: {' '.join(missing)}"
    assert not extra, f"remove from {variable} in {CMAKE}: {' '.join(extra)}"
    assert entries == files, f"sort {variable} in {CMAKE}"


def test_installed_are_exactly_the_files_on_disk(built):
    _, modules = built
    cards = {f"AutoPromptSAMLib/{file}" for file in LISTS["MODEL_FILES"]()}
    sources = {file for variable, files in LISTS.items() if variable != "MODEL_FILES" for file in files()}
    assert set(present(modules, base=modules)) == {"AutoPromptSAM.py"} | sources | cards


@pytest.mark.parametrize("listed_file", ["AutoPromptSAMDesktop/nowhere.py", "Resources/UI/Nowhere.ui"])
def test_a_line_for_a_file_that_is_not_there_does_not_configure(tmp_path, listed_file):
    source = tmp_path / "source"
    for file in ("CMakeLists.txt", *present(MODULE), *LISTS["LIBRARY_SCRIPTS"](), *LISTS["MODEL_FILES"]()):
        (source / file).parent.mkdir(parents=True, exist_ok=True)
        (source / file).symlink_to(ROOT / file)
    copy = source / "AutoPromptSAM" / "CMakeLists.txt"
    text = copy.read_text()
    copy.unlink()
    variable = "DESKTOP_SCRIPTS" if listed_file.endswith(".py") else "RESOURCE_FILES"
    copy.write_text(text.replace(f"set({variable}\n", f"set({variable}\n  {listed_file}\n"))
    with pytest.raises(AssertionError, match=Path(listed_file).name):
        configure_and_install(source, tmp_path)


def test_installed_library_is_beside_the_module_and_finds_its_cards(built):
    _, modules = built
    names = run(
        f"import sys; sys.path.insert(0, {str(modules)!r})\n"
        "import AutoPromptSAMLib; from AutoPromptSAMLib.zoo.card import load_cards\n"
        f"assert AutoPromptSAMLib.__file__.startswith({str(modules)!r})\nprint(*sorted(load_cards()))"
    )
    assert names.split() == sorted(Path(file).stem for file in present(ROOT / "models", ".yaml"))


def test_slicers_own_build_runs_the_modules_tests(built):
    build, _ = built
    scripts = present(MODULE / "Testing" / "Python", ".py", base=MODULE / "Testing" / "Python")
    assert sorted((build / "tests.txt").read_text().split()) == scripts


def test_index_entry_is_as_its_schema_wants_it():
    entry = json.loads((ROOT / "AutoPromptSAM.json").read_text())
    # Version 1.0.1 of the schema of Slicer's extensions index: these three are required, and others are refused.
    required, optional = (
        {"$schema", "category", "scm_url"},
        {"scm_revision", "scm_type", "build_dependencies", "build_subdirectory", "enabled", "tier"},
    )
    assert required <= set(entry) <= required | optional
    assert entry["$schema"].endswith("/slicer-extension-catalog-entry-schema-v1.0.1.json#")
    assert entry["scm_type"] == "git"
    assert entry["scm_url"].startswith("https://")
    assert entry["enabled"] is True
    assert entry["tier"] in (1, 3, 5)


def test_index_entry_and_metadata_say_the_same():
    entry, metadata = json.loads((ROOT / "AutoPromptSAM.json").read_text()), (ROOT / "CMakeLists.txt").read_text()
    assert entry["build_dependencies"] == re.findall(r'set\(EXTENSION_DEPENDS "(.*)"\)', metadata)
    assert [entry["scm_url"].removesuffix(".git")] == re.findall(r'set\(EXTENSION_HOMEPAGE "(.*)"\)', metadata)
    assert entry["category"] in (MODULE / "AutoPromptSAM.py").read_text()


def test_a_clone_stays_small():
    # The index asks for 100 MB with all history; what is not committed is not cloned.
    git = shutil.which("git")
    if git is None or not (ROOT / ".git").exists():
        pytest.skip("no git repository here")
    files = subprocess.run([git, "ls-files", "-z"], cwd=ROOT, capture_output=True, text=True, check=True).stdout
    tree = sum((ROOT / name).stat().st_size for name in files.split("\0") if name and (ROOT / name).is_file())
    history = sum(path.stat().st_size for path in (ROOT / ".git").rglob("*") if path.is_file())
    assert (tree + history) / 1e6 < 100


def test_module_file_loads_and_is_listed_without_the_library_or_anything_heavy():
    folder = str(MODULE)
    loaded = run(
        f"{STAND_INS}\nsys.path.insert(0, {folder!r})\nbefore = set(sys.modules)\nimport AutoPromptSAM\n"
        "AutoPromptSAM.AutoPromptSAM(types.SimpleNamespace())\nprint(*sorted(set(sys.modules) - before))"
    )
    assert set(loaded.split()) <= {"AutoPromptSAM", "__future__"}
    assert "AutoPromptSAM" in loaded.split()


def test_module_of_a_clone_finds_the_library_beside_it(built):
    _, modules = built
    for folder, finds in ((MODULE, True), (modules, False)):
        path = run(
            f"{STAND_INS}\nsys.path[:] = [{str(folder)!r}, *(p for p in sys.path if p != {str(ROOT)!r})]\n"
            "before = list(sys.path)\nimport AutoPromptSAM\nprint(*sys.path[len(before):])"
        )
        assert path == (str(ROOT) if finds else "")


def test_module_says_what_it_is_and_where_its_tutorial_is():
    folder = str(MODULE)
    shown = run(
        f"{STAND_INS}\nsys.path.insert(0, {folder!r})\nimport AutoPromptSAM\n"
        "parent = types.SimpleNamespace()\nAutoPromptSAM.AutoPromptSAM(parent)\n"
        "print(parent.title, parent.categories, parent.helpText)"
    )
    assert "AutoPromptSAM ['Segmentation']" in shown
    assert "docs/tutorial.md" in shown


def test_icon_is_one_picture_of_128_pixels():
    icon = ROOT / "Resources" / "AutoPromptSAM.png"
    with Image.open(icon) as image:
        assert (image.size, image.mode) == ((128, 128), "RGBA")
    assert (ROOT / "AutoPromptSAM" / "Resources" / "Icons" / "AutoPromptSAM.png").read_bytes() == icon.read_bytes()
    metadata = (ROOT / "CMakeLists.txt").read_text()
    assert re.search(r'set\(EXTENSION_ICONURL "https://[^"]+/Resources/AutoPromptSAM.png"\)', metadata)
