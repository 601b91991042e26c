"""The quality benchmark on datasets that the test makes: what it measures, that it goes on, that it is repeatable."""

from __future__ import annotations

import csv
import json
import os
import signal
import subprocess
import sys
import time
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest

from AutoPromptSAMLib import cli
from AutoPromptSAMLib.datasets import find_datasets
from AutoPromptSAMLib.errors import PromptError
from AutoPromptSAMLib.evaluation.errors import BenchError
from AutoPromptSAMLib.evaluation.quality.publish import publish
from AutoPromptSAMLib.evaluation.quality.records import CaseRow, unpack_mask
from AutoPromptSAMLib.evaluation.quality.runner import LoadBackbone, Outcome, Plan, make_settings, run

from ...threshold_backbone import ThresholdBackbone
from .bright_sets import COUNT, discs, load_slow, load_threshold, make_pictures, make_volumes

pytest.importorskip("monai", reason="the extra `bench` is not installed")

ROOT = Path(__file__).parents[2]
BOXES = ("box", "box-0.75")


@pytest.fixture(scope="module")
def data(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder of two datasets that nobody has seen before."""
    folder = tmp_path_factory.mktemp("data")
    make_pictures(folder / "a")
    make_volumes(folder / "b")
    return folder


MakePlan = Callable[..., Plan]


@pytest.fixture
def plan(data: Path, tmp_path: Path) -> MakePlan:
    """A plan on ``data`` with the network that is none; arguments as of ``make_settings``."""

    def make(
        prompts: tuple[str, ...] = ("box",), out: str = "out", load: LoadBackbone = load_threshold, **settings: object
    ) -> Plan:
        datasets = find_datasets(data)
        chosen = make_settings(datasets, ["lite-medsam"], prompts, **settings)  # type: ignore[arg-type]
        return Plan(chosen, tuple(datasets), tmp_path / out, load)

    return make


def figures(outcome: Outcome) -> list[CaseRow]:
    """The rows without what depends on the clock."""
    return [replace(row, seconds={}) for row in outcome.rows]


def overlap(a: np.ndarray, b: np.ndarray) -> float:
    return float(2 * (a & b).sum() / (a.sum() + b.sum()))


def test_a_tight_box_gives_the_dice_that_the_pictures_were_made_with(plan: MakePlan) -> None:
    outcome = run(plan())
    found = {(row.pair, row.object): row.metrics["dice"] for row in outcome.rows if row.dataset == "pictures"}
    wanted = {
        (f"image{number}", name): overlap(truth, bright)
        for number in range(COUNT)
        for name, (truth, bright) in discs(number).items()
    }
    assert found == pytest.approx(wanted, abs=1e-6)
    assert min(wanted.values()) < 0.8 < max(wanted.values())  # or the test would not tell right from wrong
    assert {row.unit for row in outcome.rows if row.dataset == "pictures"} == {"px"}
    assert {row.unit for row in outcome.rows if row.dataset == "volumes"} == {"mm"}


def test_the_kept_mask_is_what_was_scored(plan: MakePlan) -> None:
    row = next(row for row in run(plan()).rows if row.sample == "image0:left")
    assert row.mask is not None
    assert np.array_equal(unpack_mask(row.mask), discs(0)["left"][1])
    assert row.given["boxes"] == [[8, 16, 36, 44]]


def test_an_unusable_pair_is_listed_with_its_reason_and_stops_nothing(plan: MakePlan) -> None:
    outcome = run(plan())
    (entry,) = outcome.unusable
    assert (entry.dataset, entry.pair) == ("pictures", "odd")
    assert "9 x 9" in entry.reason
    assert len({row.pair for row in outcome.rows if row.dataset == "pictures"}) == COUNT


def test_what_a_model_does_not_take_is_listed_once(plan: MakePlan) -> None:
    outcome = run(plan(("box", "click"), methods=("plain",)))
    assert {row.prompt for row in outcome.rows} == {"box"}
    assert [entry.prompt for entry in outcome.unusable if entry.model] == ["click"]
    assert all("takes no points" in entry.reason for entry in outcome.unusable if entry.model)


def test_an_image_is_encoded_once_for_all_objects_prompts_and_methods(plan: MakePlan) -> None:
    made: list[ThresholdBackbone] = []

    def load(model: str, device: str) -> ThresholdBackbone:
        made.append(ThresholdBackbone())
        return made[0]

    run(plan(("box", "box-0.75", "click"), load=load, methods=("interactive", "plain"), objects=("left", "right")))
    (backbone,) = made
    assert backbone.encoded == COUNT


@pytest.mark.slow
def test_two_workers_find_what_one_finds(plan: MakePlan, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.syspath_prepend(str(ROOT))  # the workers load the network from the tests
    prompts = ("box-0.75", "clicks-3", "scribble", "volume-box")
    one = run(plan(prompts, out="one"))
    two = run(plan(prompts, out="two"), workers=2)
    assert figures(one) == figures(two)
    assert one.unusable == two.unusable
    assert {row.prompt for row in one.rows} == set(prompts)


def test_the_seed_decides_what_is_random(plan: MakePlan) -> None:
    def boxes(seed: int, out: str) -> list[object]:
        rows = run(plan(("box-0.5",), out=out, seed=seed, objects=("left",))).rows
        return [row.given["boxes"] for row in rows]

    assert boxes(1, "a") == boxes(1, "b")
    assert boxes(1, "c") != boxes(2, "d")


def test_a_limit_counts_images_and_takes_each_patient_before_a_second_image_of_one(plan: MakePlan) -> None:
    pictures = [row for row in run(plan(limit=3, seed=3)).rows if row.dataset == "pictures"]
    noted = {"odd"}  # three groups, of which the one that cannot be used is one
    assert {row.group for row in pictures} | noted == {"patient0", "patient1", "odd"}


def test_only_the_objects_that_were_asked_for(plan: MakePlan) -> None:
    assert {row.object for row in run(plan(objects=("right",))).rows} == {"right"}


PROGRAM = """
import sys
from pathlib import Path
sys.path.insert(0, {root!r})
from AutoPromptSAMLib.datasets import find_datasets
from AutoPromptSAMLib.evaluation.quality.runner import Plan, make_settings, run
from Testing.evaluation.quality.bright_sets import load_slow
datasets = find_datasets(Path({data!r}))
settings = make_settings(datasets, ["lite-medsam"], ("box", "click"))
run(Plan(settings, tuple(datasets), Path({out!r}), load_slow))
"""


def test_a_killed_run_goes_on_and_measures_nothing_twice(plan: MakePlan, data: Path, tmp_path: Path) -> None:
    out = tmp_path / "killed"
    program = PROGRAM.format(root=str(ROOT), data=str(data), out=str(out))
    process = subprocess.Popen([sys.executable, "-c", program])
    log = out / "cases.jsonl"
    deadline = time.monotonic() + 60
    while not (log.is_file() and log.read_text().count('{"case"') >= 3):
        assert process.poll() is None, "it ended before it could be killed"
        assert time.monotonic() < deadline
        time.sleep(0.02)
    process.send_signal(signal.SIGKILL)
    process.wait()
    lines = [json.loads(line) for line in log.read_text().splitlines()[1:]]
    before = {tuple(entry["case"][key] for key in ("sample", "prompt")): entry for entry in lines if "case" in entry}
    with open(log, "a", encoding="utf-8") as stream:
        stream.write('{"case": {"dataset": "pict')  # a line that the kill cut off
    fresh = run(plan(("box", "click"), out="fresh"))
    assert 3 <= len(before) < len(fresh.rows)
    going_on = run(plan(("box", "click"), out="killed"))
    assert figures(going_on) == figures(fresh)
    seconds = {(row.sample, row.prompt): row.seconds for row in going_on.rows}
    assert all(seconds[key] == entry["case"]["seconds"] for key, entry in before.items())


def test_ctrl_c_keeps_what_is_done(plan: MakePlan) -> None:
    def interrupt(done: int, total: int, text: str) -> None:
        if done == 2:
            raise KeyboardInterrupt

    stopped = run(plan(BOXES), on_progress=interrupt)
    assert not stopped.complete
    assert stopped.rows
    progress: list[int] = []
    rest = run(plan(BOXES), on_progress=lambda done, total, text: progress.append(done))
    assert rest.complete
    assert progress[0] in (1, 2)  # the unusable pair is tried again
    assert figures(rest) == figures(run(plan(BOXES, out="fresh")))


def test_other_settings_in_the_same_folder_are_refused(plan: MakePlan, one_sentence: Callable) -> None:
    run(plan(objects=("right",)))
    with one_sentence(BenchError, "seed", "--out"):
        run(plan(objects=("right",), seed=7))
    with one_sentence(BenchError, "prompts", "--out"):
        run(plan(("click",), objects=("right",)))


def test_a_folder_with_something_else_in_it_is_left_alone(plan: MakePlan, one_sentence: Callable) -> None:
    todo = plan()
    todo.folder.mkdir()
    (todo.folder / "cases.jsonl").write_text("my own notes\n")
    with one_sentence(BenchError, "--out"):
        run(todo)
    assert (todo.folder / "cases.jsonl").read_text() == "my own notes\n"


def test_unknown_names_are_refused_before_anything_is_done(plan: MakePlan) -> None:
    with pytest.raises(PromptError, match="scrabble"):
        plan(("scrabble",))
    with pytest.raises(BenchError, match="telepathy"):
        plan(methods=("telepathy",))


def test_volumes_are_propagated_and_corrected(plan: MakePlan) -> None:
    outcome = run(plan(("volume-box", "volume-user")))
    rows = {(row.pair, row.prompt): row for row in outcome.rows}
    assert set(rows) == {(f"image{n}", prompt) for n in (0, 1) for prompt in ("volume-box", "volume-user")}
    for number in (0, 1):
        box, user = rows[f"image{number}", "volume-box"], rows[f"image{number}", "volume-user"]
        # The rod is found whole, and the slice that the truth has more is not.
        slices = 7 + number
        assert box.metrics["dice"] == pytest.approx(2 * slices / (2 * slices + 1), abs=0.02)
        assert user.trace[0] == pytest.approx(box.metrics["dice"])
        assert box.view == [0, 1]
        assert user.metrics["dice"] >= box.metrics["dice"]
        assert len(user.trace) > 1


def test_results_report_and_csv_agree_with_the_cases(plan: MakePlan) -> None:
    todo = plan(("box", "user-box"))
    outcome = run(todo)
    publish(todo, outcome, "autopromptsam bench quality ...")
    with open(todo.folder / "cases.csv", encoding="utf-8", newline="") as stream:
        lines = list(csv.DictReader(stream))
    assert len(lines) == len(outcome.rows)
    results = json.loads((todo.folder / "results.json").read_text())
    report = (todo.folder / "report.md").read_text()
    assert results["schema"] == "autopromptsam-quality/1"
    assert results["complete"] is True
    assert len(results["settings"]["models"]["lite-medsam"]) == 64
    assert results["environment"]["machine"]["cores"] >= 1
    assert {"torch", "monai"} <= set(results["environment"]["versions"])
    assert len(results["records"]) == 6  # three objects, two prompts
    for record in results["records"]:
        own = [line for line in lines if all(line[key] == record[key] for key in ("dataset", "object", "prompt"))]
        assert record["n"] == len(own)
        assert record["groups"] == len({line["group"] for line in own})
        for name in ("dice", "iou", "hd95", "nsd"):
            values = np.array([float(line[name]) for line in own])
            found = record["metrics"][name]
            assert found["mean"] == pytest.approx(values.mean())
            assert found["sd"] == pytest.approx(values.std(ddof=1))
            assert found["median"] == pytest.approx(np.median(values))
            assert found["p5"] == pytest.approx(np.percentile(values, 5))
        dice = record["metrics"]["dice"]
        assert f"{dice['mean']:.3f} ± {dice['sd']:.3f} ({record['n']})" in report
    assert "9 x 9" in report
    assert "autopromptsam bench quality ..." in report
    for path in ("plots/pictures/dice.png", "plots/volumes/worst-lite-medsam-interactive.png"):
        assert f"({path})" in report
        assert (todo.folder / path).stat().st_size > 5000


class TestCommand:
    """``autopromptsam bench quality``."""

    @pytest.fixture
    def command(self, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]) -> Callable[..., tuple]:
        monkeypatch.setenv("COLUMNS", "250")

        def invoke(*arguments: object) -> tuple[int, str, str]:
            monkeypatch.setattr(sys, "argv", ["autopromptsam", "bench", "quality", *map(str, arguments)])
            try:
                cli.main()
                code = 0
            except SystemExit as end:
                code = end.code if isinstance(end.code, int) else 0
            captured = capsys.readouterr()
            return code, captured.out, captured.err

        return invoke

    def test_list_shows_what_is_there_and_what_cannot_be_used(self, command: Callable, data: Path) -> None:
        code, out, err = command("--data", data, "--list")
        assert code == 0
        assert "4 of 5" in out
        assert "left (4), right (4)" in out
        assert "rod (2)" in out
        assert "odd" in err
        assert "9 x 9" in err

    def test_a_wrong_prompt_is_one_sentence(self, command: Callable, data: Path, tmp_path: Path) -> None:
        code, _, err = command("--data", data, "--prompts", "boxes", "--out", tmp_path / "out")
        assert code == 1
        assert 'no prompt simulator "boxes"' in err
        assert not (tmp_path / "out").exists()

    def test_a_folder_without_datasets_is_one_sentence(self, command: Callable, tmp_path: Path) -> None:
        code, _, err = command("--data", tmp_path, "--out", tmp_path / "out")
        assert code == 1
        assert "dataset.yaml" in err

    @pytest.mark.slow
    def test_end_to_end_with_a_real_model(
        self, command: Callable, data: Path, tmp_path: Path, model_home: Path, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        monkeypatch.setenv("AUTOPROMPTSAM_HOME", str(model_home))
        out = tmp_path / "out"
        arguments = ("--data", data / "a", "--prompts", "box,click", "--method", "interactive,plain", "--limit", 3)
        code, shown, _ = command(*arguments, "--out", out)
        assert code == 0
        assert str(out / "report.md") in shown
        results = json.loads((out / "results.json").read_text())
        dice = {
            (record["object"], record["method"], record["prompt"]): record["metrics"]["dice"]["mean"]
            for record in results["records"]
        }
        assert set(dice) == {
            (name, *kind)
            for name in ("left", "right")
            for kind in (("interactive", "box"), ("interactive", "click"), ("plain", "box"))
        }
        assert min(dice.values()) > 0.6  # bright discs on black are easy, but smaller than their truth
        assert dice["left", "plain", "box"] == pytest.approx(dice["left", "interactive", "box"], abs=1e-6)
        assert "--limit 3" in results["command"]
        assert os.environ["AUTOPROMPTSAM_HOME"] not in json.dumps(results)
        again, _, _ = command(*arguments, "--out", out)
        assert again == 0


def test_the_slow_network_is_the_network_that_is_none() -> None:
    assert load_slow("lite-medsam", "cpu").fingerprint == load_threshold("lite-medsam", "cpu").fingerprint
