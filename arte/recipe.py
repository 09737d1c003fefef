"""Every setting of a run, once. A default is written here and nowhere else.

The classes are inert: they hold values and check ranges; they open nothing, download nothing and read no environment.
The field's name is the YAML key and the command-line key: `elicit.questions=500`.
"""

from typing import Annotated, Literal

from pydantic import Field

from arte.recipe_base import Count, Fraction, Positive, Settings
from arte.recipe_engines import Limits, LlamaCpp, Ray, Server, StudentEngine, TeacherEngine, Vllm

Scale = Literal["smoke", "starter", "gpu", "paper"]
SCALES: tuple[Scale, ...] = ("smoke", "starter", "gpu", "paper")
StageName = Literal["elicit", "prefer", "align", "tailor", "distill", "evaluate", "export", "bench", "report"]
STAGES: tuple[StageName, ...] = (
    "elicit",
    "prefer",
    "align",
    "tailor",
    "distill",
    "evaluate",
    "export",
    "bench",
    "report",
)
PreferenceScore = Literal[
    "icl_accuracy", "icl_logprob", "influence", "influence_first_order", "likelihood", "rank_surprisal"
]
Arm = Literal[
    "untrained",
    "unaligned",
    "verified",
    "fixed_style",
    "best_scored",
    "clustered",
    "covered",
    "shuffled_pairs",
    "question_only",
    "rationale_only",
    "arte_icl_accuracy",
    "arte_icl_logprob",
    "arte_influence",
    "arte_influence_first_order",
    "arte_likelihood",
    "arte_rank_surprisal",
    "arte",
]
"""What each learns from: arte.arms."""
Tracker = Literal["trackio", "wandb", "mlflow", "tensorboard"]
Style = Literal["steps", "brief", "equations", "child"]


class Task(Settings):
    name: str = Field(
        "gsm8k",
        description="A task that `arte tasks` lists, or a folder with a task.yaml. Several in one run: a group (bbh, "
        "bbh/Logic), or names with commas between them; counts of task, elicit, prefer and export are then of each.",
    )
    data: str | None = Field(
        None, description="A folder with train.jsonl and test.jsonl instead of the hub (tasks that have data)."
    )
    seeds: Count = Field(64, description="How many gold items the teacher may see as seeds.")
    probes: Count = Field(24, description="How many held-out gold items the student's preference is measured on.")
    validation: Count | None = Field(
        None,
        description="Held-out gold items that the probes are chosen from (paper: 100); null for the probes alone.",
    )
    test: Count | None = Field(None, description="How many test items are used; null for all of them.")

    @property
    def held_out(self) -> int:
        """Items of the validation set."""
        return self.validation or self.probes


class Model(Settings):
    name: str = Field(
        description="A hub id, a local folder, a .gguf file, or a starter model (smollm2-135m-instruct, "
        "qwen2.5-coder-0.5b-instruct), or tiny-taught-teacher / tiny-random-teacher / tiny-random-student, made here."
    )
    source: Literal["auto", "hub", "folder", "index"] = Field(
        "auto", description="auto: a folder or file if it exists, else a starter model's pinned package, else the hub."
    )
    revision: str | None = Field(None, description="A hub commit, branch or tag.")
    dtype: Literal["auto", "float32", "bfloat16"] = Field(
        "auto", description="auto: the faster of the two for matrix products here, measured at the start."
    )
    drafts_in: Literal["auto", "int8"] = Field(
        "auto", description="int8: a teacher drafts with 8-bit weights on a CPU that is faster so (measured)."
    )
    trust_remote_code: bool = Field(False, description="Run code that comes with the model. Only with models you read.")


class Teacher(Model):
    name: str = Field(description="As student.name; where engine is openai, the name that the server has for it.")
    engine: TeacherEngine = Field(
        "transformers",
        description="What a teacher drafts with: transformers or vllm, in this process; llama_cpp, a GGUF file in a "
        "child process; openai, a server that speaks OpenAI's protocol (vllm serve, llama-server, Ollama, hosted).",
    )
    weights: str | None = Field(
        None,
        description="A copy of a served teacher (a hub id or a folder) that alignment trains here; null: none, and no "
        "arm may need an aligned teacher.",
    )
    server: Server = Server()
    vllm: Vllm = Vllm()
    llama_cpp: LlamaCpp = LlamaCpp()


