"""The run folder: kept, redone, resumed; one process at a time."""

import hashlib
import json
import multiprocessing
import os
import signal
import sys
import time
from collections.abc import Callable, Iterator
from multiprocessing.connection import Connection
from pathlib import Path

import pytest

from arte import __version__, config
from arte.errors import StageError, WorkspaceError
from arte.recipe import StageName
from arte.stage_record import fingerprint
from arte.workspace import Figures, Finished, StageFolder, StageRecord, Workspace
from tests.workspace import drafting

FORK = multiprocessing.get_context("fork")
RECIPE = drafting.recipe()


class Worked:
    """Runs two stages, `prefer` after `elicit`, and notes which ones did work."""

    def __init__(self, root: Path) -> None:
        self.root = root

    def __call__(self, seed: int, margin: float = 0.0, redo: frozenset[StageName] = frozenset()) -> list[str]:
        done: list[str] = []

        def work(folder: StageFolder) -> None:
            name = folder.path.name.removesuffix(".partial")
            done.append(name + "+" * folder.resumed)
            (folder.path / "seed.txt").write_text(str(seed), encoding="utf-8")

        with Workspace.open(self.root, RECIPE, redo) as workspace:
            first = workspace.stage("elicit", {"seed": seed}, work)
            workspace.stage("prefer", {"elicit": first.fingerprint, "margin": margin}, work)
        return done


def test_kept_and_redone_downstream(tmp_path: Path) -> None:
    worked = Worked(tmp_path / "runs" / "try")
    assert worked(seed=1) == ["elicit", "prefer"]
    assert worked(seed=1) == []
    assert worked(seed=1, margin=0.5) == ["prefer"]
    assert worked(seed=2, margin=0.5) == ["elicit", "prefer"]
    assert (worked.root / "elicit" / "seed.txt").read_text() == "2"
    assert worked(seed=2, margin=0.5) == []


def test_redo_is_followed_downstream_even_by_a_later_call(tmp_path: Path) -> None:
    worked = Worked(tmp_path)
    worked(seed=1)
    assert worked(seed=1, redo=frozenset({"prefer"})) == ["prefer"]
    assert worked(seed=1) == []
    assert worked(seed=1, redo=frozenset({"elicit"})) == ["elicit", "prefer"]
    assert worked(seed=1) == []

    def stop(_: StageFolder) -> None:
        raise StageError("too few pairs")

    with Workspace.open(tmp_path, RECIPE, frozenset({"elicit"})) as workspace:
        first = workspace.stage("elicit", {"seed": 1}, lambda _: None)
        with pytest.raises(StageError):
            workspace.stage("prefer", {"elicit": first.fingerprint, "margin": 0.0}, stop)
    assert worked(seed=1) == ["prefer+"]  # elicit was redone, so what depends on it is, without being told again


def test_what_stands_in_the_folder(tmp_path: Path) -> None:
    def work(folder: StageFolder) -> Figures:
        assert folder.path == tmp_path / "elicit.partial"
        given = json.loads((folder.path / "given.json").read_text())
        assert (given["name"], given["given"]) == ("elicit", {"seed": 1, "task": {"name": "starter"}})
        return Figures(tokens_out=7)

    began = time.time()
    with Workspace.open(tmp_path, RECIPE) as workspace:
        finished = workspace.stage("elicit", {"task": {"name": "starter"}, "seed": 1}, work)
    assert config.load_saved(tmp_path / "recipe.yaml") == RECIPE
    assert [path.name for path in (tmp_path / "elicit").iterdir()] == ["stage.json"]
    record = json.loads((tmp_path / "elicit" / "stage.json").read_text())
    assert set(record) == set(StageRecord.model_fields)
    assert (record["tokens_in"], record["tokens_out"], record["redone"]) == (None, 7, 0)
    assert record["versions"]["arte"] == __version__
    assert record["versions"]["torch"].startswith("2.")
    assert 10 * 2**20 < record["peak_rss_bytes"] < 2**36
    assert abs(finished.started.timestamp() - began) < 10
    assert finished.model_dump(include=set(record)) == StageRecord.model_validate(record).model_dump()
    assert (finished.path, finished.kept) == (tmp_path / "elicit", False)


@pytest.mark.skipif(sys.platform != "linux", reason="only Linux has a process count its most memory anew")
def test_a_stage_is_not_charged_with_what_an_earlier_one_held(tmp_path: Path) -> None:
    """256 MiB held and let go by the first of two stages; the second holds 64 MiB."""

    def holding(mebibytes: int) -> Callable[[StageFolder], None]:
        def work(_: StageFolder) -> None:
            assert len(bytes([1]) * (mebibytes * 2**20)) == mebibytes * 2**20

        return work

    with Workspace.open(tmp_path, RECIPE) as workspace:
        first = workspace.stage("elicit", {}, holding(256)).peak_rss_bytes
        second = workspace.stage("prefer", {}, holding(64)).peak_rss_bytes
    assert (first - second) / 2**20 == pytest.approx(256 - 64, abs=32)


