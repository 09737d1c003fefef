"""An Android device over adb (Android platform tools): its shell, and /data/local/tmp, from which programs may run."""

import re
from pathlib import Path

from arte_export.connection import COPY_S, Ran, client
from arte_export.errors import ExportError

INSTALL = "install Android's platform tools (docs/phone.md)"
ADVICE = {
    "unauthorized": "unlock the phone and allow USB debugging for this computer",
    "authorizing": "unlock the phone, allow USB debugging for this computer, and give the same command again",
    "offline": "plug it in again, or restart adb (adb kill-server), and give the same command again",
    "not found": "see `adb devices` for the serials of connected devices",
    "no devices": "connect it and switch USB debugging on (docs/phone.md)",
    "closed": "the connection was lost; plug the phone in again, and give the same command again",
}


class Adb:
    """See connection.Connection."""

    base = "/data/local/tmp"

    def __init__(self, serial: str) -> None:
        """Raises ExportError for a name that is none of a device."""
        if not re.fullmatch(r"[A-Za-z0-9][A-Za-z0-9_.:-]*", serial):
            raise ExportError(f"{serial!r} is no serial of a device; `adb devices` lists them")
        self.name = f"adb:{serial}"
        self._command = ["adb", "-s", serial]

    def run(self, script: str, limit_s: float = 60.0) -> Ran:
        return self._checked(client(self.name, [*self._command, "shell", script], limit_s, INSTALL))

    def push(self, file: Path, to: str) -> Ran:
        return self._checked(client(self.name, [*self._command, "push", str(file), to], COPY_S, INSTALL))

    def temperature_c(self) -> float | None:
        """`dumpsys battery` gives tenths of a degree."""
        found = re.search(r"^\s*temperature: (-?\d+)", self.run("dumpsys battery").out, re.MULTILINE)
        return int(found[1]) / 10 if found else None

    def _checked(self, ran: Ran) -> Ran:
        # adb passes the exit code of the device's shell on; of its own failures it says "adb: …" or "error: …", and of
        # a file that the device refuses to write, "… remote …"
        own = re.search(r"^(?:adb: |error: ).*$", ran.err, re.MULTILINE)
        if ran.code != 0 and own is not None and "remote" not in own[0]:
            advice = next((advice for words, advice in ADVICE.items() if words in own[0]), "")
            raise ExportError(f"{self.name}: {own[0].strip()}; {advice or 'give the same command again'}")
        return ran