class Student(Model):
    engine: StudentEngine = Field(
        "transformers", description="What asks a student, in the scores icl_accuracy and icl_logprob and in evaluation."
    )
    vllm: Vllm = Vllm()


class Elicit(Settings):
    questions: Count = Field(250, description="Accepted questions asked for.")
    attempts: Positive = Field(4.0, description="Give up after this many drafted questions for each one asked for.")
    seeds_per_prompt: Count = Field(3, description="Seed problems shown in each prompt (paper: 3).")
    least_steps: Count = Field(
        1, description="Seeds shown have at least so many steps: a small teacher's problems have fewer than its models."
    )
    drafts_per_prompt: Annotated[int, Field(ge=0)] = Field(
        0,
        description="Earlier accepted drafts shown among the seeds of each prompt, and more seeds until there are so "
        "many (Self-Instruct and Montessori-Instruct: 2 among 6 seeds).",
    )
    questions_per_prompt: Count = Field(5, description="New problems asked for in each prompt (paper: 5).")
    completions: Count = Field(
        1, description="Replies drawn of each prompt for questions (Montessori-Instruct: 4, of one question each)."
    )
    styles: Annotated[tuple[Style, ...], Field(min_length=1)] = Field(
        ("steps", "brief", "equations", "child"), description="Rationales for each question, one per style (paper: 4)."
    )
    explained: Count | None = Field(
        None,
        description="How many accepted questions get a rationale in each style; null for all. The others have only the "
        "solution that they were drafted with.",
    )
    temperature: Positive = Field(1.0, description="Sampling temperature of questions and rationales (paper: 1.0).")
    top_p: Annotated[float, Field(gt=0.0, le=1.0)] = Field(0.95, description="Nucleus of the sampling.")
    question_tokens: Count = Field(1024, description="Most new tokens for one prompt's questions.")
    rationale_tokens: Count = Field(256, description="Most new tokens for a rationale.")
    near_duplicate: Fraction = Field(0.9, description="Similarity of words (0 to 1) from which two are the same.")
    contamination_words: Count = Field(8, description="Words in a row shared with a probe or test item that condemn.")
    batch_size: Count = Field(32, description="Prompts generated together; a killed run redoes at most one batch.")


class Prefer(Settings):
    score: PreferenceScore = Field(
        "icl_logprob",
        description="What a draft is valued by. As an example in front of each probe: exact match (icl_accuracy, the "
        "paper's), log-probability of its solution (icl_logprob). As one step of training: change of each probe's loss "
        "(influence; influence_first_order: by gradients). By itself: likelihood, or its ranks over its surprisal "
        "(rank_surprisal).",
    )
    probes: Literal["random", "irt"] = Field(
        "random",
        description="Of task.validation, as many as task.probes: at random, or the most discriminating by item "
        "response theory (irt, as in the paper), for which respondents answer them behind 0 to 3 gold examples.",
    )
    respondents: tuple[str, ...] = Field(
        (), description="Models that answer beside student and teacher where probes is irt (paper: five students)."
    )
    drafts: Count | None = Field(None, description="How many accepted rationales are scored; null for all of them.")
    evaluations: Annotated[float, Field(gt=0.0, le=1.0)] = Field(
        1.0,
        description="Share of drafts × probes that is asked; below 1 a few drafts face all probes, the others "
        "those that tell most, and the rest of the table is predicted.",
    )
    question_pairs: Annotated[int, Field(ge=0)] = Field(50, description="Most pairs of questions (paper: 50).")
    chosen: Literal["top", "covered", "above_zero"] = Field(
        "top",
        description="Questions that are preferred: the quarter with the highest scores (as in the paper), or as many "
        "that between them help every probe, each against the lowest quarter; or above_zero: of the replies to one "
        "prompt, each that helps against each that harms (Montessori-Instruct).",
    )
    rationale_pairs: Annotated[int, Field(ge=0)] = Field(250, description="Most pairs of rationales (paper: 250).")
    margin: Annotated[float, Field(ge=0.0)] = Field(0.0, description="No pair where the scores differ by less.")
    confidence: Annotated[float, Field(ge=0.0, lt=1.0)] = Field(
        0.9,
        description="No pair whose paired difference over the probes has zero in its interval at this confidence; 0: "
        "any difference will do (as in the paper).",
    )
    batch_size: Count = Field(16, description="Probes scored together (icl_accuracy: evaluate.batch_size).")
    drafts_at_once: Count = Field(
        4,
        description="Drafts between two commits to disk: a killed run scores at most these again. With ray.workers "
        "hundreds, so that every worker has something to do.",
    )


