"""A stand-in for adb that speaks its command line, on a folder of this machine: devices, -s, push, shell, dumpsys.

FAKE_ADB_ROOT is the device's file system; FAKE_ADB_STATE may be offline, unauthorized or full.
"""

import os
import shutil
import subprocess
import sys
from pathlib import Path

root, state = os.environ["FAKE_ADB_ROOT"], os.environ.get("FAKE_ADB_STATE", "device")
flag, serial, verb, *rest = sys.argv[1:]
assert flag == "-s"
if serial != "PHONE1":
    sys.exit(f"adb: device '{serial}' not found")
if state in ("offline", "unauthorized"):
    sys.exit(f"error: device {state}")
if verb == "push":
    source, to = rest
    if state == "full":
        sys.exit(f"adb: error: failed to copy '{source}' to '{to}': remote write failed: No space left on device")
    shutil.copyfile(source, root + to)
elif verb == "shell":
    [command] = rest
    if command == "dumpsys battery":
        heat = os.environ.get("FAKE_ADB_HEAT", "315")
        sys.stdout.write(f"Current Battery Service state:\n  level: 80\n  temperature: {heat}\n")
    else:
        command = command.replace("/data/local/tmp", root + "/data/local/tmp")
        sys.exit(subprocess.run(["sh", "-c", command], cwd=Path(root), check=False).returncode)
