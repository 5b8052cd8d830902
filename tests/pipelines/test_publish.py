"""A release: nussl alone opens its checkpoints, its card states the facts, and its entry gives it a name."""

from __future__ import annotations

import base64
import json
import subprocess
import sys
import threading
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer

import numpy as np
import nussl
import pytest
import torch
import yaml
from huggingface_hub import ModelCard

from nussl_transfer.checkpoints import zoo
from nussl_transfer.checkpoints.checkpoint import CheckpointInfo, read_checkpoint, read_info, write_checkpoint
from nussl_transfer.errors import CheckpointError, ConfigError
from nussl_transfer.networks.chimera import transplant, without_embedding
from nussl_transfer.pipelines.publish import publish, push
from nussl_transfer.runtime.download import sha256
from nussl_transfer.safe_loading.safe_load import safe_load

CURVE = {
    "points": [
        {"iteration": n, "train_loss": None if n == 0 else 1 / n, "valid_loss": 2 / (n + 1), "learning_rate": 1e-3}
        for n in range(0, 1300, 100)
    ]
}


@pytest.fixture
def run(tmp_path, small_chimera, tiny_stft):
    """The folder of a run that separates what `tiny_store` holds."""
    data = {"name": "tiny", "minutes": 5.5, "tracks": 4}
    info = CheckpointInfo(("bass", "drums", "voice"), "mask", 8000, tiny_stft, 0.5, "body", data)
    write_checkpoint(tmp_path / "run" / "checkpoints" / "best.model.pth", small_chimera(), info)
    (tmp_path / "run" / "curve.json").write_text(json.dumps(CURVE))
    return tmp_path / "run"


def card_of(folder):
    text = (folder / "README.md").read_text(encoding="utf-8")
    _, fields, body = text.split("---\n", 2)
    return yaml.safe_load(fields), body


def test_the_network_without_its_embedding_makes_the_same_masks(small_chimera):
    model = small_chimera().eval()
    smaller = without_embedding(model)
    data = {"mix_magnitude": torch.rand(2, 40, 33, 1)}
    with torch.no_grad():
        assert torch.equal(smaller(dict(data))["mask"], model(dict(data))["mask"])
        assert "embedding" not in smaller(dict(data))
    assert sum(p.numel() for p in smaller.parameters()) < sum(p.numel() for p in model.parameters())
    assert torch.equal(without_embedding(smaller)(dict(data))["mask"], smaller(dict(data))["mask"])


def test_removing_the_embedding_of_a_network_without_masks_is_an_error():
    config = nussl.ml.networks.builders.build_recurrent_dpcl(33, 4, 1, True, 0.0, 5, ["sigmoid"])
    with pytest.raises(CheckpointError, match="its masks depend on the embedding"):
        without_embedding(nussl.ml.SeparationModel(config))


def test_a_release_has_all_documented_files(run, tmp_path):
    folder = publish(run, "tiny-band", "CC-BY-4.0", tmp_path / "releases", what="Three sounds of a test.")
    assert folder == tmp_path / "releases" / "tiny-band"
    assert {path.name for path in folder.iterdir()} == {
        "tiny-band.pth", "tiny-band.full.pth", "README.md", "curve.json", "zoo.json", "model.safetensors", "config.json"
    }  # fmt: skip
    fields, body = card_of(folder)
    assert fields["license"] == "cc-by-4.0" and fields["library_name"] == "nussl" and "base_model" not in fields
    assert {"bass", "drums", "voice", "audio-source-separation"} <= set(fields["tags"])
    for words in ("# tiny-band", "Three sounds of a test.", "| minutes | 5.5 |", "only the mask head", "| 1200 |",
                  "not stated", "This model was not tested"):  # fmt: skip
        assert words in body


def test_the_entry_gives_it_a_name(run, tmp_path, monkeypatch):
    folder = publish(run, "tiny-band", "MIT", tmp_path / "releases", half=True)
    monkeypatch.setenv("NUSSL_TRANSFER_HOME", str(folder))
    path = zoo.resolve("tiny-band")
    about = zoo.models()["tiny-band"]
    assert about["sha256"] == sha256(path) and about["bytes"] == path.stat().st_size
    assert about["sources"] == ["bass", "drums", "voice"] and about["mode"] == "mask" and about["license"] == "MIT"
    assert read_info(path).labels == ("bass", "drums", "voice") and read_info(path).data["minutes"] == 5.5


def test_an_address_is_written_into_the_entry(run, tmp_path):
    folder = publish(run, "tiny-band", "MIT", tmp_path / "releases", url="https://example.org/tiny-band.pth")
    about = json.loads((folder / "zoo.json").read_text())["tiny-band"]
    assert about["url"] == "https://example.org/tiny-band.pth" and "file" not in about


