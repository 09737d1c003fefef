"""What the parity gate finds of one file."""

from pydantic import BaseModel, ConfigDict, computed_field

from arte_export.distributions import Distributions
from arte_export.weights import Weights


class Greedy(BaseModel):
    """Greedy continuations of both sides.

    `match_tokens`: mean length of the common beginning, in tokens; `exact`: share of prompts with equal continuations;
    `answers_equal`: share with equal extracted answers.
    """

    model_config = ConfigDict(frozen=True)

    prompts: int
    tokens: float
    match_tokens: float
    exact: float
    answers_equal: float
    first_difference: str | None


class TaskAccuracy(BaseModel):
    """Accuracy of both sides on the same items, shares of 1, strict match.

    `difference` is file less model, `ci95` its interval. `*_flexible`: by flexible extraction.
    """

    model_config = ConfigDict(frozen=True)

    task: str
    n: int
    model: float
    file: float
    model_flexible: float
    file_flexible: float
    difference: float
    ci95: tuple[float, float]


class Parity(BaseModel):
    """What was found of one file; None is "not looked at". `notes`: limits of its runtime that it runs into."""

    model_config = ConfigDict(frozen=True)

    token_ids: bool
    vocabulary: bool
    chat_template: bool
    special_tokens: bool
    strings: int
    conversations: int
    weights: Weights | None
    distributions: Distributions | None
    greedy: Greedy | None
    task_accuracy: TaskAccuracy | None = None
    thresholds: dict[str, float | None]
    failed: list[str]
    why: list[str]
    notes: list[str] = []

    @computed_field  # type: ignore[prop-decorator]
    @property
    def passed(self) -> bool:
        """No check failed."""
        return not self.failed

    @computed_field  # type: ignore[prop-decorator]
    @property
    def greedy_match(self) -> float | None:
        """Share of prompts with equal greedy continuations."""
        return None if self.greedy is None else self.greedy.exact

    @computed_field  # type: ignore[prop-decorator]
    @property
    def mean_kld(self) -> float | None:
        """Nats."""
        return None if self.distributions is None else self.distributions.mean_kld.value

    @computed_field  # type: ignore[prop-decorator]
    @property
    def top1_agreement(self) -> float | None:
        """Share of positions with the same most probable token."""
        return None if self.distributions is None else self.distributions.top1_agreement.value

    @computed_field  # type: ignore[prop-decorator]
    @property
    def ppl_ratio(self) -> float | None:
        """Perplexity of the file over that of the model."""
        return None if self.distributions is None else self.distributions.ppl_ratio.value