class Align(Settings):
    skip: bool = Field(False, description="Leave out alignment, and with it the arms that need an aligned teacher.")
    adapter: str | None = Field(
        None,
        description="The folder of a finished run with the same teacher, or of a PEFT adapter: its alignment is taken "
        "over for the arm arte, whatever its task and student were. Null: this run aligns its own.",
    )
    learning_rate: Positive = Field(5e-5, description="Peak rate (paper: 1e-7, for full fine-tuning of 70B).")
    beta: Positive = Field(0.1, description="Strength of the pull towards the teacher before alignment.")
    sft_weight: Annotated[float, Field(ge=0.0)] = Field(
        0.0,
        description="Weight of the usual loss on what is preferred (nats a token), beside DPO's, which alone may "
        "move a small teacher off its language (paper: 0; RPO, arXiv 2404.19733: 1).",
    )
    epochs: Positive = Field(1.0, description="Passes over the pairs (paper: 1).")
    batch_size: Count = Field(16, description="Pairs a step (paper: 16).")
    micro_batch_size: Count = Field(2, description="Pairs in memory at once; divides batch_size.")
    gradient_checkpointing: bool = Field(
        False, description="Compute what a step holds for its gradients twice, and hold less: less memory, more time."
    )
    warmup: Fraction = Field(0.1, description="Share of steps with a rising rate, then cosine (paper: 0.1).")
    weighting: Literal["equal", "margin"] = Field(
        "equal", description="How often a pair is trained on: all alike, or in proportion to its difference in score."
    )
    lora_rank: Count = Field(16, description="Rank of the adapter, on all linear layers.")
    lora_alpha: Positive = Field(32.0, description="Scale of the adapter, as PEFT counts it.")
    max_tokens: Count = Field(2048, description="Longest prompt with answer; a longer pair is an error, never cut.")


class Tailor(Settings):
    over: Positive = Field(
        1.0,
        description="Questions asked of an aligned teacher, in times elicit.questions: above 1 to choose from more, "
        "below 1 where more are scored (elicit) than a student is trained on.",
    )
    choose: Literal["random", "best", "covered", "clustered"] = Field(
        "random",
        description="Which drafts of an aligned teacher train its student. All but random have the student score them "
        "first: best by mean; covered, so that every probe is taught; clustered, the best of each kind.",
    )
    temperature: Annotated[float, Field(ge=0.0)] = Field(
        0.0, description="Of rationales from the aligned teacher (paper: 0, one a question). Questions: elicit's."
    )
    rationales: Annotated[int, Field(ge=0)] = Field(
        1,
        description="Rationales a question from the aligned teacher, beside the solution it was drafted with; above 1 "
        "needs warmth.",
    )


