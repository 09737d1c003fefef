"""Knowledge elicitation (paper, section 3.1): the teacher drafts questions, and rationales in several styles.

Round after round, a batch of prompts is drafted into questions with their solutions, and those that pass their checks
into one rationale for each style, until enough questions have an accepted rationale or the attempts are spent. A round
is the same whatever was done before it in another process: its seeds come from the run's seed and the round's number.
Where a run is over several tasks, a prompt is of one of them, and those that still want questions have equal shares of
a round's prompts.
"""

import json
import random
import zlib
from collections import Counter
from collections.abc import Callable, Sequence

from arte.atomic import replace_text
from arte.errors import StageError
from arte.generation import Answer, Engine, Message, Prompt
from arte.jsonl import RowLog
from arte.progress import progress
from arte.recipe import Elicit, Style
from arte.rows import Item, Question, Rationale
from arte.stages.checks import TOO_LONG, QuestionCheck, check_rationales
from arte.tasks.mixture import by_task, first_of_each
from arte.tasks.task import Draft, Task, Taught
from arte.workspace import Figures, StageFolder

DRAFTED = "drafted"
"""The style of the solution that a question was drafted with."""


class Drafting:
    """The work of one elicit or tailor stage."""

    def __init__(
        self,
        folder: StageFolder,
        engine: Engine,
        task: Taught,
        seeds: Sequence[Item],
        held_out: Sequence[Item],
        settings: Elicit,
        *,
        styles: Sequence[Style | None],
        explained: int | None,
        rationale_temperature: float,
        seed: int,
    ) -> None:
        self.engine = engine
        self.task = task
        self.seeds = {name: _shown(those, settings) for name, those in by_task(seeds).items()}
        self.settings = settings
        self.styles = styles
        self.explained = explained
        self.rationale_temperature = rationale_temperature
        self.seed = seed
        self.questions = RowLog(folder.path / "questions.jsonl", Question)
        self.rationales = RowLog(folder.path / "rationales.jsonl", Rationale)
        self.check = QuestionCheck(seeds, held_out, settings.near_duplicate, settings.contamination_words)
        for question in self.questions.rows:
            if question.check.accepted:
                self.check.add(question.id, question.text)
        # By the name of the call, so that a call made again after a kill is counted once.
        self._tokens_file = folder.path / "tokens.json"
        self._tokens: dict[str, tuple[int, int]] = (
            json.loads(self._tokens_file.read_text(encoding="utf-8")) if self._tokens_file.exists() else {}
        )

    @property
    def figures(self) -> Figures:
        """Tokens of all prompts and drafts, those of earlier processes too."""
        return Figures(
            tokens_in=sum(read for read, _ in self._tokens.values()),
            tokens_out=sum(drawn for _, drawn in self._tokens.values()),
        )

    @property
    def solved(self) -> Counter[str | None]:
        """Accepted questions that have an accepted rationale, by task."""
        tasks = {row.id: row.task for row in self.questions.rows}
        return Counter(tasks[each] for each in {row.question_id for row in self.rationales.rows if row.check.accepted})

    @property
    def open(self) -> list[str | None]:
        """Tasks that have neither enough solved questions nor spent their attempts."""
        solved, drafted = self.solved, Counter(row.task for row in self.questions.rows)
        asked, most = self.settings.questions, self.settings.attempts * self.settings.questions
        return [name for name in self.seeds if solved[name] < asked and drafted[name] < most]

    def run(self, told: Callable[[int], None]) -> None:
        """Drafts until enough are solved or the attempts are spent; `told` hears how many are solved so far."""
        while True:
            turn = self.rationales.batches_done
            if self.questions.batches_done == turn:
                if not self.open:
                    return
                self.questions.append_batch(self._draft_questions(turn))
            self.rationales.append_batch(self._draft_rationales(turn))
            told(self.solved.total())

    def _draft_questions(self, turn: int) -> list[Question]:
        count, each = self.settings.questions_per_prompt, self.settings.completions
        shown = self.settings.seeds_per_prompt + self.settings.drafts_per_prompt
        open_, earlier = self.open, by_task(self._solved_items() if self.settings.drafts_per_prompt else [])
        size = max(1, self.settings.batch_size // (count * each))
        asked: list[tuple[str | None, Task]] = []
        prompts: list[list[Message]] = []
        for place in range(size):
            name = open_[(turn * size + place) % len(open_)]
            examples = self._examples(name, earlier.get(name, []), self._random("seeds", turn, place))
            task = self.task.of(examples[0])
            asked += [(name, task)] * each
            prompts += [task.question_prompt(examples, count)] * each
        drafted = []
        answers = self._generate(
            prompts,
            f"questions-{turn}",
            self.settings.question_tokens,
            self.settings.temperature,
            stop=list(dict.fromkeys(task.question_stop(shown, count) for _, task in asked)),
            alike=each,
        )
        for place, ((name, task), prompt, answer) in enumerate(zip(asked, prompts, answers, strict=True)):
            listed = task.parse_questions(prompt[-1]["content"] + answer.text)
            if answer.finish == "length":  # the last may have half an answer: 12 of 120
                listed = listed[:-1]
            found = listed[shown : shown + count]
            for number, draft in enumerate(found or [Draft(answer.text, None, None)]):
                is_read = draft.target is not None or (task.open_ended and bool(found))
                check = self.check.check(draft.question if is_read else None)
                if answer.finish == "too_long":
                    check = TOO_LONG
                row = Question(
                    task=name,
                    id=f"q{turn}-{place}-{number}",
                    text=draft.question,
                    solution=draft.solution,
                    target=draft.target,
                    prompt=json.dumps(prompt, ensure_ascii=False),
                    check=check,
                )
                if check.accepted:
                    self.check.add(row.id, row.text)
                drafted.append(row)
        return drafted

    def _examples(self, name: str | None, earlier: Sequence[Item], draw: random.Random) -> list[Item]:
        """What a prompt of a task shows: its seeds, and earlier drafts of it among them where there are enough."""
        seeds, drafts = self.settings.seeds_per_prompt, self.settings.drafts_per_prompt
        if len(earlier) < drafts or not drafts:
            return draw.sample(self.seeds[name], seeds + drafts)
        shown = [*draw.sample(self.seeds[name], seeds), *draw.sample(list(earlier), drafts)]
        return draw.sample(shown, len(shown))

    def _solved_items(self) -> list[Item]:
        """The questions of earlier rounds that have an accepted rationale, each with its first."""
        questions = {row.id: row for row in self.questions.rows}
        items: dict[str, Item] = {}
        for row in self.rationales.rows:
            if row.check.accepted and row.answer is not None:
                question = questions[row.question_id]
                item = Item(
                    task=question.task, id=question.id, question=question.text, rationale=row.text, answer=row.answer
                )
                items.setdefault(question.id, item)
        return list(items.values())

    def _draft_rationales(self, turn: int) -> list[Rationale]:
        accepted = [row for row in self.questions.rows if row.check.accepted]
        questions = [row for row in accepted if row.id.startswith(f"q{turn}-")]
        explained = accepted if self.explained is None else first_of_each(accepted, self.explained)
        explained = [row for row in explained if row.id.startswith(f"q{turn}-")]
        parsed: dict[str, list[tuple[str, str | None]]] = {row.id: [] for row in questions}
        too_long: set[tuple[str, int]] = set()
        for number, style in enumerate(self.styles):
            prompts = [self.task.of(question).rationale_prompt(question.text, style) for question in explained]
            answers = self._generate(
                prompts,
                f"rationales-{turn}-{number}",
                self.settings.rationale_tokens,
                self.rationale_temperature,
                schemas=[self.task.of(question).reply_schema for question in explained],
            )
            for question, answer in zip(explained, answers, strict=True):
                drafts = parsed[question.id]
                if answer.finish == "too_long":
                    too_long.add((question.id, len(drafts)))
                # What was cut at the token limit holds numbers too, but no answer.
                whole = answer.finish == "stop"
                parse = self.task.of(question).parse_rationale
                drafts.append(parse(answer.text) if whole else (answer.text, None))
        rows = []
        for question in questions:
            task, drafts = self.task.of(question), parsed[question.id]
            styles: list[str] = [asked or "naive" for asked in self.styles[: len(drafts)]]
            # One solution more, and one vote for its answer.
            if not task.open_ended and (question.solution is not None or not task.explains):
                drafts.append((question.solution or "", question.target))
                styles.append(DRAFTED)
            checks = check_rationales(task, drafts)
            for number, (label, (solution, found), check) in enumerate(zip(styles, drafts, checks, strict=True)):
                rows.append(
                    Rationale(
                        id=f"{question.id}-r{number}",
                        question_id=question.id,
                        style=label,
                        text=solution,
                        answer=found,
                        check=TOO_LONG if (question.id, number) in too_long else check,
                    )
                )
        return rows

    def _generate(
        self,
        prompts: Sequence[Sequence[Message]],
        name: str,
        max_tokens: int,
        temperature: float,
        stop: Sequence[str] = (),
        schemas: Sequence[str | None] = (),
        alike: int = 1,
    ) -> list[Answer]:
        """`alike`: prompts in a row that are the same."""
        if not prompts:
            return []
        held = schemas or [None] * len(prompts)
        answers = self.engine.generate(
            [
                Prompt(
                    self.engine.render(prompt),
                    zlib.crc32(f"{self.seed}-{name}-{place}".encode()),
                    group=place // alike if alike > 1 else 0,
                    schema=held[place],
                )
                for place, prompt in enumerate(prompts)
            ],
            max_tokens=max_tokens,
            temperature=temperature,
            top_p=self.settings.top_p,
            stop=stop,
        )
        self._tokens[name] = (sum(answer.tokens_in for answer in answers), sum(answer.tokens_out for answer in answers))
        replace_text(self._tokens_file, json.dumps(self._tokens))
        return answers

    def _random(self, *name: object) -> random.Random:
        return random.Random("-".join(str(part) for part in (self.seed, *name)))


def elicit(
    folder: StageFolder,
    engine: Engine,
    task: Taught,
    seeds: Sequence[Item],
    held_out: Sequence[Item],
    settings: Elicit,
    *,
    styles: Sequence[Style | None],
    explained: int | None,
    rationale_temperature: float,
    seed: int,
) -> Figures:
    """Writes questions.jsonl and rationales.jsonl, every draft with its check.

    Styles: one rationale each for the first `explained` accepted questions, or all; None is the naive prompt. Raises
    StageError where no draft at all is accepted.
    """
    drafting = Drafting(
        folder,
        engine,
        task,
        seeds,
        held_out,
        settings,
        styles=styles,
        explained=explained,
        rationale_temperature=rationale_temperature,
        seed=seed,
    )
    with progress("questions with an accepted rationale", settings.questions * len(drafting.seeds)) as told:
        told(drafting.solved.total())
        drafting.run(told)
    if not drafting.solved.total():
        raise StageError(_nothing_accepted(drafting.questions.rows, drafting.rationales.rows))
    return drafting.figures


def _shown(seeds: Sequence[Item], settings: Elicit) -> list[Item]:
    """The seeds that the teacher may see. Raises StageError where a prompt asks for more than there are."""
    shown = [seed for seed in seeds if seed.steps is None or seed.steps >= settings.least_steps]
    needed = settings.seeds_per_prompt + settings.drafts_per_prompt
    if len(shown) < needed:
        drafts = f" + elicit.drafts_per_prompt={settings.drafts_per_prompt}" if settings.drafts_per_prompt else ""
        raise StageError(
            f"elicit.least_steps={settings.least_steps} leaves {len(shown)} of {len(seeds)} seeds, and a prompt shows "
            f"elicit.seeds_per_prompt={settings.seeds_per_prompt}{drafts}: lower one of them, or raise task.seeds"
        )
    return shown


def _nothing_accepted(questions: Sequence[Question], rationales: Sequence[Rationale]) -> str:
    def fallen(rows: Sequence[Question] | Sequence[Rationale]) -> str:
        return ", ".join(f"{n} {why}" for why, n in Counter(r.check.reason or "accepted" for r in rows).most_common())

    example = next((row.text for row in questions if not row.check.accepted), "") or "nothing"
    return (
        f"the teacher drafted {len(questions)} questions ({fallen(questions)}) and {len(rationales)} rationales "
        f"({fallen(rationales) or 'none'}), and no question has an accepted rationale. It may be too small for the "
        f"task: choose another teacher.name, or raise elicit.attempts. A draft that fell reads: {example[:200]!r}"
    )
