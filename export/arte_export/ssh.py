"""A machine over OpenSSH's client: its configuration, keys and agents are the user's own; no password is asked for."""

import re
import shlex
from pathlib import Path

from arte_export.connection import COPY_S, Ran, client
from arte_export.errors import ExportError

OPTIONS = ["-T", "-oBatchMode=yes", "-oConnectTimeout=10", "-oServerAliveInterval=5", "-oServerAliveCountMax=3"]
LOST = 255  # ssh(1): its own failures
INSTALL = "install OpenSSH's client (Debian: apt install openssh-client)"


class Ssh:
    """See connection.Connection. `config`: a file for ssh's -F in place of the user's own."""

    base = "${TMPDIR:-/tmp}"

    def __init__(self, host: str, config: Path | None = None) -> None:
        """Raises ExportError for a name that ssh might take for an option, or for more than one."""
        if not re.fullmatch(r"[A-Za-z0-9_][A-Za-z0-9_.@:%\[\]-]*", host):
            raise ExportError(f"{host!r} is no host for ssh; expected HOST or USER@HOST, as ssh takes it")
        self.name = f"ssh:{host}"
        self._host = host
        self._command = ["ssh", *(["-F", str(config)] if config else []), *OPTIONS, host]

    def run(self, script: str, limit_s: float = 60.0) -> Ran:
        # whatever the user's own shell there is
        return self._checked(client(self.name, [*self._command, f"exec sh -c {shlex.quote(script)}"], limit_s, INSTALL))

    def push(self, file: Path, to: str) -> Ran:
        command = [*self._command, f"cat > {shlex.quote(to)}"]
        with file.open("rb") as source:
            return self._checked(client(self.name, command, COPY_S, INSTALL, source))

    def temperature_c(self) -> float | None:
        return None

    def _checked(self, ran: Ran) -> Ran:
        if ran.code == LOST:
            raise ExportError(
                f"{self.name}: no connection, or it was lost: {ran.err.strip()[-300:] or 'ssh said nothing'}. Try `ssh "
                f"{self._host} true`; it must work with a key and without questions. Then give the same command again"
            )
        return ran
