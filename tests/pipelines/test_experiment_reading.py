"""Tests of reading experiments: differences from a base, and errors with the place and the nearest right name."""

from __future__ import annotations

import pytest

from nussl_transfer.errors import ConfigError
from nussl_transfer.pipelines.experiment import Experiment, Iterations, StoreConfig
from nussl_transfer.pipelines.experiment_reading import read_experiment


@pytest.fixture
def write(tmp_path):
    """Return a function that writes experiments, as name=text, and return the path of the last."""

    def files(**texts):
        for name, text in texts.items():
            path = tmp_path / f"{name}.yml"
            path.write_text(text)
        return path

    return files


def test_an_empty_difference_is_the_default(write):
    assert read_experiment(write(one="base: two.yml\n", two="training:\n", a="base: one.yml\n")) == Experiment()


def test_a_difference_changes_what_it_names_and_nothing_else(write):
    path = write(
        below="data: {coherent: 0.25, gain_db: 3}\ntraining: {seed: 7, frozen: [mask, embedding]}\n",
        middle="base: below.yml\ntraining: {frozen: [recurrent_stack]}\ndata: {coherent: 0.5}\n",
        above="base: middle.yml\ntraining: {learning_rate: 1e-4}\n",
    )
    found = read_experiment(path)
    assert (found.data.coherent, found.data.gain_db) == (0.5, 3.0)
    assert (found.training.seed, found.training.learning_rate) == (7, 1e-4)
    assert found.training.frozen == ("recurrent_stack",), "a list is replaced, not added to"
    assert found.network == Experiment().network


def test_a_base_is_found_beside_the_file_that_names_it(write, tmp_path):
    (tmp_path / "deeper").mkdir()
    (tmp_path / "deeper" / "one.yml").write_text("base: ../two.yml\n")
    write(two="training: {seed: 3}\n")
    assert read_experiment(tmp_path / "deeper" / "one.yml").training.seed == 3


def test_stores_are_merged_by_name_and_null_removes_one(write):
    path = write(
        below="data:\n  stores:\n    a: {folder: here, share: 2, groups: {x: [y]}}\n    b: {folder: there}\n",
        above="base: below.yml\n"
        "data:\n  stores:\n    a: {folder: other, groups: {z: [y]}}\n    b: null\n    c: {folder: new}\n",
    )
    stores = read_experiment(path).data.stores
    assert stores == {
        "a": StoreConfig(folder="other", share=2.0, groups={"z": ["y"]}),
        "c": StoreConfig(folder="new"),
    }


def test_iterations_are_a_number_or_one_for_each_kind_of_run(write):
    path = write(base="training: {iterations: {pretrain: 5}}\n", one="base: base.yml\ntraining: {iterations: 400}\n")
    assert read_experiment(path).training.fit_config("pretrain").iterations == 400
    by_kind = read_experiment(path.parent / "base.yml")
    assert by_kind.training.iterations == Iterations(pretrain=5)
    assert by_kind.training.fit_config("pretrain").iterations == 5


@pytest.mark.parametrize(
    ("text", "kind"),
    [
        ("training: {mode: pretrain}\n", "pretrain"),
        ("training: {mode: pretrain}\nstart: {checkpoint: body}\n", "pretrain"),
        ("training: {mode: mask}\nstart: {checkpoint: body}\n", "finetune"),
        ("training: {mode: whole}\n", "scratch"),
    ],
)
def test_the_kind_of_a_run_is_decided_by_its_mode_and_its_start(write, text, kind):
    assert read_experiment(write(one=text)).kind == kind


def test_overrides_come_last_and_are_read_as_yaml(write):
    path = write(one="training: {seed: 1}\ndata:\n  stores:\n    a: {folder: here}\n")
    overrides = [
        "training.seed=2",
        "training.learning_rate=1e-4",
        "data.augment=[pitch, stretch]",
        "data.stores.a.folder=/some/where=else",
        "start.checkpoint=null",
        "training.seed=3",
    ]
    found = read_experiment(path, overrides)
    assert (found.training.seed, found.training.learning_rate) == (3, 1e-4)
    assert found.data.augment == ("pitch", "stretch") and found.start.checkpoint is None
    assert found.data.stores["a"].folder == "/some/where=else"


