"""Tests of the packaging: one version, a complete list of pinned requirements, all data files in the package."""

from __future__ import annotations

import ast
import configparser
import re
import sys
from importlib import metadata
from pathlib import Path

import pytest
import yaml
from packaging.requirements import Requirement
from packaging.utils import canonicalize_name
from setuptools import Distribution

import nussl_transfer

ROOT = Path(__file__).parents[1]
LEFT_OUT = {"soxbindings", "pyaudio"}


@pytest.fixture(scope="module")
def setup_cfg():
    parser = configparser.ConfigParser()
    parser.read(ROOT / "setup.cfg", encoding="utf-8")
    return parser


@pytest.fixture(scope="module")
def pins() -> list[Requirement]:
    lines = (ROOT / "requirements.txt").read_text(encoding="utf-8").splitlines()
    return [Requirement(line) for line in lines if line and not line.startswith("#")]


def pinned_here(pins: list[Requirement], python: str = "3.11") -> dict[str, str]:
    """Return the version of each package that pip would install on a Python."""
    environment = {"python_version": python}
    return {
        canonicalize_name(pin.name): str(pin.specifier).removeprefix("==")
        for pin in pins
        if pin.marker is None or pin.marker.evaluate(environment)
    }


def requirements_of(setup_cfg, section: str, option: str) -> list[Requirement]:
    lines = setup_cfg[section][option].splitlines()
    return [Requirement(line) for line in map(str.strip, lines) if line and not line.startswith("#")]


def test_the_version_is_in_one_place_and_cited(setup_cfg):
    assert setup_cfg["metadata"]["version"] == "attr: nussl_transfer.__version__"
    citation = yaml.safe_load((ROOT / "CITATION.cff").read_text(encoding="utf-8"))
    assert citation["version"] == nussl_transfer.__version__
    assert citation["preferred-citation"]["title"] == "A study of transfer learning in music source separation"


def test_the_entry_point_is_callable(setup_cfg):
    script = setup_cfg["options.entry_points"]["console_scripts"].strip()
    found = metadata.EntryPoint(*(part.strip() for part in script.split("=")), group="console_scripts")
    assert found.name == "nussl-transfer" and callable(found.load())


class _Running(ast.NodeTransformer):
    """Removes the blocks that only a type checker reads."""

    def visit_If(self, node: ast.If) -> ast.AST | None:
        return None if ast.unparse(node.test).endswith("TYPE_CHECKING") else self.generic_visit(node)


@pytest.mark.parametrize(("folder", "extras"), [("nussl_transfer", ("app",)), ("recipes", ("demo",))])
def test_every_import_is_a_requirement(setup_cfg, folder, extras):
    wanted = requirements_of(setup_cfg, "options", "install_requires")
    for extra in extras:
        wanted += requirements_of(setup_cfg, "options.extras_require", extra)
    spelt = {"yaml": "pyyaml", "ffmpeg": "ffmpeg-python", "PIL": "pillow", "ignite": "pytorch-ignite"}
    imported = set()
    for path in (ROOT / folder).rglob("*.py"):
        for node in ast.walk(_Running().visit(ast.parse(path.read_text(encoding="utf-8")))):
            if isinstance(node, ast.Import):
                imported |= {alias.name.partition(".")[0] for alias in node.names}
            elif isinstance(node, ast.ImportFrom) and not node.level:
                imported.add(node.module.partition(".")[0])
    foreign = imported - sys.stdlib_module_names - {"nussl_transfer", "recipes"}
    assert {canonicalize_name(spelt.get(name, name)) for name in foreign} <= {
        canonicalize_name(requirement.name) for requirement in wanted
    }


def test_every_pin_is_one_exact_version(pins):
    assert all(re.fullmatch(r"==\d[\w.]*", str(pin.specifier)) and not pin.extras and not pin.url for pin in pins)


@pytest.mark.parametrize("python", ["3.10", "3.11", "3.12", "3.13"])
def test_no_package_is_pinned_twice_on_one_python(pins, python):
    names = [pin.name for pin in pins if pin.marker is None or pin.marker.evaluate({"python_version": python})]
    assert len(names) == len(set(names))


def test_the_pins_leave_out_packages_that_must_be_compiled(pins):
    assert not LEFT_OUT & {canonicalize_name(pin.name) for pin in pins}


@pytest.mark.parametrize("python", ["3.10", "3.11", "3.12", "3.13"])
def test_the_pins_meet_the_requirements_of_setup_cfg(setup_cfg, pins, python):
    pinned = pinned_here(pins, python)
    wanted = requirements_of(setup_cfg, "options", "install_requires")
    for extra in setup_cfg["options.extras_require"]:
        wanted += requirements_of(setup_cfg, "options.extras_require", extra)
    applying = [one for one in wanted if one.marker is None or one.marker.evaluate({"python_version": python})]
    assert {one.name for one in wanted} - {one.name for one in applying} <= {"snakemake"}
    for requirement in applying:
        assert requirement.specifier.contains(pinned[canonicalize_name(requirement.name)]), requirement


def test_the_requirements_of_the_pins_are_pinned(pins):
    """Checked for the pinned versions that are installed here."""
    pinned = pinned_here(pins, f"{sys.version_info.major}.{sys.version_info.minor}")
    installed = {canonicalize_name(found.metadata["Name"]): found for found in metadata.distributions()}
    # '2.13.0+cpu' is a build of 2.13.0.
    versions = {name: found.version.split("+")[0] for name, found in installed.items()}
    same = [name for name, version in pinned.items() if versions.get(name) == version]
    assert {"nussl", "torch", "tinysoundfont"} <= set(same)
    needed = [Requirement(line) for name in same for line in installed[name].requires or []]
    applying = [one for one in needed if one.marker is None or one.marker.evaluate({"extra": ""})]
    # torch's build for NVIDIA GPUs asks for its own libraries: see the head of requirements.txt.
    gpu = ("nvidia-", "cuda-", "triton")
    lacking = {canonicalize_name(one.name) for one in applying} - set(pinned)
    assert {name for name in lacking if not name.startswith(gpu)} == LEFT_OUT


def test_every_data_file_is_in_the_package(monkeypatch):
    """setuptools, which reads setup.cfg, would copy each file that is not Python into a wheel."""
    monkeypatch.chdir(ROOT)
    distribution = Distribution()
    distribution.parse_config_files(["setup.cfg"])
    build = distribution.get_command_obj("build_py")
    build.ensure_finalized()
    copied = {Path(source, name) for _, source, _, names in build.data_files for name in names}
    there = {path.relative_to(ROOT) for path in (ROOT / "nussl_transfer").rglob("*") if path.is_file()}
    assert copied == {path for path in there if path.suffix not in (".py", ".pyc") and not path.name.startswith(".")}
    assert Path("nussl_transfer/py.typed") in copied


def test_the_readme_shows_both_commands():
    lines = (ROOT / "README.md").read_text(encoding="utf-8").splitlines()
    for command in ("make demo", "make test"):
        assert any(re.match(rf"(\$ )?{command}\b", line) for line in lines), command


def test_the_python_of_the_readme_compiles_and_its_imports_exist():
    """Its code compiles, and the names that it imports exist."""
    blocks = re.findall(r"```python\n(.*?)```", (ROOT / "README.md").read_text(encoding="utf-8"), re.DOTALL)
    assert blocks
    for block in blocks:
        compile(block, "README.md", "exec")
        imports = [line for line in block.splitlines() if line.startswith(("import ", "from "))]
        exec("\n".join(imports), {})  # noqa: S102
