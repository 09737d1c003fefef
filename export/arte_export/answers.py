"""What a device file answered."""

from pydantic import BaseModel, ConfigDict


class Answers(BaseModel):
    """Greedy answers in the order of the prompts, whatever the file's format.

    `texts` end before the first stop string and hold no special tokens; `token_ids` are all ids made, the end-of-
    generation token included. `seconds` excludes loading; `tokens_in` counts every prompt whole, shared or not.
    """

    model_config = ConfigDict(frozen=True)

    texts: list[str]
    token_ids: list[list[int]]
    seconds: float
    load_s: float
    tokens_in: int
    tokens_out: int
    peak_rss_bytes: int | None = None
