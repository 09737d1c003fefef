"""The settings of engines that are more than this process, and of what a run may spend."""

from typing import Annotated, Literal

from pydantic import Field

from arte.recipe_base import Count, Positive, Settings

TeacherEngine = Literal["transformers", "vllm", "openai", "llama_cpp"]
StudentEngine = Literal["transformers", "vllm"]
Price = Annotated[float, Field(ge=0.0)]


class Server(Settings):
    url: str | None = Field(
        None, description="Where the server answers, the version included, as in http://127.0.0.1:8000/v1."
    )
    key_variable: str | None = Field(
        None,
        description="Environment variable that holds the key, as in OPENAI_API_KEY; the key itself stands in no file. "
        "Null: none is sent.",
    )
    requests: Count = Field(
        64, description="Most requests under way at once; fewer for a while when the server is too busy."
    )
    timeout_s: Positive = Field(600.0, description="Seconds to wait for one answer.")
    attempts: Count = Field(
        8, description="Times that a request is made, ever longer apart, before the run stops; it can go on later."
    )
    price_in: Price = Field(0.0, description="Money for a million tokens of prompts, in the currency of limits.money.")
    price_out: Price = Field(0.0, description="Money for a million tokens of answers.")


class Vllm(Settings):
    tensor_parallel: Count = Field(1, description="GPUs that each layer is divided among.")
    data_parallel: Count = Field(1, description="Copies of the model, where this version of vLLM can hold several.")
    memory_share: Annotated[float, Field(gt=0.0, le=1.0)] | None = Field(
        None, description="Of the device's memory, weights and cache together; null: 0.9 of a GPU, 0.3 beside a CPU."
    )
    context: Count = Field(4096, description="Most tokens of a prompt and its answer; never more than the model's.")


class LlamaCpp(Settings):
    scheme: str = Field(
        "q8_0", description="Quantization of the GGUF file that is made of a teacher that comes as a folder."
    )
    parallel: Count = Field(32, description="Sequences decoded together.")
    threads: Count | None = Field(None, description="Threads; null for as many as there are cores.")


class Ray(Settings):
    """Drafting and in-context scores by several engines at once, through Ray Data."""

    workers: Count | None = Field(None, description="Engines, each with a model of its own; null: one, without Ray.")
    address: str | None = Field(
        None, description="Of a running cluster (auto: the one this machine belongs to); null: Ray is started here."
    )
    cpus: Positive = Field(1.0, description="Cores that a worker asks for.")
    gpus: Annotated[float, Field(ge=0.0)] = Field(0.0, description="GPUs that a worker asks for.")


class Limits(Settings):
    """A run stops before it passes one, and goes on when the same command is given with a higher one."""

    tokens: Count | None = Field(None, description="Tokens that all engines read and write together.")
    money: Positive | None = Field(None, description="What servers charge, by teacher.server's prices.")
    hours: Positive | None = Field(None, description="Hours that all stages take together.")
