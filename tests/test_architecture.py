"""Tests of the order of the package's parts, which is declared here only, and of rules that hold in every module."""

from __future__ import annotations

import ast
from pathlib import Path

import pytest

ROOT = Path(__file__).parent.parent
PACKAGE = ROOT / "nussl_transfer"

# The parts in import order: a module imports only from parts before its own, and from its own.
ORDER = """
    errors runtime safe_loading compat audio datasets store mixing networks checkpoints
    training separation evaluation pipelines report cli __main__ registration __init__
""".split()

SOURCES = sorted(path for path in PACKAGE.rglob("*.py") if "__pycache__" not in path.parts)
RECIPES = sorted((ROOT / "recipes").rglob("*.py"))


def part_of(path: Path) -> str:
    """Return the part of the package to which a file belongs: its folder, or the name of a module at the top."""
    return path.relative_to(PACKAGE).parts[0].removesuffix(".py")


def imports(path: Path, root: Path = ROOT) -> set[str]:
    """Return the full names of all modules that a file imports, inside functions too."""
    package = path.relative_to(root).parts[:-1]
    names = set()
    for node in ast.walk(ast.parse(path.read_text(encoding="utf-8"))):
        if isinstance(node, ast.Import):
            names |= {alias.name for alias in node.names}
        elif isinstance(node, ast.ImportFrom):
            above = package[: len(package) - node.level + 1] if node.level else ()
            base = ".".join((*above, node.module)) if node.module else ".".join(above)
            # `from . import x` and `from nussl_transfer import x` may import the module x.
            names |= {f"{base}.{alias.name}" for alias in node.names}
    return names


def parts_imported(path: Path) -> set[str]:
    """Return the other parts that a file imports from."""
    own = {name.split(".")[1] for name in imports(path) if name.startswith("nussl_transfer.")}
    return {name for name in own if name in ORDER} - {part_of(path)}


def shown(path: Path) -> str:
    return path.relative_to(ROOT).as_posix()


def test_the_order_lists_every_part():
    assert sorted(ORDER) == sorted({part_of(path) for path in SOURCES})


@pytest.mark.parametrize("path", SOURCES, ids=shown)
def test_a_module_imports_only_from_earlier_parts(path):
    place = ORDER.index(part_of(path))
    later = {name for name in parts_imported(path) if ORDER.index(name) > place}
    assert not later, f"{shown(path)} imports from {later}, which are later in the order"


def test_the_report_imports_neither_torch_nor_nussl():
    sources = {".".join(path.relative_to(ROOT).with_suffix("").parts): path for path in SOURCES}
    reached, waiting = set(), {name for name in sources if name.startswith("nussl_transfer.report.")}
    while waiting:
        name = waiting.pop()
        reached.add(name)
        found = imports(sources[name])
        heavy = {module.split(".")[0] for module in found} & {"torch", "nussl", "ignite", "librosa"}
        assert not heavy, f"the report imports {name}, and that imports {heavy}"
        waiting |= {module for full in found for module in (full, full.rpartition(".")[0]) if module in sources} - reached
    assert "nussl_transfer.errors" in reached


def test_only_the_package_itself_repairs_nussl_and_registers_parts():
    for path in SOURCES:
        if path != PACKAGE / "__init__.py":
            assert not imports(path) & {"nussl_transfer.compat.repair", "nussl_transfer.registration"}, shown(path)


@pytest.mark.parametrize("path", RECIPES, ids=shown)
def test_a_recipe_imports_the_package_and_never_another_recipe(path):
    # The stand-in corpora and the study are packages of their own.
    inside = path.relative_to(ROOT).parts[1]
    found = {name.split(".")[1] for name in imports(path) if name.startswith("recipes.") and name.count(".")}
    allowed = {"corpora"} | ({inside} if inside in ("corpora", "study") else set())
    assert found <= allowed, f"{shown(path)} imports the recipes {found - allowed}"


@pytest.mark.parametrize("path", SOURCES, ids=shown)
def test_a_module_reads_files_safely_and_raises_errors_for_wrong_input(path):
    tree = ast.parse(path.read_text(encoding="utf-8"))
    calls = [(ast.unparse(node.func), node) for node in ast.walk(tree) if isinstance(node, ast.Call)]
    for name, node in calls:
        options = {option.arg: ast.unparse(option.value) for option in node.keywords}
        if name == "torch.load":
            assert options.get("weights_only") == "True", f"{shown(path)}:{node.lineno}"
        assert name not in {"pickle.load", "pickle.loads", "eval", "exec"}, f"{shown(path)}:{node.lineno} {name}"
        assert options.get("allow_pickle", "False") == "False", f"{shown(path)}:{node.lineno}"
        assert name != "print" or part_of(path) == "cli", f"{shown(path)}:{node.lineno} prints"
    for node in ast.walk(tree):
        assert not isinstance(node, ast.Assert), f"{shown(path)}:{node.lineno} checks by assert"
        bare = isinstance(node, ast.ExceptHandler) and node.type is None
        assert not bare, f"{shown(path)}:{node.lineno} catches everything"


def test_an_import_inside_a_function_counts(tmp_path):
    (tmp_path / "nussl_transfer").mkdir()
    early = tmp_path / "nussl_transfer" / "store.py"
    early.write_text("def late():\n    from .training import fit\n    from . import cli\n    return fit, cli\n")
    assert imports(early, tmp_path) == {"nussl_transfer.training.fit", "nussl_transfer.cli"}
