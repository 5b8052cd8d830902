"""A deferred embedding gives the same loss and gradients as an embedding that was computed."""

from __future__ import annotations

import pytest
import torch
from nussl.ml.networks.modules import Embedding
from nussl.ml.train.loss import DeepClusteringLoss, WhitenedKMeansLoss
from torch.utils._python_dispatch import TorchDispatchMode

from nussl_transfer.networks.losses import GramDeepClusteringLoss, GramWhitenedKMeansLoss, grams
from nussl_transfer.networks.losses.heads import DeferredEmbedding

NB, NT, NF, NC, SIZE, NS, HIDDEN = 3, 7, 5, 2, 4, 3, 6


def head_with(*activation: str, bias: bool = True) -> Embedding:
    torch.manual_seed(0)
    return Embedding(NF, HIDDEN, SIZE, list(activation), num_audio_channels=NC, bias=bias)


def batch() -> tuple[torch.Tensor, torch.Tensor, torch.Tensor]:
    """Return the head's input (not contiguous, like the output of a recurrent layer), an ideal binary mask and weights."""
    generator = torch.Generator().manual_seed(1)
    hidden = torch.randn(NT, NB, HIDDEN, generator=generator).transpose(0, 1)
    loudest = torch.randint(NS, (NB, NT, NF, NC), generator=generator)
    weights = torch.rand(NB, NT, NF, NC, generator=generator) * 3
    return hidden, torch.nn.functional.one_hot(loudest, NS).float(), weights


def loss_and_gradients(loss, head, hidden, mask, weights, deferred: bool, **options) -> list[torch.Tensor]:
    hidden = hidden.detach().requires_grad_()
    head.zero_grad()
    value = loss(DeferredEmbedding(hidden, head, **options) if deferred else head(hidden), mask, weights)
    value.backward()
    return [value.detach(), hidden.grad, *(parameter.grad for parameter in head.parameters())]


# PIECE counts points: 1 gives pieces of one frame, 8 pieces of three of the seven frames, 2**14 one piece.
@pytest.fixture(params=[1, 8, 2**14])
def piece(request, monkeypatch):
    monkeypatch.setattr(grams, "PIECE", request.param)


@pytest.mark.parametrize(
    ("ours", "theirs"),
    [(GramDeepClusteringLoss(), DeepClusteringLoss()), (GramWhitenedKMeansLoss(), WhitenedKMeansLoss())],
    ids=["deep clustering", "whitened k-means"],
)
@pytest.mark.parametrize("activation", [("tanh", "unit_norm"), ("sigmoid", "unit_norm"), ("relu", "tanh"), ("relu",), ()])
def test_value_and_gradients_are_nussls_of_the_heads_own_embedding(piece, ours, theirs, activation):
    found = loss_and_gradients(ours, head_with(*activation), *batch(), deferred=True)
    expected = loss_and_gradients(theirs, head_with(*activation), *batch(), deferred=False)
    assert len(found) == 4
    for one, other in zip(found, expected, strict=True):
        torch.testing.assert_close(one, other, rtol=1e-4, atol=1e-5 * (1 + other.abs().max().item()))


def test_a_head_without_bias_works():
    found = loss_and_gradients(GramDeepClusteringLoss(), head_with("tanh", bias=False), *batch(), deferred=True)
    expected = loss_and_gradients(DeepClusteringLoss(), head_with("tanh", bias=False), *batch(), deferred=False)
    torch.testing.assert_close(found, expected, rtol=1e-4, atol=1e-6)


