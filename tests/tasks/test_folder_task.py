import json
from collections.abc import Callable
from pathlib import Path

import pytest
from datasets import Dataset

from arte import recipe, tasks
from arte.errors import DataError, UnknownName
from arte.rows import Item
from arte.tasks import Draft
from arte.tasks.folder_task import LONGEST_TEXT, FolderTask

YAML = """\
about: Words to their kind.
things: words
instruction: Say what kind of word it is.
fields: {input: word, answer: kind}
answer: {kind: choice, choices: [noun, verb]}
"""
SOLVED = """\
about: Sums in words.
things: sums in words
fields: {input: question, rationale: how, answer: result}
answer: {kind: number}
"""
SPLITS = {"seeds": ["cat", "run", "dog"], "validation": ["sing", "tree", "go"], "test": ["eat", "sea"]}
VERBS = {"run", "sing", "go", "eat"}
Make = Callable[..., Path]


def rows(words: list[str]) -> list[dict[str, object]]:
    return [{"word": word, "kind": "verb" if word in VERBS else "noun"} for word in words]


def write(path: Path, found: list[dict[str, object]]) -> None:
    path.write_text("".join(json.dumps(row, ensure_ascii=False) + "\n" for row in found), encoding="utf-8")


@pytest.fixture
def make(tmp_path: Path) -> Make:
    def made(yaml: str = YAML, **changed: list[dict[str, object]]) -> Path:
        folder = tmp_path / "words"
        folder.mkdir(exist_ok=True)
        (folder / "task.yaml").write_text(yaml, encoding="utf-8")
        for split, words in SPLITS.items():
            write(folder / f"{split}.jsonl", changed.get(split, rows(words)))
        return folder

    return made


def settings(**more: int) -> recipe.Task:
    return recipe.Task.model_validate({"name": "words", "seeds": 3, "probes": 2, **more})


def solved(**more: object) -> dict[str, object]:
    return {"question": "two and two", "how": "2 + 2 = 4", "result": 4} | more


def test_splits_are_drawn_by_seed_and_tests_keep_their_order(make: Make) -> None:
    task = tasks.load(str(make()))
    assert (task.name, task.explains, len(task.identity)) == ("words", False, 16)
    splits = task.splits(settings(), 1)
    assert [len(each) for each in splits] == [3, 2, 2, 0]
    assert [item.question for item in splits.test] == ["eat", "sea"]
    assert {item.question for item in splits.probes} < set(SPLITS["validation"])
    orders = {tuple(item.question for item in task.splits(settings(), seed).seeds) for seed in range(8)}
    assert len(orders) > 1
    assert len(task.splits(settings(validation=3), 0).probes) == 3


def test_prompts_of_a_task_that_is_answered_at_once(make: Make) -> None:
    task = tasks.load(str(make()))
    seeds = [Item(id="a", question="red\ncat", rationale="", answer="noun")]
    request, opening = task.question_prompt(seeds, 2)
    assert request["content"] == (
        "Write 3 different words, each with its answer.\nWhat is asked of each: Say what kind of word it is."
    )
    assert opening["content"] == "Example 1: red\ncat\nAnswer: noun\n\nExample 2:"
    assert task.question_stop(1, 2) == "\nExample 4:"
    assert task.rationale_prompt("go", "steps") == [
        {"role": "system", "content": "Say what kind of word it is."},
        {"role": "user", "content": "cat"},
        {"role": "assistant", "content": "noun"},
        {"role": "user", "content": "run"},
        {"role": "assistant", "content": "verb"},
        {"role": "user", "content": "dog"},
        {"role": "assistant", "content": "noun"},
        {"role": "user", "content": "go"},
    ]
    assert task.student_prompt("go")[0]["content"] == "Say what kind of word it is.\n\ngo"
    assert task.completion("", "verb") == "verb"
    assert task.parse_rationale("It is a **verb**.") == ("", "verb")
    assert (task.strict("Verb."), task.strict("It is a verb"), task.flexible("It is a verb")) == ("verb", None, "verb")


def test_a_list_is_read_back_as_it_was_written(make: Make) -> None:
    task = tasks.load(str(make()))
    seeds = [Item(id="a", question="red\ncat", rationale="", answer="noun")]
    prompt = task.question_prompt(seeds, 2)
    drafts = [Draft("go\nhome", None, "verb"), Draft("sky", None, "noun")]
    assert task.parse_questions(task.question_reply(prompt, drafts)) == [Draft("red\ncat", None, "noun"), *drafts]
    read = task.parse_questions(prompt[-1]["content"] + " sky\nAnswer: adjective\n\nExample 3: sea")
    assert read[1:] == [Draft("sky", None, None), Draft("sea", None, None)]


