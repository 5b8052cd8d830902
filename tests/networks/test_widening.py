"""A wider network computes what the narrow one does, and its new units can learn."""

import nussl
import pytest
import torch

from nussl_transfer.errors import ConfigError
from nussl_transfer.networks.chimera import build_transfer_chimera
from nussl_transfer.networks.widening import widen


def network(hidden_size: int, num_features: int = 33, **options) -> nussl.ml.SeparationModel:
    torch.manual_seed(0)
    config = build_transfer_chimera(
        3, num_features=num_features, hidden_size=hidden_size, num_layers=2, embedding_size=4, **options
    )
    return nussl.ml.SeparationModel(config).eval()


# 8 and 16 features: as many as the units of one direction, and as the units of both.
@pytest.mark.parametrize("num_features", [33, 8, 16])
@pytest.mark.parametrize("bidirectional", [True, False])
def test_a_wider_network_gives_the_same_outputs(num_features, bidirectional):
    narrow = network(8, num_features, bidirectional=bidirectional)
    wide = widen(narrow, 12).eval()
    assert wide.layers["recurrent_stack"].rnn.hidden_size == 12
    batch = {"mix_magnitude": torch.rand(2, 20, num_features, 1)}
    expected, found = narrow(batch), wide(batch)
    for name in ("embedding", "mask"):
        torch.testing.assert_close(found[name], expected[name], atol=1e-6, rtol=0)


def test_new_units_take_part_after_a_step_of_training():
    wide = widen(network(8), 12).train()
    optimizer = torch.optim.SGD(wide.parameters(), lr=0.1)
    batch = {"mix_magnitude": torch.rand(2, 20, 33, 1)}
    for _ in range(2):
        optimizer.zero_grad()
        wide(batch)["mask"][..., 0].pow(2).mean().backward()
        optimizer.step()
    new_rows = wide.layers["recurrent_stack"].rnn.weight_ih_l0.grad[8:12]
    assert new_rows.abs().sum() > 0


def test_a_narrower_network_and_other_layers_are_refused():
    with pytest.raises(ConfigError, match="more than the 8 units"):
        widen(network(8), 8)
    with pytest.raises(ConfigError, match="Only LSTM"):
        widen(network(8, rnn_type="gru"), 12)
