"""Tests of the names that `import nussl_transfer` offers, and of the modules that it loads."""

from __future__ import annotations

import ast
import inspect
import json
import subprocess
import sys
from pathlib import Path

import pytest

import nussl_transfer

ROOT = Path(__file__).parents[1]
NAMES = """
    finetune separate evaluate prepare check load fit Store Mixtures Run FitConfig MixtureConfig StemOptions
    TransferClosure TransferMaskEstimation TransferDeepClustering
    TransferError AudioFileError CheckpointError ConfigError DataError FetchError
""".split()


def run(code: str) -> dict:
    """Return the `facts` that a script gathers in a fresh Python."""
    script = f"import json, sys\n{code}\nprint(json.dumps(facts))"
    ended = subprocess.run([sys.executable, "-c", script], cwd=ROOT, capture_output=True, text=True)
    assert ended.returncode == 0, ended.stderr
    return json.loads(ended.stdout)


def test_the_public_names_are_the_documented_ones():
    assert sorted(nussl_transfer.__all__) == sorted(NAMES)
    assert set(NAMES) <= set(dir(nussl_transfer))


@pytest.mark.parametrize("name", NAMES)
def test_a_public_name_is_documented_and_has_the_name_of_its_definition(name):
    thing = getattr(nussl_transfer, name)
    assert thing.__name__ == name and thing.__module__.startswith("nussl_transfer.")
    assert thing.__doc__ and not thing.__doc__.startswith(f"{name}("), "a dataclass without a docstring"
    assert callable(thing)


def test_type_checkers_find_the_names_where_they_are():
    """The block under TYPE_CHECKING imports each name of the table, from the same module."""
    tree = ast.parse(inspect.getsource(nussl_transfer))
    (block,) = (node for node in tree.body if isinstance(node, ast.If))
    declared = {alias.name: node.module for node in block.body for alias in node.names}
    assert declared == nussl_transfer._HOMES


def test_an_unknown_name_is_an_attribute_error():
    with pytest.raises(AttributeError, match="module 'nussl_transfer' has no attribute 'finetun'"):
        _ = nussl_transfer.finetun


def test_importing_the_package_loads_nothing_heavy():
    facts = run("""
import nussl_transfer
dir(nussl_transfer)
facts = {name: name in sys.modules for name in ("torch", "nussl", "numpy", "scipy", "yaml")}
""")
    assert not any(facts.values()), facts


def test_nussl_is_repaired_and_has_our_parts_when_it_is_imported_afterwards():
    facts = run("""
import nussl_transfer
import nussl
facts = {
    "repaired": type(nussl.core.migration.torch).__name__,
    "registered": nussl.datasets.Bach10.__module__,
    "from": __import__("nussl.separation.deep", fromlist=["TransferMaskEstimation"]).TransferMaskEstimation.__name__,
    "finders": [type(finder).__name__ for finder in sys.meta_path if getattr(finder, "name", "") == "nussl"],
}
""")
    assert facts == {
        "repaired": "View",
        "registered": "nussl_transfer.datasets.bach10",
        "from": "TransferMaskEstimation",
        "finders": [],
    }


def test_nussl_is_repaired_when_a_module_of_the_package_is_the_first_to_import_it():
    facts = run("""
from nussl_transfer.networks.chimera import build_transfer_chimera
import nussl
facts = [nussl.ml.networks.builders.build_transfer_chimera is build_transfer_chimera,
         type(nussl.core.migration.torch).__name__]
""")
    assert facts == [True, "View"]