# What is wrong --------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("text", "said"),
    [
        ("training:\n  seed: 1\n  iteration: 4", r"one\.yml, line 3: .*\.iteration\. Did you mean training\.iterations"),
        ("data:\n  pich: [1, 2]\n", r"line 2: .* data\.pich\. Did you mean data\.pitch\?"),
        ("learning_rate: 3\n", r"line 1: .* learning_rate\. Did you mean training\.learning_rate\?"),
        ("trainin: {}\n", r"no key trainin\. Did you mean training\?"),
        ("xyzzy: 1\n", r"no key xyzzy\. The sections are data, network, training, start, test\."),
        ("start: {qqq: 1}\n", r"no key start\.qqq\. The keys of start are checkpoint\."),
        ("data:\n  stores:\n    a: {foldr: x}", r"line 3: .*stores\.a\.foldr\. Did you mean data\.stores\.a\.folder"),
        ("training:\n  seed: one\n", r"line 2: training\.seed takes a whole number, got 'one'\."),
        ("training: {seed: 1.5}\n", r"training\.seed takes a whole number, got 1\.5\."),
        ("training: {seed: true}\n", r"training\.seed takes a whole number, got True\."),
        ("training: {seed: null}\n", r"training\.seed takes a whole number, got null\."),
        ("training: {bf16: 1}\n", r"training\.bf16 takes true or false, got 1\."),
        ("training: {frozen: mask}\n", r"training\.frozen takes a list \(each text\), got 'mask'\."),
        ("training: {iterations: many}", r"takes a whole number or the keys pretrain, finetune, scratch, got 'many'"),
        ("training: {iterations: {fine: 3}}\n", r"iterations\.fine\. Did you mean training\.iterations\.finetune"),
        ("data: {pitch: [1, 2, 3]}\n", r"data\.pitch takes a list of 2 \(a number each\), got \[1, 2, 3\]\."),
        ("data: {augment: [tempo]}\n", r"data\.augment takes a list \(each one of 'pitch', 'stretch'\), got \['tempo'\]"),
        ("data:\n  stores:\n    a: {folder: x, silent: no}\n", r"silent takes one of 'error', 'keep', 'skip', got False"),
        ("data: {stores: here}\n", r"data\.stores takes keys, got 'here'\."),
        ("data: 5\n", r"data takes keys, got 5\."),
        ("data:\n  gain_db: 1\n  gain_db: 2\n", r"line 3: data\.gain_db is given twice\."),
        ("? [a, b]\n: 1\n", r"line 1: a key is one word, got \['a', 'b'\]\."),
        ("data:\n  stores:\n    a: {share: 1}\n", r"data\.stores\.a\.folder is missing and has no default\."),
        ("network: {window_length: 256}\n", r"num_features is 257: a window of 256 samples gives 129 bins"),
        ("base: one.yml\n", r"its own base: one\.yml -> one\.yml\."),
        ("base: two.yml\n", r"two\.yml, the base of one\.yml, cannot be read: .*Its folder has one\.yml\."),
        ("base: [two.yml]\n", r"line 1: `base` must be given once and name one file: got \['two\.yml'\]"),
        ("training: [\n", r"one\.yml is not YAML: .*line 2"),
        ("just words\n", r"one\.yml is not an experiment"),
        ("", r"one\.yml is not an experiment"),
    ],
)  # fmt: skip
def test_a_mistake_is_an_error_with_its_place_and_the_nearest_right_name(write, text, said):
    with pytest.raises(ConfigError, match=f"(?s){said}"):
        read_experiment(write(one=text))


def test_a_circle_of_bases_is_an_error_that_shows_it(write):
    path = write(c="base: b.yml\n", b="base: c.yml\n", a="base: b.yml\n")
    with pytest.raises(ConfigError, match=r"b\.yml -> c\.yml -> b\.yml"):
        read_experiment(path)


def test_a_mistake_in_a_base_names_the_base(write):
    with pytest.raises(ConfigError, match=r"below\.yml, line 1: there is no key trainig\. Did you mean training\?"):
        read_experiment(write(below="trainig: {}\n", above="base: below.yml\n"))


@pytest.mark.parametrize(
    ("override", "said"),
    [
        ("training.seed", r"'training\.seed': write it as section\.key=value"),
        ("=3", "write it as section.key=value"),
        ("training..seed=3", "write it as section.key=value"),
        ("training.sed=3", r"override 'training\.sed=3': there is no key training\.sed\. Did you mean training\.seed\?"),
        ("training.seed=x", "training.seed takes a whole number, got 'x'"),
        ("training.seed.x=3", "training.seed takes a whole number, got {'x': 3}"),
        ("training.frozen=[", r"'\[' is not YAML"),
        ("training.seed=", "training.seed takes a whole number, got null"),
        ("training.seed= ", "training.seed takes a whole number, got null"),
        ("training.seed=# later", "training.seed takes a whole number, got null"),
    ],
)
def test_a_mistake_in_an_override_names_the_override(write, override, said):
    with pytest.raises(ConfigError, match=said):
        read_experiment(write(one="training: {seed: 1}\n"), [override])