@pytest.mark.parametrize("frozen", ["head", "below"])
def test_frozen_parameters_get_no_gradient_and_the_others_get_theirs(frozen):
    hidden, mask, weights = batch()
    expected = loss_and_gradients(GramDeepClusteringLoss(), head_with("tanh"), hidden, mask, weights, deferred=False)
    head = head_with("tanh").requires_grad_(frozen != "head")
    hidden = hidden.detach().requires_grad_(frozen != "below")
    GramDeepClusteringLoss()(DeferredEmbedding(hidden, head), mask, weights).backward()
    found = [hidden.grad, head.linear.weight.grad, head.linear.bias.grad]
    wanted = [None, *expected[2:]] if frozen == "below" else [expected[1], None, None]
    for one, other in zip(found, wanted, strict=True):
        assert (one is None) == (other is None)
        if other is not None:
            torch.testing.assert_close(one, other, rtol=1e-4, atol=1e-6)


def test_the_bias_alone_can_train():
    expected = loss_and_gradients(GramDeepClusteringLoss(), head_with("tanh"), *batch(), deferred=False)
    head, (hidden, mask, weights) = head_with("tanh"), batch()
    head.linear.weight.requires_grad_(False)
    GramDeepClusteringLoss()(DeferredEmbedding(hidden, head), mask, weights).backward()
    assert head.linear.weight.grad is None
    torch.testing.assert_close(head.linear.bias.grad, expected[3], rtol=1e-4, atol=1e-6)


def test_in_bfloat16_parameters_and_loss_stay_in_float32():
    found = loss_and_gradients(GramDeepClusteringLoss(), head_with("tanh"), *batch(), deferred=True, dtype=torch.bfloat16)
    exact = loss_and_gradients(GramDeepClusteringLoss(), head_with("tanh"), *batch(), deferred=True)
    for one, other in zip(found, exact, strict=True):
        assert one.dtype == torch.float32
        assert not torch.equal(one, other), "nothing was computed in bfloat16"
        torch.testing.assert_close(one, other, rtol=0.05, atol=0.03 * other.abs().max().item())


def test_backward_keeps_only_the_activations_output_and_without_gradients_nothing_is_kept():
    hidden, mask, weights = batch()
    size, kept, made = NB * NT * NF * NC * SIZE, [], []

    def note(tensor):
        kept.append(tensor.numel())
        return tensor

    with torch.autograd.graph.saved_tensors_hooks(note, lambda tensor: tensor):
        GramDeepClusteringLoss()(DeferredEmbedding(hidden, head_with("tanh", "unit_norm")), mask, weights)
    assert [numel for numel in kept if numel >= size] == [size]
    embedding = DeferredEmbedding(hidden, head_with("tanh", "unit_norm"))
    with torch.no_grad(), Sizes(made):
        GramDeepClusteringLoss()(embedding, mask, weights)
    assert max(made) < size


class Sizes(TorchDispatchMode):
    """Records the sizes of the tensors that operations return."""

    def __init__(self, found: list[int]):
        super().__init__()
        self.found = found

    def __torch_dispatch__(self, func, types, args=(), kwargs=None):
        output = func(*args, **(kwargs or {}))
        self.found += [output.numel()] if isinstance(output, torch.Tensor) else []
        return output


def test_the_embedding_can_be_made():
    hidden, _, _ = batch()
    head = head_with("tanh", "unit_norm")
    torch.testing.assert_close(DeferredEmbedding(hidden, head).make(), head(hidden))


@pytest.mark.parametrize(
    ("head", "possible"),
    [
        (head_with("tanh", "unit_norm"), True),
        (head_with(), True),
        (head_with("softmax"), False),
        (head_with("tanh", "l1_norm"), False),
        (Embedding(NF, HIDDEN, SIZE, ["gated_tanh", "unit_norm"]), False),
        (Embedding(NF, HIDDEN, SIZE, ["tanh"], dim_to_embed=[2, 3]), False),
        (Embedding(NF, HIDDEN, SIZE, ["tanh"], reshape=False), False),
        (torch.nn.Linear(HIDDEN, SIZE), False),
    ],
)
def test_only_a_head_of_a_known_kind_can_be_deferred(head, possible):
    assert DeferredEmbedding.supports(head) == possible
