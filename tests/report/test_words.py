from pathlib import Path
from typing import Any

import yaml
from rich.console import Console

from arte.report.card import model_card, modelfile
from arte.report.contract import Report
from arte.report.gather import gather
from arte.report.notation import duration, signed, size
from arte.report.scores import Comparison
from arte.report.terminal import next_commands, sentence, table
from arte.report.words import file_notes, limitations


def replaced(report: Report, **values: Any) -> Report:
    return report.model_copy(update=values)


def test_the_sentence_says_what_was_gained_and_whether_by_chance(run_folder: Path) -> None:
    report = gather(run_folder)
    gain, alignment = report.compared("arte", "untrained"), report.compared("arte", "verified")
    assert gain is not None
    assert alignment is not None
    gain = gain.model_copy(update={"ci95": (0.4, 0.9)})
    alignment = alignment.model_copy(update={"ci95": (-0.03, 0.42)})
    assert sentence(replaced(report, comparisons=[gain, alignment])) == (
        "On the starter task (10 test problems, school arithmetic, not GSM8K), arte answers 80.0 % where the untrained "
        "student answers 10.0 %: +70.0 points (95 % interval 40.0 to 90.0), beyond chance. Alignment itself "
        "(arte − verified): +20.0 points (−3.0 to 42.0), which chance alone could give."
    )


def test_a_loss_is_called_a_loss(run_folder: Path) -> None:
    report = gather(run_folder)
    loss = Comparison(
        a="arte", b="verified", metric="strict-match", slice="test", n=10, difference=-0.1, ci95=(-0.2, -0.05), p=0.01
    )
    said = sentence(replaced(report, comparisons=[loss]))
    assert said.endswith("(arte − verified): −10.0 points (−20.0 to −5.0), a loss beyond chance.")


def test_what_is_missing_is_said(run_folder: Path) -> None:
    report = gather(run_folder)
    assert sentence(replaced(report, accuracy=[])) == "Nothing was evaluated yet: the run stopped after bench."
    alone = [row for row in report.accuracy if row.arm == "untrained"]
    assert "nothing it could be compared with was evaluated" in sentence(replaced(report, accuracy=alone))


def test_a_gsm8k_report_says_gsm8k(run_folder: Path) -> None:
    said = sentence(replaced(gather(run_folder), task="gsm8k"))
    assert said.startswith("On GSM8K (10 test problems), arte answers 80.0 %")
    assert "starter" not in said


def test_a_file_that_lost_says_why(run_folder: Path) -> None:
    q8, q4 = file_notes(gather(run_folder))
    assert "0.0 points" in q8
    assert "more than 3 points" not in q8
    assert q4.startswith("student-q4_k_m.gguf against its torch student: −20.0 points")
    assert "more than 3 points: tokens and chat template are the student's" in q4
    assert "75.0 % of greedy answers" in q4


def test_limits_are_those_of_the_run(run_folder: Path) -> None:
    report = gather(run_folder)
    assert report.data is not None
    uneven = replaced(
        report, scale="smoke", data=report.data.model_copy(update={"examples": {"verified": 9, "arte": 8}})
    )
    text = " ".join(limitations(uneven))
    assert "tiny and random" in text
    assert "verified 9, arte 8" in text
    assert "tiny and random" not in " ".join(limitations(report))


def test_seeds_that_were_trained_on_are_told_of(run_folder: Path) -> None:
    plain = gather(run_folder)
    assert plain.data is not None
    assert plain.data.seeds == 0  # the recipe of the run trains on drafts alone
    assert "seed problems" not in " ".join(limitations(plain))
    assert "It was trained on 2 of them. The drafts" in str(model_card(plain))
    seeded = replaced(
        plain,
        data=plain.data.model_copy(update={"examples": {"verified": 9, "arte": 9}, "seeds": 7, "seed_copies": 1}),
    )
    assert "learned from the 7 seed problems with their own solutions:" in " ".join(limitations(seeded))
    assert "trained on 2 of them and on the 7 seed problems with their own solutions." in str(model_card(seeded))
    assert seeded.data is not None
    thrice = replaced(seeded, data=seeded.data.model_copy(update={"examples": {"arte": 23}, "seed_copies": 3}))
    assert "from the 7 seed problems with their own solutions, each 3 times:" in " ".join(limitations(thrice))
    assert "trained on 2 of them and on the 7 seed problems with their own solutions, each 3" in str(model_card(thrice))