def test_the_file_to_separate_with_is_smaller_and_the_full_one_is_the_network_as_trained(run, tmp_path):
    folder = publish(run, "tiny-band", "MIT", tmp_path / "releases", half=True)
    trained, info = read_checkpoint(zoo.resolve(run))
    full, full_info = read_checkpoint(folder / "tiny-band.full.pth")
    assert full_info == info
    assert all(torch.equal(full.state_dict()[name], tensor) for name, tensor in trained.state_dict().items())
    small, _ = read_checkpoint(folder / "tiny-band.pth")
    assert "embedding" not in small.layers
    weights = [safe_load(folder / f"tiny-band{part}.pth")["state_dict"] for part in ("", ".full")]
    assert {tensor.dtype for tensor in weights[0].values() if tensor.is_floating_point()} == {torch.float16}
    transplant(full, ("a", "b"))  # as `finetune --checkpoint` does


def test_nussl_alone_opens_it(run, tmp_path):
    # This process imports only the repairs of nussl: no losses, builders or separators of this package.
    folder = publish(run, "tiny-band", "MIT", tmp_path / "releases", half=True)
    np.save(tmp_path / "mix.npy", np.random.default_rng(0).standard_normal((1, 8000)) * 0.1)
    program = """
import sys, types, importlib.util
import numpy as np
package = types.ModuleType("nussl_transfer")
package.__path__ = [sys.argv[1]]
sys.modules["nussl_transfer"] = package
from nussl_transfer import compat
compat.repair()
import nussl
mix = nussl.AudioSignal(audio_data_array=np.load(sys.argv[3]), sample_rate=8000)
estimates = nussl.separation.deep.DeepMaskEstimation(mix, sys.argv[2], mask_type="soft")()
assert not {name for name in sys.modules if name.startswith("nussl_transfer.")} & {"nussl_transfer.networks.chimera"}
np.save(sys.argv[3], np.stack([estimate.audio_data for estimate in estimates]))
"""
    words = [str(zoo.MODELS.parent), str(folder / "tiny-band.pth"), str(tmp_path / "mix.npy")]
    mixture = np.load(tmp_path / "mix.npy")
    subprocess.run([sys.executable, "-c", program, *words], check=True, timeout=120)
    estimates = np.load(tmp_path / "mix.npy")
    assert estimates.shape == (3, 1, 8000)
    np.testing.assert_allclose(estimates.sum(axis=0), mixture, atol=1e-5)


def test_with_a_test_the_card_shows_the_masks_before_and_after(run, tmp_path, tiny_store):
    folder = publish(run, "tiny-band", "MIT", tmp_path / "releases", half=True, test=tiny_store)
    scores = json.loads((folder / "scores.json").read_text())
    means = {row["estimate"]: row["mean"] for row in scores["summary"] if row["label"] is None}
    assert abs(means["tiny-band"] - means["before"]) < 0.05 < means["oracle"] - means["before"]
    _, body = card_of(folder)
    row = next(line for line in body.splitlines() if line.startswith("| this file |"))
    assert row.endswith(f"| {means['tiny-band']:.2f} |")
    assert json.loads((folder / "zoo.json").read_text())["tiny-band"]["score"] == f"{means['tiny-band']:.1f} dB"
    assert ".part" not in (folder / "scores.json").read_text()


def test_a_pretrained_body_is_published_whole(tmp_path, small_chimera, tiny_stft):
    info = CheckpointInfo((), "pretrain", 8000, tiny_stft, 2.0, None, {"name": "tiny"})
    path = write_checkpoint(tmp_path / "body.pth", small_chimera(), info)
    folder = publish(path, "tiny-body", "MIT", tmp_path / "releases")
    assert "embedding" in read_checkpoint(folder / "tiny-body.pth")[0].layers
    assert "--checkpoint tiny-body.pth" in card_of(folder)[1]


@pytest.mark.parametrize("name", ["", "Tiny", "../tiny", "a b", ".tiny", "a" * 65])
def test_a_name_that_cannot_be_one_is_refused(run, tmp_path, name):
    with pytest.raises(ConfigError, match="Choose another"):
        publish(run, name, "MIT", tmp_path / "releases")


def test_a_licence_is_required(run, tmp_path):
    with pytest.raises(ConfigError, match="has no licence"):
        publish(run, "tiny-band", " ", tmp_path / "releases")


def test_an_existing_release_is_not_overwritten(run, tmp_path):
    folder = publish(run, "tiny-band", "MIT", tmp_path / "releases")
    before = (folder / "README.md").read_bytes()
    with pytest.raises(ConfigError, match="exists already"):
        publish(run, "tiny-band", "CC0-1.0", tmp_path / "releases")
    assert (folder / "README.md").read_bytes() == before


def test_a_release_that_fails_leaves_nothing(run, tmp_path, tiny_store, monkeypatch):
    monkeypatch.setattr("nussl_transfer.pipelines.publish.evaluate", lambda *args, **kwargs: 1 / 0)
    with pytest.raises(ZeroDivisionError):
        publish(run, "tiny-band", "MIT", tmp_path / "releases", test=tiny_store)
    assert not list((tmp_path / "releases").iterdir())


