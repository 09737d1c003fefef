from arte import arms
from arte.recipe import Arm, Prefer, Recipe, Student, Task, Teacher


def recipe(*names: Arm, score: str = "icl_logprob") -> Recipe:
    return Recipe(
        name="r", scale="starter", task=Task(name="starter"), teacher=Teacher(name="t"), student=Student(name="s"),
        arms=names, prefer=Prefer.model_validate({"score": score}),
    )  # fmt: skip


def test_the_usual_three() -> None:
    usual = recipe("arte", "untrained", "verified")
    assert arms.in_order(usual.arms) == ["untrained", "verified", "arte"]
    assert arms.trained(usual.arms) == ["verified", "arte"]
    assert (arms.shipped(usual.arms), arms.control(usual.arms)) == ("arte", "verified")
    assert arms.scores(usual) == ["icl_logprob"]
    assert arms.teachers(usual) == ["arte"]
    assert arms.comparisons(usual.arms) == [("arte", "verified"), ("arte", "untrained"), ("verified", "untrained")]


def test_what_no_arm_needs_is_not_done() -> None:
    alone = recipe("untrained")
    assert (arms.trained(alone.arms), arms.scores(alone), arms.teachers(alone)) == ([], [], [])
    assert arms.comparisons(alone.arms) == []
    plain = recipe("unaligned", "verified")
    assert (arms.scores(plain), arms.teachers(plain), arms.shipped(plain.arms)) == ([], [], "verified")
    assert arms.comparisons(plain.arms) == [("verified", "unaligned")]
    scored = recipe("covered", "verified")
    assert (arms.scores(scored), arms.teachers(scored)) == (["icl_logprob"], [])


def test_an_aligned_teacher_that_is_taken_over_needs_no_scores() -> None:
    def reused(*names: Arm) -> Recipe:
        given = recipe(*names)
        return given.model_copy(update={"align": given.align.model_copy(update={"adapter": "runs/before"})})

    alone = reused("untrained", "arte")
    assert (arms.scores(alone), arms.elicits(alone), arms.teachers(alone)) == ([], False, ["arte"])
    assert arms.elicits(recipe("untrained", "arte"))
    assert arms.elicits(reused("verified", "arte"))
    assert arms.scores(reused("best_scored", "arte")) == ["icl_logprob"]
    assert not arms.elicits(recipe("untrained"))


def test_each_variant_has_its_own_teacher_and_the_same_one_is_aligned_once() -> None:
    many = recipe("arte", "arte_icl_logprob", "arte_likelihood", "shuffled_pairs", "best_scored")
    assert arms.teacher_of("arte_icl_logprob", many) == "arte"
    assert arms.teachers(many) == ["shuffled_pairs", "arte_likelihood", "arte"]
    assert arms.scores(many) == ["icl_logprob", "likelihood"]
    assert arms.teacher_of("best_scored", many) is None
    other = recipe("arte_icl_logprob", score="influence")
    assert arms.teachers(other) == ["arte_icl_logprob"]
    assert arms.scores(other) == ["icl_logprob"]
    assert arms.scores_folder("icl_logprob", other) == "prefer-icl_logprob"
    assert arms.scores_folder("influence", other) == "prefer"
    folders = [arms.drafts_folder(teacher, turn) for teacher in (None, "arte", "shuffled_pairs") for turn in (1, 2)]
    assert folders == [
        *("elicit", "elicit"),
        *("tailor", "tailor-round-2"),
        *("tailor-shuffled_pairs", "tailor-shuffled_pairs-round-2"),
    ]
    assert [arms.pairs_folder("shuffled_pairs", many, turn) for turn in (1, 2)] == [
        "prefer",
        "prefer-shuffled_pairs-round-2",
    ]


def test_every_pair_of_arms_is_compared_once_at_most() -> None:
    found = arms.comparisons(list(arms.MADE))
    assert len({frozenset(pair) for pair in found}) == len(found)
    others = [arm for arm in arms.MADE if arm not in ("arte",)]
    assert found[: len(others)] == [("arte", arm) for arm in reversed(others)]
    assert ("unaligned", "verified") in found
    assert ("covered", "verified") in found
    assert ("covered", "untrained") in found
    assert ("covered", "best_scored") not in found
