"""A stand-in for adb that speaks its command line on a folder of this machine: devices, -s, push, shell, dumpsys.

FAKE_ADB_ROOT is the device's file system, and what lies in it outside /data/local/tmp sets the device's state:
`state` (offline, unauthorized, full), `heat` (tenths of °C, one a line; the last holds), `unplug` (the shell command
that has this text is cut off). `log` gets a line for each call.
"""

import os
import shutil
import signal
import subprocess
import sys
import time
from pathlib import Path

ROOT = Path(os.environ["FAKE_ADB_ROOT"])
SERIAL = "PHONE1"


def said(name: str) -> str:
    file = ROOT / name
    return file.read_text() if file.is_file() else ""


def here(text: str) -> str:
    """Names of the device's file system as they are on this machine."""
    return text.replace("/data/local/tmp", f"{ROOT}/data/local/tmp")


def there(text: bytes) -> bytes:
    return text.replace(str(ROOT).encode(), b"")


def push(source: str, to: str) -> None:
    if said("state") == "full":
        sys.exit(f"adb: error: failed to copy '{source}' to '{to}': remote write failed: No space left on device")
    shutil.copyfile(source, here(to))
    sys.stdout.write(f"{source}: 1 file pushed, 0 skipped.\n")


def battery() -> None:
    heats = said("heat").split() or ["315"]
    if len(heats) > 1:
        (ROOT / "heat").write_text("\n".join(heats[1:]))
    sys.stdout.write(f"Current Battery Service state:\n  level: 80\n  temperature: {heats[0]}\n")


def shell(command: str) -> None:
    if command == "dumpsys battery":
        return battery()
    cut_off = bool(said("unplug")) and said("unplug") in command
    running = subprocess.Popen(
        ["sh", "-c", here(command)], cwd=ROOT, stdin=subprocess.PIPE if cut_off else None, stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
    )  # fmt: skip
    if cut_off:
        time.sleep(0.7)
        (ROOT / "state").write_text("gone")
        assert running.stdin is not None
        running.stdin.close()  # adbd does so on the device
        sys.exit(1)  # and adb says nothing here
    out, err = running.communicate()
    sys.stdout.buffer.write(there(out))
    sys.stderr.buffer.write(there(err))
    sys.stdout.flush()
    code = running.returncode
    sys.exit(code if code >= 0 else 128 + signal.Signals(-code).value)


def main(arguments: list[str]) -> None:
    with (ROOT / "log").open("a") as log:
        log.write(" ".join(arguments)[:80].replace("\n", " ") + "\n")
    state = said("state")
    if arguments == ["devices"]:
        sys.stdout.write(f"List of devices attached\n{SERIAL}\t{state or 'device'}\n")
        return
    flag, serial, verb, *rest = arguments
    if flag != "-s":
        sys.exit(f"adb: usage: unknown option {flag}")
    if serial != SERIAL or state == "gone":
        sys.exit(f"adb: device '{serial}' not found")
    if state in ("offline", "unauthorized"):
        sys.exit(f"error: device {state}")
    if verb == "push":
        push(*rest)
    elif verb == "shell":
        shell(" ".join(rest))
    else:
        sys.exit(f"adb: unknown command {verb}")


if __name__ == "__main__":
    main(sys.argv[1:])
