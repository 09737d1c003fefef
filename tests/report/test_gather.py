import json
from pathlib import Path

import pytest

from arte import report as arte_report
from arte.errors import DataError, WorkspaceError
from arte.report.contract import Report
from arte.report.gather import gather

STAGES = ["elicit", "prefer", "align", "tailor", "distill", "evaluate", "export", "bench"]
FOLDERS = [
    *STAGES[:4],
    *("distill/verified", "distill/arte"),
    *("evaluate/untrained", "evaluate/verified", "evaluate/arte"),
    *STAGES[6:],
]


def test_every_stage_in_order_with_what_it_cost(run_folder: Path) -> None:
    report = gather(run_folder)
    assert [stage.name for stage in report.stages] == FOLDERS
    assert [stage.name for stage in report.stages if stage.kept] == ["elicit"]
    assert report.stages[0].seconds == 12.0
    assert report.stages[0].tokens_out is None
    assert report.plan[0].note == "at 400 tokens a second"
    assert report.commands == ["arte recipe gsm8k --scale starter"]
    assert (report.recipe, report.task, report.student_arm, report.model_bytes) == ("gsm8k", "starter", "arte", 1000)


def test_drafts_are_counted_by_reason_before_and_after(run_folder: Path) -> None:
    data = gather(run_folder).data
    assert data is not None
    before, after = data.teachers
    # elicit: 3 fallen questions and 6 rationales of the 2 accepted ones, 4 of those accepted
    assert (before.drafted, before.accepted) == (9, 4)
    assert before.rejected.model_dump() == {
        "unparsed": 2,
        "inconsistent": 1,
        "duplicate": 1,
        "contaminated": 1,
        "too_long": 0,
    }
    assert (before.questions.drafted, before.questions.accepted) == (5, 2)
    assert (after.drafted, after.accepted, after.rejected.duplicate) == (3, 2, 1)
    assert (data.drafted, data.accepted, data.rejected.duplicate) == (12, 6, 2)
    assert data.examples == {"verified": 2, "arte": 2}


def test_preference_and_its_best_and_worst_drafts(run_folder: Path) -> None:
    report = gather(run_folder)
    preference, examples = report.preference, report.examples
    assert preference is not None
    assert (preference.score, preference.probes, preference.evaluations) == ("logprob", 2, 8)
    assert (preference.pairs, preference.question_pairs, preference.rationale_pairs) == (3, 1, 2)
    assert preference.draft_scores == pytest.approx([0.3, 0.1, 0.0, -0.1])
    assert preference.baseline == -1.5
    assert preference.margin is not None
    assert (preference.margin.count, preference.margin.median) == (3, 0.3)
    assert examples is not None
    assert [draft.id for draft in examples.best] == ["r0", "r3"]
    assert [draft.id for draft in examples.worst] == ["r1", "r4"]


def test_accuracy_by_arm_file_and_slice(run_folder: Path) -> None:
    report = gather(run_folder)
    arte = report.found("arte")
    assert arte is not None
    assert (arte.n, arte.correct, arte.accuracy) == (10, 8, 0.8)
    assert arte.ci95 == pytest.approx((0.490, 0.943), abs=1e-3)
    flexible = report.found("arte", metric="flexible-extract")
    assert flexible is not None
    assert flexible.correct == 9
    found = {(row.arm, row.artefact, row.slice): row.correct for row in report.accuracy if row.metric == "strict-match"}
    assert found["untrained", "model", "unseen"] == 0
    assert (found["arte", "model", "steps=1"], found["arte", "model", "steps=2"]) == (5, 3)
    assert found["arte", "student-q4_k_m.gguf", "test"] == 6
    assert len(found) == 5 * 4


def test_comparisons_are_paired(run_folder: Path) -> None:
    report = gather(run_folder)
    gain = report.compared("arte", "untrained")
    assert gain is not None
    assert gain.n == 10
    assert gain.difference == pytest.approx(0.7)
    assert gain.ci95[0] > 0
    alignment = report.compared("arte", "verified")
    assert alignment is not None
    assert alignment.difference == pytest.approx(0.2)
    assert alignment.ci95[0] == 0.0
    same = report.compared("student-q8_0.gguf", "arte")
    assert same is not None
    assert (same.difference, same.ci95, same.p) == (0.0, (0.0, 0.0), 1.0)
    # Three pairs of arms and two files, each on two slices and by two metrics.
    assert len(report.comparisons) == 5 * 2 * 2


def test_a_file_graded_on_some_items_is_compared_on_those(run_folder: Path) -> None:
    path = run_folder / "export" / "student-q4_k_m.gguf.samples.jsonl"
    path.write_text("".join(path.read_text("utf-8").splitlines(keepends=True)[4:8]), "utf-8")
    lost = gather(run_folder).compared("student-q4_k_m.gguf", "arte")
    assert lost is not None
    # Items 4 to 7: the torch student has all four, the file 4 and 5.
    assert (lost.n, lost.difference) == (4, -0.5)


def test_a_run_that_just_started_is_nulls_and_empty_lists(started: Path) -> None:
    report = arte_report.write(started)
    content = json.loads((started / "report.json").read_text("utf-8"))
    assert content["schema"] == 1
    for name in ("machine", "data", "preference", "examples", "student_arm", "model_bytes"):
        assert content[name] is None
    for name in ("stages", "plan", "training", "accuracy", "comparisons", "artefacts", "measurements", "verdicts"):
        assert content[name] == []
    assert report.models.teacher is None
    assert "Nothing was run yet." in (started / "report.html").read_text("utf-8")
    assert not (started / "MODEL_CARD.md").exists()
    assert not (started / "Modelfile").exists()


@pytest.mark.parametrize("last", range(1, len(STAGES)))
def test_a_run_stopped_after_any_stage_is_reported(run_folder: Path, last: int) -> None:
    import shutil

    for name in STAGES[last:]:
        shutil.rmtree(run_folder / name)
    report = arte_report.write(run_folder)
    assert [stage.name for stage in report.stages] == [
        name for name in FOLDERS if name.partition("/")[0] in STAGES[:last]
    ]
    assert (run_folder / "report.html").stat().st_size > 10_000
    assert (run_folder / "Modelfile").exists() == ("export" in STAGES[:last])
    assert bool(report.accuracy) == ("evaluate" in STAGES[:last])


def test_report_json_is_read_back_equal(run_folder: Path) -> None:
    report = arte_report.write(run_folder)
    assert Report.model_validate_json((run_folder / "report.json").read_bytes()) == report
    assert not list(run_folder.glob("*.tmp"))


def test_what_cannot_be_used_is_named(run_folder: Path, tmp_path: Path) -> None:
    with pytest.raises(WorkspaceError, match=r"holds no recipe\.yaml"):
        gather(tmp_path)
    samples = run_folder / "evaluate" / "arte" / "samples.jsonl"
    samples.write_text('{"id": "a", "slice": "test", "strict_correct": true}\n', "utf-8")
    with pytest.raises(DataError, match=r"samples\.jsonl: entry 1: .*, flexible_correct missing, and no loss"):
        gather(run_folder)
    samples.write_text("{half a li", "utf-8")
    with pytest.raises(DataError, match=r"samples\.jsonl:1: is not JSON"):
        gather(run_folder)
