"""A judge behind a real server of OpenAI's protocol that follows a rule, so that every verdict can be worked out.

item   reply of arte   reply of verified   the judge says                      both orders
t0     good            bad                 the good one                        won
t1     bad             good                the good one                        lost
t2     fair            fair, really        the one shown first                 disagree: undecided
t3     even            even too            tie                                 tied
t4     same            same                (is not asked)                      tied
t5     mute            mutter              no verdict                          undecided
t6     good            bad                 the good one, but mute for t6's     undecided
                                           second order
"""

import json
import re
import threading
from collections.abc import Iterator
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any

import pytest

from arte import judging, yaml12
from arte.errors import EngineError, WorkspaceError
from arte.judging import Judgement
from arte.recipe import Recipe, Student, Task, Teacher
from arte.recipe_engines import Server
from arte.rows import read_rows, write_rows
from arte.stages.held_out_loss import OpenSample
from tests.cli.command import run as command
from tests.engines.fault_proxy import proxy

REPLIES = [
    ("good", "bad"), ("bad", "good"), ("fair", "fair, really"), ("even", "even too"), ("same", "same"),
    ("mute", "mutter"), ("good", "bad"),
]  # fmt: skip
SHOWN = re.compile(r"\[Request\]\n(.*)\n\n\[Reply of 1\]\n(.*)\n\n\[Reply of 2\]\n(.*)\n\n\[End of the replies\]", re.S)
YAML = "about: Instructions.\nthings: instructions\nanswer: {kind: open}\n"


def rule(request: str, first: str, second: str) -> str:
    if "good" in (first, second):
        if request == "Request 6?" and second == "good":
            return "I would rather not say."
        return f"Reply 2 may look longer. Verdict: tie? No.\n**Verdict:** {1 if first == 'good' else 'reply 2'}"
    if "fair" in first:
        return "Both are fair. Verdict: 1"
    return "VERDICT: Tie." if "even" in first else "Hm."


class JudgeServer(ThreadingHTTPServer):
    daemon_threads = True

    def __init__(self) -> None:
        super().__init__(("127.0.0.1", 0), Handler)
        self.asked: list[dict[str, Any]] = []
        self.keys: set[str | None] = set()

    @property
    def url(self) -> str:
        return f"http://127.0.0.1:{self.server_address[1]}/v1"


class Handler(BaseHTTPRequestHandler):
    server: JudgeServer
    protocol_version = "HTTP/1.1"

    def log_message(self, *_: Any) -> None:
        pass

    def do_GET(self) -> None:
        assert self.path == "/v1/models"
        self._say({"object": "list", "data": [{"id": "wise-1", "object": "model", "created": 0, "owned_by": "us"}]})

    def do_POST(self) -> None:
        assert self.path == "/v1/chat/completions"
        asked = json.loads(self.rfile.read(int(self.headers["content-length"])))
        self.server.asked.append(asked)
        self.server.keys.add(self.headers.get("authorization"))
        found = SHOWN.fullmatch(asked["messages"][1]["content"])
        assert found is not None
        choice = {
            "index": 0,
            "finish_reason": "stop",
            "message": {"role": "assistant", "content": rule(*found.groups())},
        }
        usage = {"prompt_tokens": 100, "completion_tokens": 10, "total_tokens": 110}
        self._say(
            {"id": "x", "object": "chat.completion", "created": 0, "model": asked["model"], "choices": [choice],
             "usage": usage}
        )  # fmt: skip

    def _say(self, content: dict[str, Any]) -> None:
        said = json.dumps(content).encode()
        self.send_response(200)
        self.send_header("content-type", "application/json")
        self.send_header("content-length", str(len(said)))
        self.end_headers()
        self.wfile.write(said)


@pytest.fixture
def server() -> Iterator[JudgeServer]:
    running = JudgeServer()
    threading.Thread(target=running.serve_forever, daemon=True).start()
    try:
        yield running
    finally:
        running.shutdown()
        running.server_close()


@pytest.fixture
def run(tmp_path: Path) -> Path:
    task = tmp_path / "instructions"
    task.mkdir()
    (task / "task.yaml").write_text(YAML)
    return evaluated(tmp_path / "run", str(task))


def evaluated(folder: Path, task: str) -> Path:
    """A run folder in which three arms have replied."""
    recipe = Recipe(
        name="mine", scale="starter", task=Task(name=task), teacher=Teacher(name="t"), student=Student(name="s"),
        arms=("untrained", "verified", "arte"),
    )  # fmt: skip
    folder.mkdir()
    (folder / "recipe.yaml").write_text(yaml12.dump(recipe.model_dump(mode="json")), "utf-8")
    replies = {arm: [pair[place] for pair in REPLIES] for place, arm in enumerate(("arte", "verified"))}
    for arm, texts in (replies | {"untrained": ["bad"] * len(REPLIES)}).items():
        rows = [
            OpenSample(id=f"t{n}", slice="test", question=f"Request {n}?", gold="gold", text=text, loss=1.0, tokens=3)
            for n, text in enumerate(texts)
        ]
        (folder / "evaluate" / arm).mkdir(parents=True)
        write_rows(folder / "evaluate" / arm / "samples.jsonl", rows[::-1] if arm == "verified" else rows)
    return folder


