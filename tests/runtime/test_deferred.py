"""Tests of deferred imports, and of code that runs when a module is imported."""

from __future__ import annotations

import contextlib
import importlib
import json
import subprocess
import sys
import types
from pathlib import Path

import nussl
import pytest

from nussl_transfer.checkpoints.checkpoint import CheckpointInfo, write_checkpoint
from nussl_transfer.runtime.deferred import OnFirstUse, on_first_use, on_import

ROOT = Path(__file__).parents[2]


@pytest.fixture
def package(tmp_path, monkeypatch):
    """A package `late` that lists in `late.log.ran` which of its modules have run; `late` imports `late.work`."""
    folder = tmp_path / "late"
    (folder / "work").mkdir(parents=True)
    (folder / "__init__.py").write_text("from . import work\nfrom .log import ran\n")
    (folder / "log.py").write_text("ran = []\n")
    (folder / "work" / "__init__.py").write_text(
        "from ..log import ran\nfrom . import inner\nran.append(__name__)\nvalue = inner.value\n"
    )
    (folder / "work" / "inner.py").write_text("from ..log import ran\nran.append(__name__)\nvalue = 5\n")
    (folder / "work" / "more.py").write_text("")
    monkeypatch.syspath_prepend(str(tmp_path))
    meta_path = list(sys.meta_path)
    yield "late"
    sys.meta_path[:] = meta_path
    for name in [name for name in sys.modules if name.split(".")[0] == "late"]:
        del sys.modules[name]


@pytest.fixture
def late(package):
    """The package, with its module `work` deferred."""
    with on_first_use("late.work"):
        return importlib.import_module(package)


def test_a_module_is_imported_once_at_first_use(late):
    placeholder = late.work
    assert isinstance(placeholder, OnFirstUse) and "late.work" not in sys.modules and late.ran == []
    assert placeholder.value == 5
    assert late.ran == ["late.work.inner", "late.work"]
    assert late.work is sys.modules["late.work"] is not placeholder
    assert placeholder.inner is late.work.inner  # a placeholder that was kept works as well
    assert "value" in dir(placeholder)
    assert len(late.ran) == 2


@pytest.mark.parametrize(
    "way",
    ["from late.work import value", "from late.work import *", "from late.work.inner import value"],
)
def test_every_form_of_import_imports_the_module_once(late, way):
    found = {}
    exec(way, found)
    assert found["value"] == 5
    assert late.ran == ["late.work.inner", "late.work"]
    assert type(late.work) is types.ModuleType


def test_a_submodule_is_found_and_a_missing_name_is_an_attribute_error(late):
    assert late.work.more.__name__ == "late.work.more"
    for module in (late.work, OnFirstUse("late.work"), OnFirstUse("late.log")):
        with pytest.raises(AttributeError, match=f"module '{module.__name__}' has no attribute 'nothing'"):
            _ = module.nothing


def test_reading_dunder_attributes_imports_nothing(late):
    for name in ("__file__", "__path__", "__spec__", "__warningregistry__", "__wrapped__"):
        getattr(late.work, name, None)
    assert late.ran == []


def test_imported_or_missing_packages_are_left_alone():
    with on_first_use("json", "no_such_package"):
        assert sys.modules["json"] is json and "no_such_package" not in sys.modules


def test_a_class_imported_in_the_block_behaves_as_the_class(monkeypatch):
    monkeypatch.delitem(sys.modules, "fractions", raising=False)
    found = {}
    with on_first_use("fractions"):
        exec("from fractions import Fraction", found)
    assert "fractions" not in sys.modules
    late_class = found["Fraction"]
    half = late_class(1, 2)
    import fractions

    assert type(half) is fractions.Fraction and isinstance(half, late_class) and not isinstance(0.5, late_class)
    assert late_class.from_float(0.5) == half

    class Third(late_class):
        pass

    assert Third.__mro__[1] is fractions.Fraction


def test_the_context_holds_while_a_module_runs_and_the_function_is_called_after(late):
    events = []

    @contextlib.contextmanager
    def around():
        events.append(("begins", len(late.ran)))
        yield
        events.append(("ends", len(late.ran)))

    finders = list(sys.meta_path)
    on_import("late.work", around=around)
    on_import("late.work", lambda: events.append(("after", late.work.value)))
    assert events == []
    assert late.work.value == 5
    assert events == [("begins", 0), ("ends", 2), ("after", 5)]
    assert sys.meta_path == finders and type(late.work.__loader__).__name__ == "SourceFileLoader"
    on_import("late.work", lambda: events.append("at once"))
    assert events[-1] == "at once"


def test_a_failing_import_raises_each_time_until_it_succeeds(late, tmp_path):
    inner = tmp_path / "late" / "work" / "inner.py"
    text, events = inner.read_text(), []
    inner.write_text("raise ImportError('no such library')\n")
    on_import("late.work", lambda: events.append("after"))
    for _ in range(2):
        with pytest.raises(ImportError, match="no such library"):
            _ = late.work.value
    assert events == []
    inner.write_text(text + "# of another size than before\n")
    importlib.invalidate_caches()
    assert late.work.value == 5
    assert events == ["after"]


def test_a_function_that_fails_fails_the_import_and_is_called_again(late):
    calls = []

    def fail_once():
        calls.append(late.log.ran[-1])
        if len(calls) == 1:
            raise OSError("not yet")

    on_import("late.work", fail_once)
    with pytest.raises(OSError, match="not yet"):
        _ = late.work.value
    assert late.work.value == 5
    assert calls == ["late.work"] * 2


DEFERRED = """
import json, sys
import nussl_transfer
import nussl
import nussl_transfer.separation.files, nussl_transfer.cli
heavy = ["ignite", "tensorboard", "pandas", "numba", "librosa.core", "gpytorch", "museval", "jams", "sklearn",
         "torch._dynamo"]
facts = [name for name in heavy if name in sys.modules]
nussl_transfer.separation.ensemble.open_mask_network(sys.argv[1])
facts += [name for name in heavy if name in sys.modules]
kinds = [nussl.ml.train.closures.TransferClosure, nussl.ml.train.loss.GramDeepClusteringLoss, nussl.ml.cluster.KMeans,
         nussl.ml.confidence.silhouette_confidence, sys.modules["nussl.evaluation.report_card"].pd.DataFrame,
         nussl.ml.train.BackwardsEvents, nussl.separation.factorization.ica.sklearn.decomposition.FastICA,
         type(nussl.ml.NMF(2)), type(nussl.datasets.transforms.OneHotEncoder())]
print(json.dumps([facts, [kind.__module__.split(".")[0] for kind in kinds]]))
"""


def test_opening_a_network_imports_nothing_for_training_or_scores(tmp_path, tiny_model):
    info = CheckpointInfo(("a", "b"), "whole", 16000, nussl.STFTParams(512, 128, "sqrt_hann"))
    path = write_checkpoint(tmp_path / "model.pth", tiny_model(), info)
    ended = subprocess.run([sys.executable, "-c", DEFERRED, path], cwd=ROOT, capture_output=True, text=True)
    assert ended.returncode == 0, ended.stderr
    imported, found = json.loads(ended.stdout)
    assert imported == []
    theirs = ["sklearn", "nussl", "pandas", "nussl", "sklearn", "sklearn", "sklearn"]
    assert found == ["nussl_transfer", "nussl_transfer", *theirs]
