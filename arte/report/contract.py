"""report.json as typed models. Tools read this file: a field may be added, none may change its meaning.

Absent is null, never 0. Accuracies and differences are shares (0.412), times are seconds, sizes are bytes.
"""

from typing import Any, Literal, cast

from arte_export.measurement import InterToken, Swept, Test
from pydantic import BaseModel, ConfigDict, Field

from arte.ledger import Call
from arte.recipe import Arm
from arte.report.statistics import Spread
from arte.stages.overlap import Overlap
from arte.tasks.located import Read

Metric = Literal["strict-match", "flexible-extract", "acc", "acc_norm"]
METRICS: tuple[Metric, ...] = ("strict-match", "flexible-extract", "acc", "acc_norm")
"""The last two, of the likeliest option, only where a task has options."""


class Part(BaseModel):
    """A frozen piece of the report; an unknown field is an error."""

    model_config = ConfigDict(frozen=True, extra="forbid")


class OpenPart(BaseModel):
    """A piece that another package measured: fields that it adds are passed on as they are."""

    model_config = ConfigDict(frozen=True, extra="allow")


class Machine(OpenPart):
    cpu: str | None = None
    cores: int | None = None
    memory_bytes: int | None = None
    accelerator: str | None = None
    versions: dict[str, str | None] = {}


class Model(OpenPart):
    name: str
    source: str | None = None
    sha256: str | None = None
    parameters: int | None = None


class Models(Part):
    teacher: Model | None = None
    student: Model | None = None


class Stage(Part):
    name: str
    seconds: float | None = None
    kept: bool = False
    tokens_in: int | None = None
    tokens_out: int | None = None
    peak_rss_bytes: int | None = None


class Planned(OpenPart):
    """What the plan said of a stage before the run."""

    stage: str
    seconds: float | None = None
    tokens_in: int | None = None
    tokens_out: int | None = None
    money: float | None = None
    note: str | None = None


class Rejected(Part):
    unparsed: int = 0
    inconsistent: int = 0
    duplicate: int = 0
    contaminated: int = 0
    too_long: int = 0
    """Prompts that, with their answer, do not fit into the teacher's context."""


class Tally(Part):
    drafted: int
    accepted: int
    rejected: Rejected


class TeacherData(Tally):
    """Drafts of one teacher. A draft is a question with a solution; a question that falls counts once."""

    teacher: Literal["unaligned", "aligned"]
    questions: Tally
    rationales: Tally


class Data(Tally):
    """Drafts of all teachers, then each teacher's own.

    `examples` is how many each arm was trained on; among them are so many seed problems with their own solutions, each
    `seed_copies` times.
    """

    teachers: list[TeacherData]
    examples: dict[str, int]
    seeds: int
    seed_copies: int


class Preference(Part):
    score: str
    probes: int
    evaluations: int
    pairs: int
    question_pairs: int
    rationale_pairs: int
    margin: Spread | None
    dropped: dict[str, dict[str, int]] = {}
    """Pairs that were not made, by level and reason."""
    draft_scores: list[float]
    """Mean over the probes for every scored draft, best first."""
    baseline: float | None
    """Mean over the probes with no example in the prompt."""


class Draft(Part):
    """A scored draft in full."""

    id: str
    score: float
    question: str
    rationale: str
    answer: str | None
    style: str


class Examples(Part):
    best: list[Draft]
    worst: list[Draft]


class Curve(Part):
    """One logged quantity of one training, by optimizer step."""

    stage: Literal["align", "distill"]
    arm: str | None
    metric: str
    steps: list[int]
    values: list[float | None]


class Accuracy(Part):
    arm: str
    artefact: str
    """`model` for the torch student, else the name of the file."""
    task: str
    metric: Metric
    slice: str
    """`test`, `unseen` (templates met nowhere else), or `steps=N`: the part of `test` that takes N operations."""
    n: int
    correct: int
    accuracy: float
    ci95: tuple[float, float]


class Comparison(Part):
    """a − b on the same items. `a` or `b` is an arm, or the name of a file (against the torch student it came from)."""

    a: str
    b: str
    metric: Metric
    slice: str
    n: int
    difference: float
    ci95: tuple[float, float]
    p: float
    test: str = "paired bootstrap"


class LmScore(OpenPart):
    """A score of one of lm-eval's own tasks, as an arm's student answered it (arte.stages.lm_tasks)."""

    arm: str
    task: str
    metric: str
    filter: str
    value: float | None
    standard_error: float | None
    n: int
    higher_is_better: bool | None
    source: str | None = None
    change: float | None = None
    """Minus the untrained student's, on the same documents; null for that one, and where it is no mean of theirs."""
    change_ci95: tuple[float, float] | None = None

    @property
    def title(self) -> str:
        """`gsm8k, exact_match (strict-match)`."""
        return f"{self.task}, {self.metric}" + ("" if self.filter == "none" else f" ({self.filter})")

    @property
    def verdict(self) -> str:
        """What the change is, beyond chance or not."""
        if self.change_ci95 is None:
            return "–"
        low, high = self.change_ci95
        if low <= 0 <= high:
            return "not shown"
        return "better" if (low > 0) == (self.higher_is_better is not False) else "worse"


