"""``bench proxy`` on pictures on disk: what is run, that nothing is run twice, that it goes on, what it writes."""

from __future__ import annotations

import json
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

import pytest
import torch
from typer.testing import CliRunner

from AutoPromptSAMLib import cli
from AutoPromptSAMLib.backbones import Backbone
from AutoPromptSAMLib.backbones.lora import Lora
from AutoPromptSAMLib.datasets import find_datasets
from AutoPromptSAMLib.evaluation.commands import numbers
from AutoPromptSAMLib.evaluation.errors import BenchError
from AutoPromptSAMLib.evaluation.page import write_page
from AutoPromptSAMLib.evaluation.proxy import cost, parts, runner
from AutoPromptSAMLib.evaluation.proxy.contenders import CONTENDERS, Contender, contender
from AutoPromptSAMLib.evaluation.proxy.parts import Asked, expanded, work_of
from AutoPromptSAMLib.evaluation.proxy.records import Folder, Record, Run, Settings
from AutoPromptSAMLib.evaluation.proxy.report import publish
from AutoPromptSAMLib.evaluation.proxy.runner import Plan, crossed, run

from ...conftest import SentenceCheck
from ...prompters.scenes import random_backbone, tiny_network
from .fakes import Teacher, make_pictures

pytest.importorskip("monai", reason="the extra `bench` is not installed")

MODEL = "lite-medsam"
MakePlan = Callable[..., Plan]


