import tempfile
from pathlib import Path
from typing import cast

from hypothesis import given
from hypothesis import strategies as st

from arte.generation import Answer, Finish
from arte.generation.kept_answers import KeptAnswers, key_of

ANSWERS = st.lists(
    st.builds(
        Answer,
        st.text(alphabet=st.characters(exclude_categories=["Cs"])),
        st.integers(0, 10**6),
        st.integers(0, 10**6),
        st.sampled_from(cast("list[Finish]", ["stop", "length", "too_long"])),
    ),
    max_size=6,
)


@given(ANSWERS, st.data())
def test_however_a_kill_cuts_the_file_whole_answers_stay(answers: list[Answer], data: st.DataObject) -> None:
    with tempfile.TemporaryDirectory() as scratch:
        path = Path(scratch) / "kept.jsonl"
        kept = KeptAnswers(path)
        ends = [0]
        for number, answer in enumerate(answers):
            kept.keep(str(number), answer)
            ends.append(path.stat().st_size)
        assert kept.take_new() == answers
        assert kept.take_new() == []
        cut = data.draw(st.integers(0, ends[-1]))
        path.write_bytes(path.read_bytes()[:cut])
        again = KeptAnswers(path)
        whole = sum(end <= cut for end in ends[1:])
        assert again.answers == {str(number): answer for number, answer in enumerate(answers[:whole])}
        assert again.take_new() == []
        again.keep("more", Answer("x", 1, 1, "stop"))  # onto what was whole
        assert len(KeptAnswers(path).answers) == whole + 1


def test_the_key_is_of_all_that_is_asked() -> None:
    asked = {"model": "m", "prompt": "Ada", "seed": 1, "temperature": 0.7}
    assert key_of(asked) == key_of(dict(reversed(asked.items())))
    others = [asked | change for change in ({"seed": 2}, {"model": "n"}, {"prompt": "Ada "}, {"stop": ["x"]})]
    assert len({key_of(other) for other in [asked, *others]}) == 5