def test_the_licence_of_a_known_data_set_is_filled_in(tmp_path, small_chimera, tiny_stft):
    info = CheckpointInfo(("a", "b", "c"), "whole", 8000, tiny_stft, 2.0, None, {"name": "DagstuhlChoirSet", "minutes": 70})
    path = write_checkpoint(tmp_path / "choir.pth", small_chimera(), info)
    _, body = card_of(publish(path, "tiny-choir", "CC-BY-4.0", tmp_path / "releases"))
    assert "| licence of the data | CC BY 4.0 |" in body


def test_the_folder_has_the_form_of_a_model_repository_of_the_hub(run, tmp_path, tiny_store):
    folder = publish(run, "tiny-band", "CC-BY-4.0", tmp_path / "releases", test=tiny_store)
    card = ModelCard.load(folder / "README.md")
    assert (card.data.pipeline_tag, card.data.license, card.data.datasets) == ("audio-to-audio", "cc-by-4.0", ["tiny"])
    scores = json.loads((folder / "scores.json").read_text())
    entry = next(e for e in scores["summary"] if (e["estimate"], e["label"]) == ("tiny-band", None))
    found = {
        result.metric_type: result.metric_value for result in card.data.eval_results if result.metric_name.endswith("all")
    }
    assert found == {"si-sdr": round(entry["mean"], 2), "si-sdri": round(entry["improvement"], 2)}
    network, info = read_checkpoint(folder / "model.safetensors")
    of_nussl, same_info = read_checkpoint(folder / "tiny-band.pth")
    assert info == same_info
    assert all(torch.equal(tensor, of_nussl.state_dict()[name]) for name, tensor in network.state_dict().items())


def test_a_licence_that_the_hub_does_not_know_is_named(run, tmp_path):
    fields, _ = card_of(publish(run, "tiny-band", "My own terms", tmp_path / "releases"))
    assert (fields["license"], fields["license_name"]) == ("other", "my-own-terms")


@pytest.fixture
def hub(monkeypatch):
    """A server that takes uploads as the hub does; yield the uploaded files by name, and the requests."""
    files, asked = {}, []

    class Answer(BaseHTTPRequestHandler):
        def log_message(self, *words):
            pass

        def do_POST(self):
            body = self.rfile.read(int(self.headers.get("Content-Length") or 0))
            asked.append((self.path, self.headers.get("authorization")))
            given = [json.loads(line) for line in body.splitlines() if line.strip()] if body else []
            if self.path == "/api/repos/create":
                if given[0]["name"] == "forbidden":
                    return self.answer({"error": "You have no rights here"}, 403)
                return self.answer({"url": f"http://{self.headers['Host']}/somebody/band"})
            if "/preupload/" in self.path:
                return self.answer(
                    {"files": [{**one, "uploadMode": "regular", "shouldIgnore": False} for one in given[0]["files"]]}
                )
            if "/commit/" in self.path:
                for line in given:
                    if line["key"] == "file":
                        files[line["value"]["path"]] = base64.b64decode(line["value"]["content"])
                return self.answer(
                    {"commitUrl": "https://huggingface.co/somebody/band/commit/" + "1" * 40, "commitOid": "1" * 40}
                )
            return self.answer({"errors": [], "warnings": []})  # api/validate-yaml

        def answer(self, value, status=200):
            content = json.dumps(value).encode()
            self.send_response(status)
            self.send_header("Content-Type", "application/json")
            self.send_header("Content-Length", str(len(content)))
            self.end_headers()
            self.wfile.write(content)

    server = ThreadingHTTPServer(("127.0.0.1", 0), Answer)
    threading.Thread(target=server.serve_forever, daemon=True).start()
    monkeypatch.setenv("HF_ENDPOINT", f"http://127.0.0.1:{server.server_port}")
    yield files, asked
    server.shutdown()
    server.server_close()


def test_a_release_is_pushed_whole(run, tmp_path, hub):
    files, asked = hub
    folder = publish(run, "tiny-band", "MIT", tmp_path / "releases")
    assert push(folder, "somebody/band", token="hf_secret") == "hf://somebody/band"
    assert {name: content for name, content in files.items() if name != ".gitattributes"} == {
        path.name: path.read_bytes() for path in folder.iterdir()
    }
    assert all(token == "Bearer hf_secret" for path, token in asked if "validate" not in path)


def test_a_refusal_by_the_hub_is_a_one_sentence_error(run, tmp_path, hub):
    folder = publish(run, "tiny-band", "MIT", tmp_path / "releases")
    with pytest.raises(ConfigError, match="cannot be uploaded to somebody/forbidden: .*403"):
        push(folder, "somebody/forbidden", token="hf_secret")
    with pytest.raises(ConfigError, match="expected owner/name"):
        push(folder, "band")
    with pytest.raises(ConfigError, match="is not a release"):
        push(tmp_path, "somebody/band")


def test_a_name_of_a_published_model_is_taken(run, tmp_path):
    with pytest.raises(ConfigError, match="'quartet' is taken"):
        publish(run, "quartet", "MIT", tmp_path / "releases")
