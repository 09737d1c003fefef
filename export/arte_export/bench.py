"""Speed and memory of device files on this machine: every step in a fresh child process, while this one sleeps.

Prefill (pp) and decode (tg) by the conventions of llama-bench (see bench_engine); time to first token as
measurement.TTFT_DEFINITION says. Files take turns, in an order shuffled for each round, so that a machine that warms up
or slows down does so for all of them. What disturbed a measurement is found by `noise`: it is repeated once, and marked
if it was disturbed again.
"""

import random
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from functools import partial
from importlib.metadata import PackageNotFoundError, version
from pathlib import Path
from typing import Annotated, Literal

import numpy as np
from pydantic import Field

from arte_export import bench_engine, child, device_file, noise, runtime
from arte_export.errors import BadModel, ExportError
from arte_export.measurement import EndToEnd, Engine, Frozen, InterToken, Measurement, Swept, Test, Timed
from arte_export.spread import spread

LIMIT_S = 3600.0
SWEEP_REPEATS = 2
ENGINES: dict[str, Engine] = {"gguf": "llama-cpp-python", "onnx": "onnxruntime-genai", "torch": "torch"}

Count = Annotated[int, Field(gt=0)]
Depth = Annotated[int, Field(ge=0)]
Say = Callable[[str], None]


class Plan(Frozen):
    """What is measured of each file. `threads` is by default every core this process may use, or the sweep's best."""

    prompt_tokens: Annotated[tuple[Count, ...], Field(min_length=1)] = (512,)
    generated_tokens: Count = 128
    depths: tuple[Depth, ...] = ()
    """Further depths at which the first prompt length and the generation are measured, beside 0."""
    repeats: Count = 5
    rounds: Count = 1
    threads: Count | None = None
    sweep: bool = False
    answer_tokens: Count = 128
    """Most tokens of an answer to a task prompt."""
    quiet_s: Annotated[float, Field(ge=0)] = 10.0
    """How long to wait for other processes to come to rest before each child; then it is measured and marked."""

    @property
    def headline(self) -> list[Test]:
        """The first prompt length and the generation, at depth 0."""
        return [
            Test(prompt_tokens=self.prompt_tokens[0], generated_tokens=0),
            Test(prompt_tokens=0, generated_tokens=self.generated_tokens),
        ]

    @property
    def further(self) -> list[Test]:
        """All other tests."""
        pp, tg = self.headline
        lengths = [Test(prompt_tokens=count, generated_tokens=0) for count in self.prompt_tokens[1:]]
        deep = [test.model_copy(update={"depth_tokens": depth}) for depth in self.depths if depth for test in (pp, tg)]
        return lengths + deep


class Subject(Frozen):
    """A file or folder to measure, and the rendered prompts that it is asked end to end, if any."""

    path: Path
    format: Literal["gguf", "onnx", "torch"]
    prompts: tuple[str, ...] = ()

    @property
    def bytes(self) -> int:
        """Of the file, or of all files of the folder."""
        return device_file.size_bytes(self.path)


@dataclass
class Gathered:
    """What was gathered of one subject, round by round."""

    threads: int
    rounds: list[bench_engine.Runs] = field(default_factory=list)
    peak_rss: int = 0
    unsteady: list[str] = field(default_factory=list)


def subject(path: Path, home: Path, prompts: Sequence[str] = ()) -> Subject:
    """What is at a path. Raises BadModel where it is neither a .gguf file, an ONNX folder nor a model folder, or one
    that cannot be measured."""
    from arte_export import model_folder

    path = path.resolve()
    if not path.exists():
        raise BadModel(f"{path}: no such file; expected a .gguf file, an ONNX folder or a model folder")
    found = device_file.recognised(path, home)
    if found is not None and found.format == "onnx-optimum":
        raise BadModel(
            f"{path}: is of optimum's layout, which no engine here times; measure the same model as onnx:int8 "
            "(arte export MODEL --to onnx:int8)"
        )
    if found is None:
        model_folder.inspect(path)
        return Subject(path=path, format="torch", prompts=tuple(prompts))
    if found.format == "gguf":
        from arte_export import gguf_header

        gguf_header.read(path)  # says where a broken file ends, which llama.cpp does not
    form: Literal["gguf", "onnx"] = "gguf" if found.format == "gguf" else "onnx"
    return Subject(path=path, format=form, prompts=tuple(prompts))