def test_the_table_has_a_row_for_each_arm_and_file(run_folder: Path) -> None:
    console = Console(width=80, record=True, file=open("/dev/null", "w"))  # noqa: SIM115
    found = table(gather(run_folder))
    console.print(found)
    text = console.export_text()
    assert found.row_count == 5
    assert "80.0 %" in text
    assert "49.0 to 94.3" in text
    assert "105 MB" in text
    assert "gguf q4_k_m" in text
    assert max(map(len, text.splitlines())) <= 80


def test_three_commands_come_next(run_folder: Path) -> None:
    report = gather(run_folder)
    folder = Path("runs/my run")
    chat, redo, plan = next_commands(report, folder)
    assert chat == "ollama create arte-starter -f 'runs/my run/Modelfile' && ollama run arte-starter"
    assert redo == "arte report 'runs/my run'"
    assert plan == "arte plan gsm8k --scale gpu"
    unfinished = replaced(report, stages=report.stages[:2])
    assert next_commands(unfinished, folder)[0] == "arte recipe gsm8k --scale starter --out 'runs/my run'"
    assert next_commands(replaced(report, artefacts=[]), folder)[0].startswith("arte export 'runs/my run/distill/arte/")


def test_the_card_has_the_header_that_the_hub_reads(run_folder: Path) -> None:
    text = model_card(gather(run_folder))
    assert text is not None
    _, front, body = text.split("---\n", 2)
    header = yaml.safe_load(front)
    assert header["base_model"] == "HuggingFaceTB/SmolLM2-135M-Instruct"
    assert (header["base_model_relation"], header["license"]) == ("finetune", "apache-2.0")
    assert (header["library_name"], "gguf" in header["tags"]) == ("transformers", True)
    assert header["model-index"][0]["name"] == "smollm2-135m-instruct-arte-starter"
    (result,) = header["model-index"][0]["results"]
    assert result["dataset"]["name"] == "ARTE starter arithmetic (not GSM8K)"
    assert [(metric["name"], metric["value"]) for metric in result["metrics"]] == [
        ("strict-match", 0.8),
        ("flexible-extract", 0.9),
    ]
    for part in ("How it was made", "Data", "Evaluation", "Files", "How to run", "Limitations"):
        assert f"## {part}\n" in body
    assert "llama-cli -m export/student-q4_k_m.gguf" in body


def test_the_modelfile_is_that_of_the_smallest_file_from_the_run_folder(run_folder: Path) -> None:
    assert modelfile(gather(run_folder), run_folder) is not None
    written = run_folder / "export" / "student-q4_k_m.Modelfile"
    written.write_text("# made\nFROM ./student-q4_k_m.gguf\nPARAMETER temperature 0\n", "utf-8")
    text = modelfile(gather(run_folder), run_folder)
    assert text == "# made\nFROM ./export/student-q4_k_m.gguf\nPARAMETER temperature 0\n"
    written.unlink()
    assert modelfile(gather(run_folder), run_folder) is None


def test_numbers_in_words() -> None:
    assert [signed(value) for value in (1.25, -3.04, 0.01, -0.01)] == ["+1.2", "−3.0", "0.0", "0.0"]
    assert [size(value) for value in (None, 1_500_000, 105_400_000, 1_630_000_000)] == [
        "–",
        "1.5 MB",
        "105 MB",
        "1.63 GB",
    ]
    assert [duration(value) for value in (None, 3.14, 59.6, 600.0, 7500.0)] == [
        "–",
        "3.1 s",
        "60 s",
        "10 min 00 s",
        "2 h 05 min",
    ]
