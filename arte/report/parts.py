"""What the pieces of report.json are made of."""

from pydantic import BaseModel, ConfigDict


class Part(BaseModel):
    """A frozen piece of the report; an unknown field is an error."""

    model_config = ConfigDict(frozen=True, extra="forbid")


class OpenPart(BaseModel):
    """A piece that another package measured: fields that it adds are passed on as they are."""

    model_config = ConfigDict(frozen=True, extra="allow")
