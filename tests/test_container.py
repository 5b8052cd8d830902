"""Run the steps of the Dockerfile in an empty folder: COPY from what .dockerignore lets through, RUN by the shell.

No container engine is needed. ``python -m venv`` and ``pip`` only check their arguments here. To let them install for real
(gigabytes, minutes), set NUSSL_TRANSFER_CONTAINER=1, and TORCH_INDEX for the build of torch for CPUs.
"""

from __future__ import annotations

import configparser
import json
import os
import shutil
import subprocess
import sys
from importlib import metadata
from pathlib import Path

import pytest
from packaging.requirements import Requirement
from packaging.utils import canonicalize_name
from test_packaging import LEFT_OUT, ROOT, requirements_of

from nussl_transfer import cli

REAL = bool(os.environ.get("NUSSL_TRANSFER_CONTAINER"))

# A python whose `-m venv FOLDER` makes a pip that fails on requirements and files that the real one would not find.
PYTHON = r"""#!/bin/sh -eu
test "$1 $2" = "-m venv"
mkdir -p "$3/bin"
cat > "$3/bin/pip" <<'END'
#!/bin/sh -eu
test "$1" = install; shift
while [ $# -gt 0 ]; do
  case "$1" in
    --no-cache-dir|--no-compile|--no-deps) ;;
    --extra-index-url) test -n "$2"; shift ;;
    -r) test -s "$2"; shift ;;
    .) test -f setup.py -a -f setup.cfg -a -f README.md -a -f LICENSE -a -f nussl_transfer/checkpoints/weights/body.pth ;;
    *) echo "pip: unknown argument $1" >&2; exit 1 ;;
  esac
  shift
done
END
printf '#!/bin/sh\necho "$@"\n' > "$3/bin/nussl-transfer"
chmod +x "$3/bin/pip" "$3/bin/nussl-transfer"
"""


def instructions(text: str) -> list[tuple[str, str]]:
    """Return the name and the arguments of each instruction of a Dockerfile."""
    code = "\n".join(line for line in text.splitlines() if not line.startswith("#")).replace("\\\n", " ")
    return [tuple(line.split(maxsplit=1)) for line in code.splitlines() if line.strip()]


def copy_context(out: Path) -> Path:
    """Copy the part of the repository that .dockerignore lets through: it leaves out everything, then names exceptions."""
    lines = (ROOT / ".dockerignore").read_text(encoding="utf-8").splitlines()
    rules = [line for line in lines if line and not line.startswith("#")]
    assert rules[0] == "*" and rules[-1] == "**/__pycache__"
    for rule in rules[1:-1]:
        path = ROOT / rule.removeprefix("!")
        if path.is_dir():
            shutil.copytree(path, out / path.name, ignore=shutil.ignore_patterns("__pycache__"))
        else:
            out.mkdir(exist_ok=True)
            shutil.copy(path, out)
    return out


@pytest.fixture(scope="module")
def built(tmp_path_factory):
    """The root folder after all steps, what each RUN printed, and the settings of the image."""
    folder = tmp_path_factory.mktemp("container")
    context, root, tools = copy_context(folder / "context"), folder / "root", folder / "tools"
    tools.mkdir()
    if REAL:
        (tools / "python").symlink_to(sys.executable)
    else:
        (tools / "python").write_text(PYTHON, encoding="utf-8")
        (tools / "python").chmod(0o755)
    work, environment, printed, settings = root, {"PATH": f"{tools}:{os.environ['PATH']}", "HOME": str(folder)}, [], {}
    for name, value in instructions((ROOT / "Dockerfile").read_text(encoding="utf-8")):
        here = value.replace("/opt/", f"{root}/opt/")
        if name == "WORKDIR":
            work = root / value.lstrip("/")
            work.mkdir(parents=True, exist_ok=True)
        elif name == "ARG":
            key, _, default = value.partition("=")
            environment[key] = os.environ.get(key, default)
        elif name == "COPY":
            *sources, target = here.removeprefix("--from=build ").split()
            assert len(sources) == 1 or target.endswith("/"), value
            if value.startswith("--from=build"):  # both stages share one root here, so the copy is there
                assert sources == [target] and Path(target).is_dir(), value
                continue
            for source in map(context.joinpath, sources):
                shutil.copytree(source, work / target) if source.is_dir() else shutil.copy(source, work / target)
        elif name == "RUN":
            done = subprocess.run(
                ["sh", "-ec", here], cwd=work, env={**os.environ, **environment}, capture_output=True, text=True
            )
            assert done.returncode == 0, f"{value}\n{done.stdout}\n{done.stderr}"
            printed.append(done.stdout)
        else:
            assert name in ("FROM", "ENV", "USER", "ENTRYPOINT", "CMD"), name
            settings[name] = value
    return root, printed, settings


def test_every_step_runs_and_the_last_one_asks_the_installed_command_for_its_version(built):
    _, printed, _ = built
    assert printed[-1].startswith("nussl-transfer ") if REAL else printed[-1] == "--version\n"


def test_the_command_line_is_the_entry_point_and_its_user_is_not_root(built, capsys):
    _, _, settings = built
    assert int(settings["USER"].split(":")[0]) > 0
    assert json.loads(settings["ENTRYPOINT"]) == ["nussl-transfer"]
    for arguments in (json.loads(settings["CMD"]), ["--version"]):
        assert cli.main(arguments) == 0
    assert "(nussl " in capsys.readouterr().out


def test_the_image_has_all_that_the_package_needs_and_not_what_only_tests_and_study_need(built):
    text = (built[0] / "build" / "runtime.txt").read_text(encoding="utf-8")
    pinned = [Requirement(line) for line in text.splitlines() if line and not line.startswith("#")]
    here = {canonicalize_name(pin.name) for pin in pinned if pin.marker is None or pin.marker.evaluate()}
    setup_cfg = configparser.ConfigParser()
    setup_cfg.read(ROOT / "setup.cfg", encoding="utf-8")
    needed, to_see = set(), requirements_of(setup_cfg, "options", "install_requires")
    while to_see:
        name = canonicalize_name((requirement := to_see.pop()).name)
        applies = requirement.marker is None or any(
            requirement.marker.evaluate({"extra": extra}) for extra in requirement.extras or {""}
        )
        # torch's build for NVIDIA GPUs has libraries of its own.
        if applies and name not in needed | LEFT_OUT and not name.startswith(("nvidia-", "cuda-", "triton")):
            needed.add(name)
            to_see += [Requirement(line) for line in metadata.requires(name) or [] if "extra ==" not in line]
    assert needed <= here
    assert not here & {"snakemake", "pulp", "music21", "tinysoundfont", "sphinx", "furo", "pytest", "mypy", "ruff"}