def test_a_verdict_counts_where_both_orders_agree(run: Path, server: JudgeServer) -> None:
    found = judging.judge(run, None, None, "wise-1", Server(url=server.url))
    assert (found.a, found.b, found.judge, found.n) == ("arte", "verified", "wise-1", 7)
    assert (found.win, found.tie, found.loss, found.undecided) == (1, 2, 1, 3)
    assert found.difference == 0.0
    assert found.ci95[0] < 0 < found.ci95[1]
    # t0, t1: one first and one second each; t2: twice the first; t6: the first once
    assert (found.first, found.second, found.unread) == (5, 2, 3)
    assert (found.tokens_in, found.tokens_out) == (1200, 120)
    assert len(server.asked) == 12
    orders = [SHOWN.fullmatch(asked["messages"][1]["content"]) for asked in server.asked]
    shown = {found.groups() for found in orders if found is not None}
    assert {("Request 0?", "good", "bad"), ("Request 0?", "bad", "good")} < shown
    assert len(shown) == 12
    assert all(asked["temperature"] == 0 for asked in server.asked)
    rows = read_rows(run / "judge" / "arte-verified" / "verdicts.jsonl", Judgement)
    assert [(row.id, row.a_first, row.b_first, row.verdict) for row in rows] == [
        ("t0", "a", "a", "a"),
        ("t1", "b", "b", "b"),
        ("t2", "a", "b", None),
        ("t3", "tie", "tie", "tie"),
        ("t4", "tie", "tie", "tie"),
        ("t5", None, None, None),
        ("t6", "a", None, None),
    ]
    kept = json.loads((run / "judge" / "arte-verified" / "judged.json").read_text())
    assert kept == found.model_dump(mode="json")
    said = judging.lines(found)
    assert said[1] == "  1 won, 2 tied, 1 lost, 3 undecided (the orders disagree)"
    assert "  of 7 answers that preferred a reply, 5 took the one shown first" in said
    assert said[-1] == "open: which of arte and verified the judge prefers"


def test_answers_are_kept_and_faults_of_the_server_outlived(run: Path, server: JudgeServer) -> None:
    with proxy(server.url, ["429", "500", "malformed"]) as between:
        first = judging.judge(run, "arte", "untrained", "wise-1", Server(url=between.url, requests=2))
        assert sum(between.bodies.values()) == len(between.bodies) + 3
        assert len(server.asked) == len(between.bodies) == 12  # all but t1, where both say bad
    again = judging.judge(run, "arte", "untrained", "wise-1", Server(url=server.url))
    assert (again, len(server.asked)) == (first, 12)


def test_the_key_comes_from_the_environment_and_stands_nowhere(
    run: Path, server: JudgeServer, monkeypatch: pytest.MonkeyPatch
) -> None:
    settings = Server(url=server.url, key_variable="ARTE_JUDGE_KEY")
    with pytest.raises(EngineError, match=r"^--key-variable=ARTE_JUDGE_KEY: this variable is not set"):
        judging.judge(run, None, None, "wise-1", settings)
    monkeypatch.setenv("ARTE_JUDGE_KEY", "sk-of-a-test")
    judging.judge(run, None, None, "wise-1", settings, 2)
    assert server.keys == {"Bearer sk-of-a-test"}
    files = [file for file in run.rglob("*") if file.is_file()]
    assert len(files) > 5
    assert not any("sk-of-a-test" in file.read_text() for file in files)


def test_the_command(run: Path, server: JudgeServer) -> None:
    ended = command("judge", str(run), "--server", server.url, "--model", "wise-1", "--b", "untrained", "--test", "2")
    assert (ended.code, ended.err) == (0, "")
    lines = ended.out.splitlines()
    assert lines[0] == "arte against untrained on 2 test items, by wise-1 in both orders:"
    assert lines[1] == "  1 won, 1 tied, 0 lost, 0 undecided (the orders disagree)"
    other = command("judge", str(run), "--server", server.url, "--model", "wise-2")
    assert other.code == 1
    assert "serves no wise-2; did you mean wise-1? (--model; it serves wise-1)" in other.err


def test_what_cannot_be_judged_is_told(run: Path, tmp_path: Path) -> None:
    nowhere = Server(url="http://127.0.0.1:9/v1")
    with pytest.raises(EngineError, match=r"no server answers .* with --server, its /v1 included"):
        judging.judge(run, None, None, "wise-1", nowhere)
    with pytest.raises(WorkspaceError, match=r"no arm unaligned was evaluated \(evaluated: untrained, verified, a"):
        judging.judge(run, "unaligned", None, "wise-1", nowhere)
    with pytest.raises(WorkspaceError, match=r"holds no recipe.yaml"):
        judging.judge(tmp_path, None, None, "wise-1", nowhere)
    with pytest.raises(WorkspaceError, match=r"answers of starter are right or wrong and need no judge"):
        judging.judge(evaluated(tmp_path / "sums", "starter"), None, None, "wise-1", nowhere)