def test_prompts_of_a_task_with_solutions(make: Make) -> None:
    task = tasks.load(
        str(make(SOLVED, **{split: [solved(question=f"{split} {n}") for n in range(3)] for split in SPLITS}))
    )
    item = task.splits(settings(), 0).test[0]
    assert (item.question, item.rationale, item.answer) == ("test 0", "2 + 2 = 4", "4")
    assert task.completion(item.rationale, item.answer) == "2 + 2 = 4\n#### 4"
    assert task.rationale_prompt("three and one", "brief")[0]["content"] == (
        "Explain it in one short sentence. End with a line of #### and the answer."
    )
    assert task.parse_rationale("3 + 1 = 4\n#### 4\nDone") == ("3 + 1 = 4", "4")
    assert task.parse_rationale("3 + 1 = 4") == ("3 + 1 = 4", "4")
    assert (task.strict("3 + 1 = 4"), task.strict("so\n#### 4")) == (None, "4")
    assert task.fault("3 + 1 = 5", "5") == "does not hold: 3 + 1 = 5"
    assert task.fault("it is four", "4") is None
    assert (
        task.question_prompt([item], 1)[1]["content"]
        == "Example 1: test 0\nSolution: 2 + 2 = 4\nAnswer: 4\n\nExample 2:"
    )


def test_styles_may_be_the_tasks_own(make: Make) -> None:
    some = {split: [solved(question=f"{split} {n}") for n in range(3)] for split in SPLITS}
    task = tasks.load(str(make(SOLVED + "styles: {brief: Say it in a word.}\nmark: '=> '\n", **some)))
    assert (
        task.rationale_prompt("x", "brief")[0]["content"] == "Say it in a word. End with a line of => and the answer."
    )
    assert task.strict("so\n=> 4") == "4"


def test_csv_tsv_and_parquet_hold_the_same_items(make: Make) -> None:
    folder = make(YAML + "data: {seeds: a.csv, validation: b.tsv, test: c.parquet}\n")
    (folder / "a.csv").write_text('word,kind\n"007, or so",noun\nrun,verb\n"a\nb",noun\n')
    (folder / "b.tsv").write_text("word\tkind\nsing\tverb\ntree\tnoun\n")
    Dataset.from_list(rows(SPLITS["test"])).to_parquet(folder / "c.parquet")
    splits = tasks.load(str(folder)).splits(settings(), 0)
    assert {item.question for item in splits.seeds} == {"007, or so", "run", "a\nb"}
    assert {item.question for item in splits.probes} == {"sing", "tree"}
    assert [item.question for item in splits.test] == ["eat", "sea"]


def test_one_source_may_be_shared_out(make: Make) -> None:
    folder = make(YAML + "data: {seeds: seeds.jsonl, validation: seeds.jsonl}\n", seeds=rows(list("abcdefgh")))
    task = tasks.load(str(folder))
    splits = task.splits(settings(), 3)
    together = {item.question for item in (*splits.seeds, *splits.probes)}
    assert len(together) == 5
    with pytest.raises(DataError, match=r"task.seeds=7 is more than the 6 items of seeds"):
        task.splits(settings(seeds=7), 3)


LONG = "x" * (LONGEST_TEXT + 1)


@pytest.mark.parametrize(
    ("split", "changed", "message"),
    [
        ("test", [{"word": "cat", "kind": "noun"}], r"test.jsonl:1: also in seeds \(.*seeds.jsonl:1\); test must hold"),
        ("test", [{"word": "SING ", "kind": "verb"}], r"test.jsonl:1: also in validation \(.*validation.jsonl:1\)"),
        ("validation", [{"word": "cat", "kind": "noun"}], r"validation.jsonl:1: also in seeds"),
        ("test", [{"word": "up", "kind": "adverb"}], r"test.jsonl:1: kind is 'adverb', expected one of noun, verb"),
        ("test", [{"word": " ", "kind": "noun"}], r"test.jsonl:1: word is empty"),
        ("test", [{"word": "up", "kind": ""}], r"test.jsonl:1: kind is empty"),
        ("test", [{"kind": "noun"}], r"test.jsonl:1: no field 'word' \(found: kind\)"),
        ("test", [{"word": ["up"], "kind": "noun"}], r"test.jsonl:1: 'word' is list, not text"),
        ("test", [{"word": "up", "kind": "noun"}, {"word": "UP", "kind": "noun"}], r"test.jsonl:2: the same word as"),
        (
            "seeds",
            [{"word": LONG, "kind": "noun"}],
            r"seeds.jsonl:1: word has 20,001 characters; expected at most 20,0",
        ),
        ("seeds", [{"word": "x" * 200_000, "kind": "noun"}], r"seeds.jsonl:1: word has 200,000 characters"),
    ],
)
def test_each_bad_item_is_named_with_file_and_line(
    make: Make, split: str, changed: list[dict[str, object]], message: str
) -> None:
    with pytest.raises(DataError, match=message):
        tasks.load(str(make(**{split: changed}))).splits(settings(seeds=1, probes=1), 0)