@pytest.fixture(scope="module")
def data(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """19 pictures of a disc and a square, of as many patients."""
    folder = tmp_path_factory.mktemp("data")
    make_pictures(folder / "pictures")
    return folder


@pytest.fixture
def plan(data: Path, tmp_path: Path) -> MakePlan:
    """A plan on ``data`` with a random model and learning that learns nothing."""

    def make(teacher: Teacher, *wanted: str, seeds: tuple[int, ...] = (0,), objects: tuple[str, ...] = ("disc",)):  # type: ignore[no-untyped-def]
        return Plan(
            Settings({MODEL: "abc"}, limit=2),
            Asked(expanded(wanted), (MODEL,), seeds, objects),
            tuple(find_datasets(data)),
            tmp_path / "out",
            load=lambda model, device: random_backbone(),
            learn=teacher,
            general=lambda backbone: tiny_network(7),
        )

    return make


def test_shots_measure_all_contenders_on_images_of_other_patients(plan: MakePlan) -> None:
    teacher = Teacher()
    (record,) = run(plan(teacher, "shots")).records
    assert set(record.dice) == set(CONTENDERS)
    assert all(len(record.dice[name]["disc"]) == 2 for name in CONTENDERS)
    assert all(0 <= value <= 1 for name in CONTENDERS for value in record.values(name, "disc"))
    assert set(record.seconds) == set(CONTENDERS)
    assert len(teacher.calls[0]["names"]) == 16
    assert not set(teacher.calls[0]["names"]) & set(record.images)
    assert record.learned["shots"] == teacher.calls[0]["names"]
    assert record.run.supports == (0, 4)


def test_a_task_that_changed_the_model_is_asked_of_that_model(plan: MakePlan, monkeypatch: pytest.MonkeyPatch) -> None:
    lora = Lora(random_backbone())
    asked: dict[str, str] = {}

    def noted(name: str, backbone: Backbone, *given: object, **more: bool) -> Contender:
        asked[name] = backbone.features_fingerprint
        return contender(name, backbone, *given, **more)  # type: ignore[arg-type]

    monkeypatch.setattr(runner, "contender", noted)
    (record,) = run(plan(Teacher(additions=lora.additions()), "shots")).records
    plain = lora.plain.features_fingerprint
    assert asked.pop("proxy").startswith(f"{plain}/lora-")
    assert set(asked.values()) == {plain}
    assert len(record.values("proxy", "disc")) == 2


def test_nothing_is_measured_twice_and_more_is_added(plan: MakePlan, tmp_path: Path) -> None:
    first = Teacher()
    run(plan(first, "shots"))
    files = {path: path.read_bytes() for path in (tmp_path / "out").rglob("*.json")}
    again = Teacher()
    assert len(run(plan(again, "shots")).records) == 1
    assert again.calls == []
    assert files == {path: path.read_bytes() for path in (tmp_path / "out").rglob("*.json")}
    more = run(plan(again, "shots", seeds=(0, 1)))
    assert [call["seed"] for call in again.calls] == [1]
    assert [record.run.seed for record in more.records] == [0, 1]


def test_a_contender_that_is_missing_is_measured_alone(plan: MakePlan, tmp_path: Path) -> None:
    made = plan(Teacher(), "shots")
    (record,) = run(made).records
    path = next((tmp_path / "out" / "runs").rglob("*.json"))
    kept = {**json.loads(path.read_text(encoding="utf-8")), "dice": {"proxy": {"disc": [0.25, 0.75]}}}
    path.write_text(json.dumps(kept))
    (extended,) = run(made).records
    assert extended.values("proxy", "disc") == [0.25, 0.75]
    assert extended.values("true-box", "disc") == record.values("true-box", "disc")
    assert extended.learned == record.learned


def test_an_interrupted_run_goes_on(plan: MakePlan) -> None:
    stopped = Teacher(stop_at=1)
    outcome = run(plan(stopped, "shots", seeds=(0, 1, 2)))
    assert not outcome.complete
    assert [record.run.seed for record in outcome.records] == [0]
    rest = Teacher()
    outcome = run(plan(rest, "shots", seeds=(0, 1, 2)))
    assert outcome.complete
    assert [call["seed"] for call in rest.calls] == [1, 2]
    assert len(outcome.records) == 3


def test_the_report_names_every_command_that_measured_and_how_it_ended(plan: MakePlan) -> None:
    first = replace(plan(Teacher(stop_at=1), "shots", seeds=(0, 1)), command="bench --objects disc --seeds 0-1")
    publish(first, run(first), with_plots=False)
    other = replace(plan(Teacher(), "shots", objects=("square",)), command="bench --objects square --seeds 0")
    text = publish(other, run(other), with_plots=False)
    assert "`bench --objects disc --seeds 0-1` (interrupted: give it again to finish it)" in text
    assert "\n`bench --objects square --seeds 0`\n" in text
    assert "| 2 (2), 1 |" in text  # of one seed, although two were asked for
    again = replace(first, learn=Teacher())
    text = publish(again, run(again), with_plots=False)
    assert "interrupted" not in text
    assert text.count("`bench --objects disc") == 1
    killed = replace(plan(Teacher(), "shots"), command="bench killed")
    run(killed)  # and nobody published it
    assert "`bench killed` (interrupted" in publish(again, run(again), with_plots=False)


def test_a_network_that_was_learned_before_the_end_is_used(plan: MakePlan, tmp_path: Path) -> None:
    run(plan(Teacher(), "shots"))
    next((tmp_path / "out" / "runs").rglob("*.json")).unlink()
    again = Teacher()
    assert len(run(plan(again, "shots")).records) == 1
    assert again.calls == []


def test_the_first_claims_need_four_networks_an_object_and_share_them(plan: MakePlan) -> None:
    teacher = Teacher()
    records = run(plan(teacher, "shots", "c1", "c2")).records
    assert sorted(len(call["names"]) for call in teacher.calls) == [2, 4, 8, 16]
    largest = max(teacher.calls, key=lambda call: len(call["names"]))["names"]
    assert all(call["names"] == largest[: len(call["names"])] for call in teacher.calls)
    assert {(r.run.shots, r.run.supports) for r in records} == {
        (2, (0, 2)), (4, (0, 4)), (8, (0, 4)), (16, (0, 4)),
        (16, (0, 1)), (16, (0, 2)), (16, (0, 8)), (16, (0, 15)),
        *((16, (n, n + 1)) for n in range(1, 5)),
    }  # fmt: skip
    assert len({tuple(record.images) for record in records}) == 1


def test_a_swapped_mask_is_all_that_says_which_object_is_meant(
    plan: MakePlan, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(parts, "SWAPPED", (("pictures", ("disc", "square")),))
    teacher = Teacher()
    records = run(plan(teacher, "c3")).records
    assert [call["objects"] for call in teacher.calls] == [("disc", "square"), ("disc",), ("square",)]
    both = next(record for record in records if len(record.run.objects) == 2)
    assert set(both.dice["proxy"]) == {crossed(a, b) for a in ("disc", "square") for b in ("disc", "square")}


def test_without_the_data_a_claim_is_not_measured(plan: MakePlan) -> None:
    outcome = run(plan(Teacher(), "c3"))
    assert outcome.records == []
    assert [(entry.part, "optic disc" in entry.reason) for entry in outcome.unmeasured] == [("c3", True)]


def test_ablations_start_from_nothing_or_are_said_to_be_impossible(data: Path) -> None:
    asked = Asked(("c4",), (MODEL,), (0,), ("disc",), from_scratch=False)
    work, unmeasured = work_of(asked, find_datasets(data))
    assert work == []
    assert len(unmeasured) == 1


def test_general_weights_learn_nothing_and_take_one_support(plan: MakePlan) -> None:
    teacher = Teacher()
    records = run(plan(teacher, "general", objects=())).records
    assert teacher.calls == []
    assert {record.run.object for record in records} == {"disc", "square"}
    assert all(record.run.supports == (0, 1) and set(record.dice) == set(CONTENDERS) for record in records)
    again = {record.run: record for record in run(plan(teacher, "general", objects=())).records}
    assert again == {record.run: record for record in records}  # with the seconds: not measured again
    other = replace(plan(teacher, "general", objects=()), general=lambda backbone: tiny_network(8))
    assert all(record.learned != again[record.run].learned for record in run(other).records)
    none = replace(plan(teacher, "general"), general=lambda backbone: None, folder=Path(plan(teacher).folder, "none"))
    outcome = run(none)
    assert outcome.records == []
    assert "no general weights" in outcome.unmeasured[0].reason


def test_a_general_start_is_only_for_sets_that_the_weights_have_not_seen(plan: MakePlan, tmp_path: Path) -> None:
    make_pictures(tmp_path / "sets" / "new")
    make_pictures(tmp_path / "sets" / "seen", use="train")
    teacher = Teacher()
    made = plan(teacher, "shots")
    run(
        replace(
            made, datasets=tuple(find_datasets(tmp_path / "sets")), settings=replace(made.settings, start="general")
        )
    )
    assert [call["start"] is None for call in teacher.calls] == [False, True]


def test_results_of_other_settings_are_not_mixed(plan: MakePlan, one_sentence: SentenceCheck) -> None:
    made = plan(Teacher(), "shots")
    run(made)
    with one_sentence(BenchError, "limit", "--out"):
        run(replace(made, settings=replace(made.settings, limit=3)))
    with one_sentence(BenchError, MODEL, "--out"):
        run(replace(made, settings=replace(made.settings, models={MODEL: "other"})))
    run(replace(made, settings=replace(made.settings, models={"mobile-sam": "another one"})))
    fewer = replace(made.datasets[0], pairs=made.datasets[0].pairs[:18])
    outcome = run(replace(made, datasets=(fewer,)))
    assert "described differently" in outcome.unmeasured[0].reason


def test_an_error_takes_its_own_run_only(plan: MakePlan, data: Path) -> None:
    made = plan(Teacher(), "shots", objects=("disc", "square"))
    few = replace(made.datasets[0], name="few", pairs=made.datasets[0].pairs[:3])
    outcome = run(replace(made, datasets=(*made.datasets, few)))
    assert outcome.complete
    assert {record.run.dataset for record in outcome.records} == {"pictures"}
    assert {entry.what.split(": ")[1] for entry in outcome.unmeasured} == {"few"}


def test_names_of_files_do_not_collide(tmp_path: Path) -> None:
    folder = Folder(tmp_path, Settings({MODEL: None}))
    one = Run(MODEL, "set/a", ("x y",), 0, 16, (0, 4))
    others = [replace(one, dataset="set_a"), replace(one, objects=("x_y",)), replace(one, supports=(0, 2))]
    for run_ in (one, *others):
        folder.write(Record(run_, ["image"], {"proxy": {"x": [0.5]}}, source="s"))
    assert {record.run for record in folder.records()} == {one, *others}
    assert folder.read(one, "s") == Record(one, ["image"], {"proxy": {"x": [0.5]}}, source="s")


def test_the_report_and_the_page_have_the_figures_and_no_paths(plan: MakePlan, tmp_path: Path) -> None:
    made = plan(Teacher(), "shots", "c1", "c2")
    outcome = run(made)
    outcome.costs = {MODEL: [{**dict.fromkeys(("seconds", "low", "high", "prompt", "kept", "remember"), 0.5),
                              "supports": k, "way": "chunked", "peak": None} for k in (1, 2)]}  # fmt: skip
    command = f"autopromptsam bench proxy --data {tmp_path}/private/data --out {made.folder}"
    text = publish(replace(made, command=command), outcome)
    mean = next(r for r in outcome.records if "true-box" in r.dice).mean("true-box", "disc")
    for expected in ("## 16 shots", "## C1", "## C2", "## What prompting costs", f"{mean:.3f}", "1.5 min", "Seeds 0;"):
        assert expected in text
    for name in ("shots", "c1", "c2", "cost"):
        assert f"![{name}]({name}.png)" in text
        assert (made.folder / f"{name}.png").stat().st_size > 5000
    page = tmp_path / "benchmarks.md"
    done = CliRunner().invoke(cli.app, ["bench", "docs", "--proxy", str(made.folder), "--out", str(page)])
    assert done.exit_code == 0, done.output
    assert "### 16 shots" in page.read_text(encoding="utf-8")
    assert f"{mean:.3f}" in page.read_text(encoding="utf-8")
    assert str(tmp_path) not in page.read_text(encoding="utf-8")
    assert "Not measured yet: `bench quality`" in page.read_text(encoding="utf-8")
    write_page([], [], page, [made.folder, made.folder])
    assert page.read_text(encoding="utf-8").count("## Proxy Prompt") == 2


def test_cost_has_a_row_for_each_number_of_supports() -> None:
    with torch.no_grad():
        rows = cost.measure(random_backbone(), counts=(1, 2), repeats=1)
    assert [(row["supports"], row["way"]) for row in rows] == [
        (1, "chunked"), (1, "all at once"), (2, "chunked"), (2, "all at once")
    ]  # fmt: skip
    assert rows[2]["kept"] == pytest.approx(2 * rows[0]["kept"])
    assert all(row["prompt"] > 0 and row["low"] <= row["seconds"] <= row["high"] for row in rows)


def test_peak_sees_what_is_held_for_a_moment() -> None:
    cpu = torch.device("cpu")
    small, large = (cost.peak(lambda n=n: torch.ones(n * 2**18).sum(), cpu) for n in (1, 200))
    if small is None or large is None:
        pytest.skip("this system does not tell how much memory a process held")
    assert large - small == pytest.approx(199, rel=0.2)


def test_parts_and_seeds_as_people_write_them(one_sentence: SentenceCheck) -> None:
    assert expanded(["general", "claims"]) == ("c1", "c2", "c3", "c4", "general")
    assert numbers("0-2,7") == (0, 1, 2, 7)
    with one_sentence(BenchError, "speed", "claims"):
        expanded(["speed"])
    done = CliRunner().invoke(cli.app, ["bench", "proxy", "--data", "x", "--seeds", "a-b"])
    assert done.exit_code == 2
