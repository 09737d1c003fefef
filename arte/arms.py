"""The arms of a run: what the student of each learns from, equally many examples in equally many tokens.

An arm is drafts of a teacher, checked or not, and a way to choose among them. The teacher is as it came, or aligned by
pairs; an arm may change the pairs to show what they are good for. What each control is for: ARTE's own tables
(arXiv 2406.19227, table 6) let a fixed style explain most of the gain, and have no arm with shuffled labels.
"""

from collections.abc import Sequence
from typing import Literal, NamedTuple, cast, get_args

from arte.recipe import Arm, PreferenceScore, Recipe

Choice = Literal["random", "best", "covered", "clustered", "style"]
PairsUsed = Literal["all", "questions", "rationales", "shuffled"]


class Made(NamedTuple):
    """How an arm's examples are made. `score` None is that of the recipe."""

    meaning: str
    aligned: bool = False
    checked: bool = True
    """Whether only drafts whose answer passed its check are used."""
    choice: Choice = "random"
    """Of drafts of a teacher as it came; see choice_of."""
    pairs: PairsUsed = "all"
    score: PreferenceScore | None = None


MADE: dict[Arm, Made] = {
    "untrained": Made("the student as it came"),
    "unaligned": Made("trained on drafts of the teacher as it came, unchecked", checked=False),
    "verified": Made("trained on drafts of the teacher as it came whose answers passed their checks"),
    "fixed_style": Made("trained on such drafts of the one style that the student prefers", choice="style"),
    "best_scored": Made("trained on such drafts with the highest scores", choice="best"),
    "clustered": Made("trained on the best of such drafts of each cluster", choice="clustered"),
    "covered": Made("trained on such drafts chosen so that every probe is taught", choice="covered"),
    "shuffled_pairs": Made("as arte, the labels of the pairs shuffled", aligned=True, pairs="shuffled"),
    "question_only": Made("as arte, aligned on pairs of questions only", aligned=True, pairs="questions"),
    "rationale_only": Made("as arte, aligned on pairs of rationales only", aligned=True, pairs="rationales"),
    **{
        cast(Arm, f"arte_{score}"): Made(f"as arte, with {score} as the score", aligned=True, score=score)
        for score in cast("tuple[PreferenceScore, ...]", get_args(PreferenceScore))
    },
    "arte": Made("trained on drafts of the teacher aligned with the student's preference", aligned=True),
}
"""In the usual order; the last arm of a run is the one that is shipped."""


def in_order(arms: Sequence[Arm]) -> list[Arm]:
    """In the usual order."""
    return [arm for arm in MADE if arm in arms]


def without_alignment(recipe: Recipe) -> Recipe:
    """The recipe without the arms that need an aligned teacher, where it says align.skip."""
    kept = tuple(arm for arm in recipe.arms if not MADE[arm].aligned)
    return recipe.model_copy(update={"arms": kept}) if recipe.align.skip and kept else recipe


def trained(arms: Sequence[Arm]) -> list[Arm]:
    """Those that train a student, in order."""
    return [arm for arm in in_order(arms) if arm != "untrained"]


def shipped(arms: Sequence[Arm]) -> Arm:
    """The arm whose student becomes files."""
    return in_order(arms)[-1]


def control(arms: Sequence[Arm]) -> Arm | None:
    """What arte is compared with first: the same drafts and checks without alignment, or without the checks too."""
    return next((arm for arm in ("verified", "unaligned") if arm in arms), None)


def comparisons(arms: Sequence[Arm]) -> list[tuple[Arm, Arm]]:
    """Which arms are compared, (a, b) for a - b: the shipped one with every other, each with the control, each with
    untrained."""
    taught = trained(arms)
    pairs = [(taught[-1], other) for other in reversed(in_order(arms)) if other != taught[-1]] if taught else []
    for other in (control(arms), "untrained"):
        pairs += [(arm, cast(Arm, other)) for arm in reversed(taught) if other in arms and arm != other]
    first: dict[frozenset[Arm], tuple[Arm, Arm]] = {}
    for pair in pairs:
        first.setdefault(frozenset(pair), pair)
    return list(first.values())


def score_of(arm: Arm, recipe: Recipe) -> PreferenceScore | None:
    """The score that an arm's examples depend on; None where they depend on none."""
    made = MADE[arm]
    if arm == "untrained" or not (made.aligned or made.choice != "random"):
        return None
    return made.score or recipe.prefer.score


def scores(recipe: Recipe) -> list[PreferenceScore]:
    """Every score that the arms ask for, the recipe's own first; none for a teacher that is aligned already."""
    reused = recipe.align.adapter is not None
    asked = {score_of(arm, recipe) for arm in recipe.arms if not (reused and MADE[arm].aligned)} - {None}
    return sorted(cast("set[PreferenceScore]", asked), key=lambda score: (score != recipe.prefer.score, score))


def elicits(recipe: Recipe) -> bool:
    """Whether an arm needs drafts of the teacher as it came: to be trained on, or to be scored."""
    return bool(scores(recipe)) or any(teacher_of(arm, recipe) is None for arm in trained(recipe.arms))


def choice_of(arm: Arm, recipe: Recipe) -> Choice:
    """How an arm's drafts are chosen: those of an aligned teacher as the recipe says."""
    return recipe.tailor.choose if MADE[arm].aligned else MADE[arm].choice


def teacher_of(arm: Arm, recipe: Recipe) -> Arm | None:
    """Which teacher drafts for an arm: as it came (None), or aligned for `arte` or for the arm itself."""
    made = MADE[arm]
    if not made.aligned:
        return None
    return "arte" if made.pairs == "all" and made.score in (None, recipe.prefer.score) else arm


def teachers(recipe: Recipe) -> list[Arm]:
    """The teachers that are to be aligned, by the arm that each is aligned for."""
    return in_order([teacher for arm in recipe.arms if (teacher := teacher_of(arm, recipe)) is not None])


def drafts_folder(teacher: Arm | None, turn: int) -> str:
    """Name of the stage in which a teacher (see teacher_of) drafted, as it was aligned in a round."""
    return stage_name("tailor", teacher, "arte", turn) if teacher else "elicit"


def tailored_scores_folder(arm: Arm, turn: int) -> str:
    """Name of the stage in which the drafts of an aligned teacher were scored to choose from them."""
    return f"{drafts_folder(arm, turn)}-scores"


def pairs_folder(arm: Arm, recipe: Recipe, turn: int) -> str:
    """Name of the stage whose pairs align an arm's teacher in a round."""
    score = score_of(arm, recipe)
    assert score is not None
    return scores_folder(score, recipe) if turn == 1 else stage_name("prefer", arm, "arte", turn)


def scores_folder(score: PreferenceScore, recipe: Recipe) -> str:
    """Name of the stage in which drafts were scored."""
    return stage_name("prefer", score, recipe.prefer.score)


def stage_name(stage: str, variant: str, usual: str, turn: int = 1) -> str:
    """Folder of a stage that is done more than once: `align` for the usual one, `align-VARIANT` for others, and
    `align-round-2` for either in a later round."""
    return "-".join([stage, *([] if variant == usual else [variant]), *([] if turn == 1 else [f"round-{turn}"])])