class Distill(Settings):
    method: Literal["full", "lora"] = Field("full", description="All weights, or an adapter merged at the end.")
    examples: Count = Field(6750, description="Drafts that every arm is trained on; fewer where there are too few.")
    seeds: Annotated[int, Field(ge=0)] = Field(
        0, description="How often every arm's examples hold each seed with its own solution (paper: not at all)."
    )
    exercises: Annotated[int, Field(ge=0)] = Field(
        0, description="Exercises (sums, ten an example) that the student of every arm is taught before the drafts."
    )
    exercises_learning_rate: Positive = Field(2e-4, description="Peak rate while exercises are taught.")
    rehearsed: Annotated[int, Field(ge=0)] = Field(
        0,
        description="Exercises among the drafts of every arm, without which a student loses those that it was taught.",
    )
    variants: Count = Field(
        1,
        description="How often an example is in the data: as it is, then with other numbers and its solution computed "
        "anew (a solution that is no computation stays as it is).",
    )
    learning_rate: Positive = Field(2e-5, description="Peak rate (paper: 2e-5).")
    epochs: Positive = Field(1.0, description="Passes over the examples (paper: 1).")
    batch_tokens: Count = Field(2048, description="Tokens a step: examples are packed into rows of this length.")
    warmup: Fraction = Field(0.03, description="Share of steps with a rising rate, then linear decay (paper: 0.03).")
    weight_decay: Annotated[float, Field(ge=0.0)] = Field(0.0, description="AdamW's decay.")
    packing: bool = Field(True, description="Fill rows with several examples that do not see each other.")
    lora_rank: Count = Field(16, description="Rank of the adapter where method is lora.")
    lora_alpha: Positive = Field(32.0, description="Scale of the adapter where method is lora.")


class Evaluate(Settings):
    shots: Annotated[int, Field(ge=0)] = Field(0, description="Gold examples in front of each test item.")
    max_tokens: Count = Field(256, description="Most new tokens for an answer.")
    batch_size: Count = Field(64, description="Answers of a student generated together.")
    tasks: tuple[str, ...] = Field(
        (), description="Tasks or groups of lm-eval that every arm's student answers too, to see what it forgot."
    )
    tasks_folder: str | None = Field(None, description="A folder with YAML files of further lm-eval tasks.")
    tasks_limit: Count | None = Field(None, description="Documents of each of these tasks; null for all of them.")


class Export(Settings):
    targets: tuple[str, ...] = Field(
        ("gguf:q8_0", "gguf:q4_k_m", "ollama"),
        description="FORMAT:SCHEME of each file; ollama: a Modelfile for each GGUF.",
    )
    test: Count | None = Field(
        100, description="Test items that the torch model (in float32) and every file answer; null for all of them."
    )
    calibration: Annotated[int, Field(ge=0)] = Field(
        64,
        description="Drafts of the teacher that the importance matrix of K- and I-quants is taken from; 0: no matrix.",
    )


class Bench(Settings):
    prompt_tokens: Count = Field(512, description="Tokens of the prefill test (pp).")
    generated_tokens: Count = Field(128, description="Tokens of the decode test (tg).")
    depths: tuple[Count, ...] = Field((), description="Measured with so many tokens in the cache too.")
    repeats: Count = Field(5, description="Counted runs after a warm-up, in each round.")
    rounds: Count = Field(1, description="Times that all files take turns, in a shuffled order.")
    threads: Count | None = Field(None, description="Threads; null for as many as there are cores.")
    sweep: bool = Field(False, description="Try 1, 2, 4, … threads on each file, and take the best.")
    prompts: Annotated[int, Field(ge=0)] = Field(8, description="Test items answered one at a time, end to end.")
    quiet_s: Annotated[float, Field(ge=0.0)] = Field(
        10.0, description="Seconds to wait for other processes to come to rest before a file is measured."
    )


class Recipe(Settings):
    """A whole run. `arte.load_recipe` makes one from a name, a scale and overrides."""

    name: str
    scale: Scale
    about: str = Field("", description="One sentence for `arte recipes`.")
    seed: Annotated[int, Field(ge=0)] = 0
    task: Task
    teacher: Teacher
    student: Student
    arms: Annotated[tuple[Arm, ...], Field(min_length=1)] = ("untrained", "verified", "arte")
    elicit: Elicit = Elicit()
    prefer: Prefer = Prefer()
    rounds: Count = Field(
        1,
        description="How often prefer, align and tailor are done; from the second on the student that is asked was "
        "trained on the drafts before, and the teacher as aligned so far is aligned further.",
    )
    align: Align = Align()
    tailor: Tailor = Tailor()
    distill: Distill = Distill()
    evaluate: Evaluate = Evaluate()
    export: Export = Export()
    bench: Bench = Bench()
    devices: tuple[str, ...] = ("this-machine",)
    ray: Ray = Ray()
    limits: Limits = Limits()
    trackers: tuple[Tracker, ...] = Field(
        (), description="Where trainings are logged besides metrics.jsonl; each is a package to install."
    )
