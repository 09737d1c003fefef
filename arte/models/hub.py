"""Models from the hub, kept in the hub's own cache, which every tool on the machine shares."""

from pathlib import Path

from arte.errors import ModelError

FILES = ("model*.safetensors", "model.safetensors.index.json", "*.json", "*.jinja", "tokenizer.model", "merges.txt")
OWN_CODE = "*.py"


def snapshot(hub_id: str, revision: str | None, trust_remote_code: bool) -> Path:
    """The folder of a hub model: safetensors, configuration and tokenizer. What is there is not fetched again.

    Raises ModelError where it does not exist, is out of reach, or asks for permission.
    """
    from huggingface_hub import constants, errors, snapshot_download

    said_revision = f" at revision {revision}" if revision else ""
    ways_out = "give a local folder or .gguf file (teacher.name=PATH or student.name=PATH), or a starter model"
    try:
        folder = Path(
            snapshot_download(
                hub_id,
                revision=revision,
                allow_patterns=[*FILES, *([OWN_CODE] if trust_remote_code else [])],
                ignore_patterns=["*/*"],
            )
        )
    except errors.GatedRepoError:
        raise ModelError(
            f"{hub_id}: the hub gives it only to those who accepted its terms: accept them on its page, then "
            "set HF_TOKEN to a token of yours (or run `hf auth login`)"
        ) from None
    except errors.RevisionNotFoundError:
        raise ModelError(f"{hub_id}: the hub has no revision {revision!r} of it; leave `revision` out") from None
    except errors.RepositoryNotFoundError:
        raise ModelError(
            f"{hub_id}: no such folder or file here, and no such model on the hub (a private one needs HF_TOKEN); "
            f"check the spelling, or {ways_out}"
        ) from None
    except errors.HFValidationError:
        raise ModelError(f"{hub_id!r}: no such folder or file, and not a hub id (owner/name); {ways_out}") from None
    except (errors.LocalEntryNotFoundError, errors.OfflineModeIsEnabled, errors.HfHubHTTPError, ConnectionError):
        why = "HF_HUB_OFFLINE is set" if constants.HF_HUB_OFFLINE else "the hub cannot be reached"
        raise ModelError(
            f"{hub_id}{said_revision}: no such folder or file here, not in the hub's cache, and {why}; {ways_out}"
        ) from None
    return folder