def measure(subjects: Sequence[Subject], plan: Plan, say: Say = lambda _: None, seed: int = 0) -> list[Measurement]:
    """One measurement of each subject, in their order.

    Raises BadModel, MissingExtra, ChildDied, and ExportError where tokens do not fit a model's context or a file does
    not fit the memory that is left.
    """
    for each in subjects:
        check_room_in_memory(each)
    if plan.threads is not None and plan.threads > runtime.cores():
        say(f"warning: {plan.threads} threads on {runtime.cores()} cores: they will wait for each other")
    sweeps = {each.path: _sweep(each, plan, say) if plan.sweep else [] for each in subjects}
    found = {each.path: Gathered(plan.threads or _best(sweeps[each.path])) for each in subjects}
    order = list(subjects)
    shuffled = random.Random(seed)
    for number in range(plan.rounds):
        shuffled.shuffle(order)
        for each in order:
            say(f"round {number + 1} of {plan.rounds}: {each.path.name}")
            one_round(each, found[each.path], plan, seed + number)
    return [whole(each, found[each.path], sweeps[each.path], plan, say) for each in subjects]


def one_round(each: Subject, found: Gathered, plan: Plan, seed: int) -> bench_engine.Runs:
    """The headline tests in one child process, added to `found`; once more where something disturbed them."""
    said: list[str] = []
    for _attempt in range(2):
        began = noise.wait_for_quiet(plan.quiet_s, runtime.cores())
        watch = noise.Watch()
        call = partial(bench_engine.runs, each.format, each.path, found.threads, plan.headline, plan.repeats, seed)
        finished = child.run(call, holding=each.path, limit_s=LIMIT_S)
        said = ([began] if began else []) + watch.found(runtime.cores())
        said += [line for timed in finished.result.tests if (line := noise.disagreement(timed.test.name, timed.tok_s))]
        if not said:
            break
    found.rounds.append(finished.result)
    found.peak_rss = max(found.peak_rss, finished.peak_rss_bytes)
    found.unsteady += said
    return finished.result


def started(plan: Plan) -> Gathered:
    """Nothing gathered yet, for `one_round`."""
    return Gathered(plan.threads or runtime.cores())


def check_room_in_memory(each: Subject) -> None:
    """Raises ExportError where the subject is larger than the memory that is left on this machine."""
    check_memory(each.path, each.bytes, _available_bytes())


def check_memory(path: Path, file_bytes: int, available_bytes: int) -> None:
    """Raises ExportError where a file is larger than the memory that is left: it would be read again and again."""
    if file_bytes > available_bytes:
        raise ExportError(
            f"{path}: has {file_bytes / 1e6:,.0f} MB, and {available_bytes / 1e6:,.0f} MB of memory are free; it was "
            "not loaded. Close other programs, or measure a smaller scheme"
        )


