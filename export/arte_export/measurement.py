"""What was measured of a device file, on which machine and how. Times in seconds, sizes in bytes, rates in tokens/s.

Absent is None, never 0: an engine or a machine that cannot tell a figure leaves it out.
"""

from typing import Annotated, Literal

from pydantic import BaseModel, ConfigDict, Field

from arte_export.spread import Spread

Engine = Literal["llama-cpp-python", "onnxruntime-genai", "torch", "llama-bench"]
TTFT_DEFINITION = (
    "TTFT: from a prompt that is already tokenized, a loaded and warm model and an empty cache, to the id of the first "
    "generated token (prefill and the choice of the largest logit; no loading, tokenizing or transport)"
)


class Frozen(BaseModel):
    """A frozen part; an unknown field is an error."""

    model_config = ConfigDict(frozen=True, extra="forbid")


class Test(Frozen):
    """One test in llama-bench's terms: `pp512` is prompt_tokens=512, `tg128` generated_tokens=128; at a depth, so many
    tokens are in the cache before the clock starts."""

    prompt_tokens: Annotated[int, Field(ge=0)]
    generated_tokens: Annotated[int, Field(ge=0)]
    depth_tokens: Annotated[int, Field(ge=0)] = 0

    @property
    def name(self) -> str:
        """As llama-bench writes it: `pp512`, `tg128 @ d1024`, `pp512+tg128` for both after each other."""
        parts = (("pp", self.prompt_tokens), ("tg", self.generated_tokens))
        kind = "+".join(f"{what}{tokens}" for what, tokens in parts if tokens)
        return f"{kind} @ d{self.depth_tokens}" if self.depth_tokens else kind


class Timed(Frozen):
    """A test and the seconds that each of its counted runs took, in order."""

    test: Test
    seconds: Annotated[list[float], Field(min_length=1)]

    @property
    def tok_s(self) -> list[float]:
        """The rate of each run, (prompt + generated tokens) / seconds."""
        tokens = self.test.prompt_tokens + self.test.generated_tokens
        return [tokens / seconds for seconds in self.seconds]


class InterToken(Frozen):
    """Seconds from one generated token to the next, over all decode runs at depth 0."""

    count: int
    p50: float
    p90: float
    p99: float


class EndToEnd(Frozen):
    """Real task prompts answered one at a time: tokenized beforehand, greedy, until an end token or the limit."""

    prompts: int
    tokens_in: int
    tokens_out: int
    seconds: Spread
    """Of one answer, first token included."""
    ttft_s: Spread


class Swept(Frozen):
    """The medians at one number of threads."""

    threads: int
    pp_tok_s: float
    tg_tok_s: float


class Measurement(Frozen):
    """What was measured of one file. The first pp test and the first tg test at depth 0 are the headline figures."""

    file: str
    format: Literal["gguf", "onnx", "onnx-optimum", "torch"]
    bytes: int
    """Of the file, or of all files of the folder."""
    engine: Engine
    engine_version: str | None = None
    device: str = "this-machine"
    """The profile that it counts for."""
    on: str = "local"
    """`local`, `ssh:HOST` or `adb:SERIAL`."""
    how: Literal["measured", "estimate"] = "measured"
    threads: int
    prompt_tokens: int
    generated_tokens: int
    load_cold_s: Spread | None = None
    """Context included, with the file out of the system's cache; None where that could not be brought about."""
    load_s: Spread | None = None
    """Context included, with the file in the system's cache."""
    ttft_s: Spread | None = None
    pp_tok_s: Spread | None = None
    tg_tok_s: Spread | None = None
    tests: list[Timed] = []
    inter_token_s: InterToken | None = None
    end_to_end: EndToEnd | None = None
    peak_rss_bytes: int | None = None
    """Of the child alone: Python and libraries, the mapped file as far as it was touched, cache and buffers."""
    mapped_bytes: int | None = None
    """The part of the resident memory that is mapped files (RssFile): the system may drop and read it again."""
    energy_j_per_token: float | None = None
    """Of the decode test, of the whole package (RAPL) or the whole device (battery)."""
    sweep: list[Swept] = []
    unsteady: list[str] = []
    """Why the figures are not to be trusted to their last digit; empty where they were steady."""
    model_type: str | None = None
    model_parameters: int | None = None
    weight_bytes: int | None = None
    """Of all tensors; what decoding one token reads, but for an embedding table that is not the output matrix too."""
    embedding_bytes: int | None = None
    """Of a token embedding that is not used as output matrix: decoding reads one row of it."""
