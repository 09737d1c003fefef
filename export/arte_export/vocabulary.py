"""What a model or a device file says of its tokens and its chat template, in terms that all formats share."""

from pydantic import BaseModel, ConfigDict

Message = dict[str, str]


class Conversation(BaseModel):
    """A chat and whether the assistant's turn is opened behind it."""

    model_config = ConfigDict(frozen=True)

    messages: list[Message]
    generation_prompt: bool


class Vocabulary(BaseModel):
    """One side of the comparison: the model folder's tokenizer, or the file as its own runtime reads it.

    `token_ids` are of the texts given, special-token text read as special tokens, nothing put in front or behind.
    `rendered` are the conversations given, as the side's own template engine writes them; None where its template
    refuses one (an unknown role, say). `tokens` is the text of every id, in order; `control` are the ids of special
    tokens, `added` those of tokens added to the vocabulary that are not special; None where the format does not say.
    `ends` are the ids that end a generation. A token that is not there is None.
    """

    model_config = ConfigDict(frozen=True)

    token_ids: list[list[int]]
    rendered: list[str | None]
    chat_template: str | None
    tokens: list[str]
    control: list[int] | None
    added: list[int] | None
    bos: int | None
    eos: int | None
    pad: int | None
    adds_bos: bool
    ends: list[int]