def test_fingerprint_is_of_the_canonical_json() -> None:
    given = {"b": 1e-5, "a": ["é", None]}
    text = f'{{"arte_version":"{__version__}","given":{{"a":["\\u00e9",null],"b":1e-05}},"name":"elicit","redone":0}}'
    assert fingerprint("elicit", given) == hashlib.sha256(text.encode()).hexdigest()
    assert fingerprint("elicit", dict(reversed(given.items()))) == fingerprint("elicit", given)
    others = [("tailor", given, 0), ("elicit", {**given, "b": 2e-5}, 0), ("elicit", given, 1)]
    assert len({fingerprint(*other) for other in [("elicit", given, 0), *others]}) == 4
    for unstable in ({1, 2}, Path("x"), float("nan")):
        with pytest.raises((TypeError, ValueError)):
            fingerprint("elicit", {"value": unstable})


def test_seconds_are_summed_over_sessions(tmp_path: Path) -> None:
    def cut_short(folder: StageFolder) -> None:
        time.sleep(0.3)
        (folder.path / "half.txt").write_text("half", encoding="utf-8")
        raise StageError("stopped")

    def go_on(folder: StageFolder) -> None:
        assert folder.resumed
        assert (folder.path / "half.txt").read_text() == "half"
        time.sleep(0.2)

    began = time.monotonic()
    for _ in range(2):
        with pytest.raises(StageError, match="stopped"), Workspace.open(tmp_path, RECIPE) as workspace:
            workspace.stage("elicit", {}, cut_short)
        time.sleep(0.2)  # not counted
    with Workspace.open(tmp_path, RECIPE) as workspace:
        finished = workspace.stage("elicit", {}, go_on)
        assert 0.75 <= finished.seconds <= time.monotonic() - began - 0.35  # file times are good to 0.01 s
        assert workspace.stage("elicit", {}, go_on).seconds == finished.seconds


def test_a_partial_folder_of_other_work_is_removed(tmp_path: Path) -> None:
    (tmp_path / "elicit.partial").mkdir()
    (tmp_path / "elicit.partial" / "rows.jsonl").write_text("of nobody knows what")
    drafting.run(tmp_path, batches=2, seed=0)
    assert not (tmp_path / "elicit" / "rows.jsonl").exists()

    def stop(batch: int) -> None:
        if batch == 1:
            raise StageError("stopped")

    with pytest.raises(StageError):
        drafting.run(tmp_path, batches=3, seed=1, before=stop)
    assert (tmp_path / "elicit" / "summary.txt").read_text() == "10 rows of seed 0"  # the older run is still whole
    began = drafting.run(tmp_path, batches=3, seed=2)
    fresh = drafting.run(tmp_path / "fresh", batches=3, seed=2)
    assert began.fingerprint == fresh.fingerprint
    for file in ("drafts.jsonl", "summary.txt"):
        assert (tmp_path / "elicit" / file).read_bytes() == (tmp_path / "fresh" / "elicit" / file).read_bytes()
    assert not (tmp_path / "elicit.partial").exists()


def test_a_bug_keeps_its_traceback(tmp_path: Path) -> None:
    def bug(_: StageFolder) -> None:
        raise ZeroDivisionError

    with pytest.raises(ZeroDivisionError), Workspace.open(tmp_path, RECIPE) as workspace:
        workspace.stage("elicit", {}, bug)


def hold(root: Path, connection: Connection) -> None:
    with Workspace.open(root, RECIPE):
        connection.send("held")
        time.sleep(60)


@pytest.fixture
def holder(tmp_path: Path) -> Iterator[int]:
    ours, theirs = FORK.Pipe()
    process = FORK.Process(target=hold, args=(tmp_path, theirs))
    process.start()
    assert ours.poll(30)
    assert ours.recv() == "held"
    assert process.pid is not None
    yield process.pid
    process.kill()
    process.join()


def test_two_processes_cannot_share_a_folder(tmp_path: Path, holder: int) -> None:
    saved = (tmp_path / "recipe.yaml").read_bytes()
    other = config.load_recipe("gsm8k", "starter")
    for _ in range(2):
        with pytest.raises(WorkspaceError) as caught, Workspace.open(tmp_path, other):
            pass
        assert f"{tmp_path}: in use by process {holder} on {os.uname().nodename}; wait for it" in str(caught.value)
        assert "--out" in str(caught.value)
    assert (tmp_path / "recipe.yaml").read_bytes() == saved

    os.kill(holder, signal.SIGKILL)
    os.waitpid(holder, 0)
    with Workspace.open(tmp_path, other):  # its death freed the folder
        pass
    assert config.load_saved(tmp_path / "recipe.yaml") == other


def test_the_same_process_cannot_open_it_twice(tmp_path: Path) -> None:
    with (
        Workspace.open(tmp_path, RECIPE),
        pytest.raises(WorkspaceError, match=f"in use by process {os.getpid()} "),
        Workspace.open(tmp_path, RECIPE),
    ):
        pass
    with Workspace.open(tmp_path, RECIPE):
        pass


def test_finished_says_where_it_lies(tmp_path: Path) -> None:
    finished = drafting.run(tmp_path, batches=1)
    assert isinstance(finished, Finished)
    assert finished.path == tmp_path / "prefer"
    assert (finished.tokens_in, finished.tokens_out) == (3, 5)
    assert not finished.kept
    assert drafting.run(tmp_path, batches=1).kept