class Parity(OpenPart):
    token_ids: bool | None = None
    chat_template: bool | None = None
    special_tokens: bool | None = None
    greedy_match: float | None = None
    mean_kld: float | None = None
    top1_agreement: float | None = None
    ppl_ratio: float | None = None
    passed: bool | None = None


class Artefact(OpenPart):
    file: str
    format: str
    scheme: str
    bytes: int
    sha256: str | None = None
    parity: Parity | None = None


class Timed(OpenPart):
    """A test and the seconds of each of its runs."""

    test: Test
    seconds: list[float]

    @property
    def tok_s(self) -> Spread | None:
        """(prompt + generated tokens) / seconds of the runs."""
        tokens = self.test.prompt_tokens + self.test.generated_tokens
        return Spread.of(tokens / seconds for seconds in self.seconds)


class EndToEnd(OpenPart):
    """Real task prompts, answered one at a time."""

    prompts: int
    tokens_in: int
    tokens_out: int
    seconds: Spread
    ttft_s: Spread


class Measurement(OpenPart):
    """What arte_export.measurement has of a file; runs from before a field was measured leave it null or empty."""

    file: str
    device: str
    how: Literal["measured", "estimate"]
    format: str | None = None
    bytes: int | None = None
    engine: str | None = None
    threads: int | None = None
    load_cold_s: Spread | None = None
    load_s: Spread | None = None
    ttft_s: Spread | None = None
    pp_tok_s: Spread | None = None
    tg_tok_s: Spread | None = None
    tests: list[Timed] = []
    inter_token_s: InterToken | None = None
    end_to_end: EndToEnd | None = None
    peak_rss_bytes: int | None = None
    mapped_bytes: int | None = None
    """The part of the resident memory that is mapped files."""
    energy_j_per_token: float | Spread | None = None
    sweep: list[Swept] = []
    unsteady: list[str] = []
    """Why the figures are not to be trusted to their last digit."""


class BudgetLine(OpenPart):
    """One line of a device's budget, and what was found; value and limit are in the unit of the term."""

    term: str
    sign: str
    limit: float
    value: float | None = None
    spread: Spread | None = None
    """Of what was measured."""
    low: float | None = None
    """With `high`, the interval of an estimate."""
    high: float | None = None
    result: str
    """`pass`, `fail`, `likely hold`, `likely miss` (estimates), or `open` where nothing is known."""
    text: str


class Verdict(OpenPart):
    device: str
    file: str
    result: Literal["pass", "fail", "estimate"]
    why: str
    lines: list[BudgetLine] | None = None
    """Null in runs from before lines were kept; empty where nothing was demanded."""


class Report(BaseModel):
    model_config = ConfigDict(frozen=True, extra="forbid", populate_by_name=True)

    schema_version: Literal[1] = Field(1, alias="schema")
    recipe: str
    scale: str
    task: str
    data_source: str | None
    """Where the test problems come from, in words."""
    data_licence: str | None = None
    data_read: list[Read] = []
    """Files and hub data sets, with digests and commits; empty in runs from before they were noted."""
    seed: int
    arte_version: str | None
    machine: Machine | None
    models: Models
    model_bytes: int | None
    """Weights of the torch student of `student_arm`."""
    student_arm: str | None
    """The arm whose student was exported."""
    stages: list[Stage]
    plan: list[Planned]
    ledger: list[Call] = []
    """By stage and engine, all processes of the run together; what was thrown away and done again counts too."""
    data: Data | None
    overlaps: list[Overlap] = []
    """What each arm was trained on, held against every test."""
    preference: Preference | None
    examples: Examples | None
    training: list[Curve]
    accuracy: list[Accuracy]
    comparisons: list[Comparison]
    lm_tasks: list[LmScore] = []
    """Of evaluate.tasks."""
    artefacts: list[Artefact]
    measurements: list[Measurement]
    verdicts: list[Verdict]
    commands: list[str]
    """As typed; empty where none was kept."""
    settings: dict[str, Any]
    """The resolved recipe."""

    @property
    def arms(self) -> list[Arm]:
        """The arms whose students were evaluated."""
        return list(dict.fromkeys(cast(Arm, row.arm) for row in self.accuracy if row.artefact == "model"))

    def found(
        self, arm: str, artefact: str = "model", metric: Metric = "strict-match", slice: str = "test"
    ) -> Accuracy | None:
        """The accuracy row with these keys, or null."""
        wanted = (arm, artefact, metric, slice)
        return next((row for row in self.accuracy if (row.arm, row.artefact, row.metric, row.slice) == wanted), None)

    def compared(self, a: str, b: str, metric: Metric = "strict-match", slice: str = "test") -> Comparison | None:
        """The comparison row with these keys, or null."""
        wanted = (a, b, metric, slice)
        return next((row for row in self.comparisons if (row.a, row.b, row.metric, row.slice) == wanted), None)

    def measured(self, file: str) -> Measurement | None:
        """The first measurement of the file, or null."""
        return next((row for row in self.measurements if row.file == file), None)

    def json_text(self) -> str:
        """The text of report.json."""
        return self.model_dump_json(by_alias=True, indent=1) + "\n"
