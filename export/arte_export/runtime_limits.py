"""Texts that a runtime reads otherwise than the model, whatever the file says; found by comparing, not mendable.

Where such a text differs, the gate says so and stands: no file of that format could do better.
"""

import re

from arte_export.device_file import Format

KNOWN: dict[Format, tuple[tuple[re.Pattern[str], str], ...]] = {
    "onnx": (
        (re.compile("\x00"), "onnxruntime-genai drops all text behind a NUL"),
        (
            re.compile(r"[\r\n]\s*[^\S\r\n]"),
            "onnxruntime-genai splits blank lines that hold spaces otherwise (patterns with \\s*[\\r\\n]+)",
        ),
    ),
}


def limit(form: Format, text: str) -> str | None:
    """The known limit that this text runs into, in words; None where a difference is the file's own."""
    return next((words for pattern, words in KNOWN.get(form, ()) if pattern.search(text)), None)
