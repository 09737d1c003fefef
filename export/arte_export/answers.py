"""What a device file answered."""

from pydantic import BaseModel, ConfigDict


class Answers(BaseModel):
    """Answers in the order of the prompts, whatever the file's format.

    `texts` end before the first stop string and hold no special tokens; `token_ids` are all ids made, the end-of-
    generation token included. `seconds` excludes loading; `tokens_in` counts every prompt whole, shared or not.
    `prompt_tokens` are those of each prompt, and `ended` says whether an answer ended by itself or at a stop string,
    where a format tells.
    """

    model_config = ConfigDict(frozen=True)

    texts: list[str]
    token_ids: list[list[int]]
    seconds: float
    load_s: float
    tokens_in: int
    tokens_out: int
    prompt_tokens: list[int] = []
    ended: list[bool] = []
    peak_rss_bytes: int | None = None