def whole(each: Subject, found: Gathered, sweep: list[Swept], plan: Plan, say: Say = lambda _: None) -> Measurement:
    """What was gathered in at least one round, with the loads, the further tests and the answers measured now."""
    say(f"loads and further tests: {each.path.name}")
    room = max(plan.prompt_tokens[0], plan.generated_tokens)
    loading = partial(bench_engine.loads, each.format, each.path, found.threads, room, plan.repeats)
    loads = child.run(loading, holding=each.path, limit_s=LIMIT_S).result
    tests = [
        Timed(test=test, seconds=[value for run in found.rounds for value in run.tests[place].seconds])
        for place, test in enumerate(plan.headline)
    ]
    pp, tg = (timed.tok_s for timed in tests)
    if plan.further:
        running = partial(bench_engine.runs, each.format, each.path, found.threads, plan.further, plan.repeats, 0)
        tests += child.run(running, holding=each.path, limit_s=LIMIT_S).result.tests
    if len(found.rounds) > 1:
        for name, place in (("pp", 0), ("tg", 1)):
            medians = [float(np.median(run.tests[place].tok_s)) for run in found.rounds]
            apart = (max(medians) - min(medians)) / float(np.median(medians))
            if apart > noise.SPREAD:
                found.unsteady.append(f"rounds of {name} lie {apart:.0%} apart")
    first = found.rounds[0]
    joules = [run.decode_j for run in found.rounds if run.decode_j is not None]
    return Measurement(
        file=each.path.name,
        format=each.format,
        bytes=each.bytes,
        engine=ENGINES[each.format],
        engine_version=_version(ENGINES[each.format]),
        threads=found.threads,
        prompt_tokens=plan.prompt_tokens[0],
        generated_tokens=plan.generated_tokens,
        load_cold_s=spread(loads.cold_s) if loads.cold_s else None,
        load_s=spread(loads.warm_s),
        ttft_s=spread([value for run in found.rounds for value in run.ttft_s]),
        pp_tok_s=spread(pp),
        tg_tok_s=spread(tg),
        tests=tests,
        inter_token_s=_inter_token([value for run in found.rounds for value in run.token_s]),
        end_to_end=_end_to_end(each, found.threads, plan),
        peak_rss_bytes=found.peak_rss,
        mapped_bytes=first.mapped_bytes,
        energy_j_per_token=float(np.median(joules)) if joules else None,
        sweep=sweep,
        unsteady=list(dict.fromkeys(found.unsteady)),
        **first.facts.model_dump(),
    )


def _sweep(each: Subject, plan: Plan, say: Say) -> list[Swept]:
    """Medians at 1, 2, 4, … threads up to every core, or up to the number that was asked for."""
    most = plan.threads or runtime.cores()
    counts = sorted({most} | {2**power for power in range(most.bit_length()) if 2**power <= most})
    swept = []
    for threads in counts:
        say(f"threads {threads}: {each.path.name}")
        call = partial(bench_engine.runs, each.format, each.path, threads, plan.headline, SWEEP_REPEATS, 0)
        pp, tg = child.run(call, holding=each.path, limit_s=LIMIT_S).result.tests
        swept.append(Swept(threads=threads, pp_tok_s=float(np.median(pp.tok_s)), tg_tok_s=float(np.median(tg.tok_s))))
    return swept


def _best(sweep: list[Swept]) -> int:
    """The threads that decode fastest: decoding is what a user waits for longest."""
    return max(sweep, key=lambda swept: swept.tg_tok_s).threads if sweep else runtime.cores()


def _inter_token(seconds: list[float]) -> InterToken:
    p50, p90, p99 = (float(value) for value in np.percentile(seconds, [50, 90, 99]))
    return InterToken(count=len(seconds), p50=p50, p90=p90, p99=p99)


def _end_to_end(each: Subject, threads: int, plan: Plan) -> EndToEnd | None:
    if not each.prompts:
        return None
    call = partial(bench_engine.replies, each.format, each.path, threads, list(each.prompts), plan.answer_tokens)
    found = child.run(call, holding=each.path, limit_s=LIMIT_S).result
    return EndToEnd(
        prompts=len(each.prompts),
        tokens_in=sum(found.tokens_in),
        tokens_out=sum(found.tokens_out),
        seconds=spread(found.seconds),
        ttft_s=spread(found.ttft_s),
    )


def _available_bytes() -> int:
    import psutil

    return int(psutil.virtual_memory().available)


def _version(package: str) -> str | None:
    try:
        return version(package)
    except PackageNotFoundError:
        return None
