"""Rows to report.json, report.html, MODEL_CARD.md and Modelfile.

`write` gathers what is on disk in a run folder, finished or not; nothing is measured and no model is loaded here.
"""

from pathlib import Path
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from arte.report.contract import Report


def write(run: Path) -> "Report":
    """The report of the run in folder `run`, which is also written there, each file whole or not at all.

    report.json and report.html always; MODEL_CARD.md where a student was trained; Modelfile where a GGUF file was made.
    Raises WorkspaceError where `run` is not a run folder or cannot be written, DataError where a file in it is broken.
    """
    from arte.atomic import replace_text
    from arte.errors import WorkspaceError
    from arte.report.card import model_card, modelfile
    from arte.report.gather import gather
    from arte.report.html import page

    report = gather(run)
    texts = {
        "report.json": report.json_text(),
        "report.html": page(report),
        "MODEL_CARD.md": model_card(report),
        "Modelfile": modelfile(report, run),
    }
    for name, text in texts.items():
        try:
            if text is None:
                (run / name).unlink(missing_ok=True)
            else:
                replace_text(run / name, text)
        except OSError as error:
            raise WorkspaceError(
                f"{run / name}: cannot be written ({error.strerror}); make room or access there, then `arte report`"
            ) from None
    return report