def test_many_bad_items_are_counted(make: Make) -> None:
    bad = [{"word": f"w{number}", "kind": "x"} for number in range(40)]
    with pytest.raises(DataError) as caught:
        tasks.load(str(make(test=bad))).splits(settings(), 0)
    lines = str(caught.value).splitlines()
    assert len(lines) == 1 + 12 + 1
    assert "and 28 more: arte task check" in lines[-1]


def test_an_id_that_two_items_have(make: Make) -> None:
    two: list[dict[str, object]] = [{"n": 1, "word": word, "kind": "noun"} for word in ("sky", "sea")]
    others = {split: [{"n": n, **row} for n, row in enumerate(rows(words))] for split, words in SPLITS.items()}
    folder = make(YAML.replace("{input", "{id: n, input"), **{**others, "test": two})
    with pytest.raises(DataError, match=r"test.jsonl:2: the id '1' is that of .*test.jsonl:1"):
        tasks.load(str(folder)).splits(settings(), 0)


@pytest.mark.parametrize(
    ("content", "message"),
    [
        (b'{"word": "a"', r"seeds.jsonl:1: is not JSON"),
        (b'["a"]\n', r"seeds.jsonl:1: found list, expected an object such as"),
        (b'{"word": "\xff"}\n', r"seeds.jsonl: byte 10 is not UTF-8"),
        (b"\n\n", r"seeds.jsonl: holds no rows"),
    ],
)
def test_a_broken_file_is_named(make: Make, content: bytes, message: str) -> None:
    folder = make()
    (folder / "seeds.jsonl").write_bytes(content)
    with pytest.raises(DataError, match=message):
        tasks.load(str(folder)).splits(settings(), 0)


@pytest.mark.parametrize(
    ("name", "content", "message"),
    [
        ("a.csv", b"word,kind\ncat\n", r"a.csv:2: has more or fewer values than the columns word, kind"),
        ("a.csv", b"word,kind\ncat,noun,x\n", r"a.csv:2: has more or fewer values"),
        ("a.csv", b"word,kind\n", r"a.csv: holds no rows"),
        ("a.parquet", b"PAR1 or not", r"a.parquet: is not Parquet"),
        ("a.xlsx", b"", r"a.xlsx: expected a file of the kinds .jsonl, .json, .csv, .tsv, .parquet"),
    ],
)
def test_a_broken_table_is_named(make: Make, name: str, content: bytes, message: str) -> None:
    folder = make(YAML + f"data: {{seeds: {name}}}\n")
    (folder / name).write_bytes(content)
    with pytest.raises(DataError, match=message):
        tasks.load(str(folder)).splits(settings(), 0)


@pytest.mark.parametrize(
    ("yaml", "message"),
    [
        (YAML.replace("things", "thing"), r"thing: no such setting \(line 2\)"),
        (YAML.replace("things: words\n", ""), r"things: missing"),
        (YAML.replace("choice,", "choise,"), r"answer: found .*'regex', 'json', 'python', 'open' \(line 5\)"),
        (YAML.replace("[noun, verb]", "[noun]"), r"answer.choices: found .*at least 2 items .* \(line 5\)"),
        (YAML.replace("[noun, verb]", "[noun, Noun]"), r"answer.choices: two differ in nothing but their case"),
        (YAML.replace("choice, choices: [noun, verb]", "regex, pattern: '('"), r"answer.pattern: '\(' is no pattern"),
        (YAML.replace("choice, choices: [noun, verb]", "json, schema: {type: 3}"), r"answer.schema: is no JSON Schema"),
        (YAML.replace("choice, choices: [noun, verb]", "python, file: no.py"), r"no.py: no such Python file"),
        ("about: [", r"line 1: not YAML"),
        (YAML + "styles: {loud: Shout.}\n", r"styles.loud"),
    ],
)
def test_a_broken_definition_is_named_with_its_line(make: Make, yaml: str, message: str) -> None:
    with pytest.raises(DataError, match=message):
        tasks.load(str(make(yaml)))


def test_a_folder_without_a_definition_is_no_task(tmp_path: Path) -> None:
    with pytest.raises(UnknownName, match=r"has no task.yaml"):
        tasks.load(str(tmp_path))
    with pytest.raises(DataError, match=r"task.yaml: No such file"):
        FolderTask(tmp_path)


def test_identity_changes_with_the_definition_and_the_program(make: Make) -> None:
    yaml = YAML.replace("choice, choices: [noun, verb]", "python, file: kinds.py")
    folder = make(yaml)
    program = folder / "kinds.py"
    seen = set()
    for source in ("def read(text): return text", "def read(text): return text or None"):
        program.write_text(source)
        seen.add(FolderTask(folder).identity)
    (folder / "task.yaml").write_text(yaml + "licence: mine\n")
    seen.add(FolderTask(folder).identity)
    assert len(seen) == 3


def test_there_are_no_exercises(make: Make) -> None:
    import random

    task = tasks.load(str(make()))
    assert task.exercises(0, [], random.Random(0)) == []
    with pytest.raises(DataError, match=r"distill.exercises and distill.rehearsed to 0"):
        task.exercises(1, [], random.Random(0))
