"""The losses by Gram matrices are nussl's, in value and in gradient."""

from __future__ import annotations

import pytest
import torch
from nussl.ml.train.loss import DeepClusteringLoss, WhitenedKMeansLoss

from nussl_transfer.networks.losses import GramDeepClusteringLoss, GramWhitenedKMeansLoss, grams

NB, NT, NF, NC, SIZE, NS = 3, 6, 5, 2, 4, 3
POINTS = NT * NF * NC
BOTH = pytest.mark.parametrize(
    ("ours", "theirs"),
    [(GramDeepClusteringLoss(), DeepClusteringLoss()), (GramWhitenedKMeansLoss(), WhitenedKMeansLoss())],
    ids=["deep clustering", "whitened k-means"],
)


def batch(seed: int = 0, sources: int = NS) -> tuple[torch.Tensor, torch.Tensor, torch.Tensor]:
    """Return embedding, ideal binary mask (a tenth of its points belong to none) and weights."""
    generator = torch.Generator().manual_seed(seed)
    embedding = torch.randn(NB, NT, NF, NC, SIZE, generator=generator)
    loudest = torch.randint(sources, (NB, NT, NF, NC), generator=generator)
    mask = torch.nn.functional.one_hot(loudest, sources).float()
    mask[torch.rand(NB, NT, NF, NC, generator=generator) < 0.1] = 0
    weights = torch.rand(NB, NT, NF, NC, generator=generator) * 3
    return embedding, mask, weights


def value_and_gradient(loss, embedding, mask, weights):
    embedding = embedding.clone().requires_grad_()
    value = loss(embedding, mask, weights)
    value.backward()
    return value.detach(), embedding.grad


# Pieces of one point, of a number that does not divide the points, of one that does, of exactly all points, and of more.
@pytest.fixture(params=[1, 7, 12, POINTS, POINTS + 1, grams.PIECE])
def piece(request, monkeypatch):
    monkeypatch.setattr(grams, "PIECE", request.param)
    return request.param


@BOTH
@pytest.mark.parametrize("seed", [0, 1])
def test_value_and_gradient_are_nussls(piece, ours, theirs, seed):
    ours, theirs = (value_and_gradient(loss, *batch(seed)) for loss in (ours, theirs))
    torch.testing.assert_close(ours[0], theirs[0], rtol=1e-5, atol=1e-5)
    torch.testing.assert_close(ours[1], theirs[1], rtol=1e-4, atol=1e-5 * theirs[1].abs().max().item())


def spoil(case: str, embedding, mask, weights):
    """Put one of the cases that a loss may handle wrongly into a batch."""
    if case == "an embedding that is zero":
        embedding[0, 0] = 0
    elif case == "two sources to a point":
        mask[0, :3] = 1
    elif case == "no source anywhere":
        mask.zero_()
    elif case == "a silent item":
        weights[1] = 0
    elif case == "loud and quiet items":
        weights[0] *= 1e3
        weights[1] *= 1e-3
    elif case == "long and short embeddings":
        embedding[0] *= 1e3
        embedding[1] *= 1e-3
    elif case == "one weight for all":
        weights.fill_(1)
    return embedding, mask, weights


@BOTH
@pytest.mark.parametrize(
    "case",
    [
        "an embedding that is zero",
        "two sources to a point",
        "no source anywhere",
        "a silent item",
        "loud and quiet items",
        "long and short embeddings",
        "one weight for all",
    ],
)
def test_value_and_gradient_are_nussls_for_awkward_batches(ours, theirs, case, monkeypatch):
    monkeypatch.setattr(grams, "PIECE", 17)
    given = spoil(case, *batch())
    ours, theirs = (value_and_gradient(loss, *given) for loss in (ours, theirs))
    assert torch.isfinite(theirs[0]) and torch.isfinite(theirs[1]).all()
    torch.testing.assert_close(ours[0], theirs[0], rtol=1e-5, atol=1e-5)
    for item in range(NB):
        torch.testing.assert_close(
            ours[1][item], theirs[1][item], rtol=1e-3, atol=1e-5 * theirs[1][item].abs().max().item() + 1e-12
        )


@BOTH
@pytest.mark.parametrize("sources", [1, 2, 8])
def test_value_and_gradient_are_nussls_for_any_number_of_sources(ours, theirs, sources):
    given = batch(2, sources)
    ours, theirs = (value_and_gradient(loss, *given) for loss in (ours, theirs))
    torch.testing.assert_close(ours, theirs, rtol=1e-4, atol=1e-5)


@BOTH
def test_the_loss_depends_on_the_direction_of_an_embedding_only(ours, theirs):
    embedding, mask, weights = batch()
    unit = torch.nn.functional.normalize(embedding, dim=-1)
    lengths = torch.rand(NB, NT, NF, NC, 1, generator=torch.Generator().manual_seed(1)) + 0.1
    torch.testing.assert_close(ours(lengths * unit, mask, weights), theirs(unit, mask, weights), rtol=1e-5, atol=1e-5)


def test_the_gradient_is_that_of_nussls_loss_in_double_precision():
    given = batch(3)
    _, gradient = value_and_gradient(GramDeepClusteringLoss(), *given)
    embedding, mask, weights = (tensor.double() for tensor in given)
    for seed in range(5):
        direction = torch.randn(embedding.shape, generator=torch.Generator().manual_seed(seed), dtype=torch.float64)
        step = 1e-5
        up, down = (DeepClusteringLoss()(embedding + sign * step * direction, mask, weights) for sign in (1, -1))
        torch.testing.assert_close((gradient.double() * direction).sum(), (up - down) / (2 * step), rtol=1e-4, atol=1e-6)


def test_a_perfect_embedding_has_loss_0_and_a_constant_one_has_a_higher_loss():
    _, mask, weights = batch()
    mask = torch.nn.functional.one_hot(mask.argmax(dim=-1), NS).float()
    loss = GramDeepClusteringLoss()
    assert loss(mask, mask, weights) == pytest.approx(0, abs=1e-6)
    assert loss(torch.ones_like(mask), mask, weights) > 0.3


def test_the_upstream_gradient_scales_the_gradient():
    embedding, mask, weights = batch()
    once = value_and_gradient(GramDeepClusteringLoss(), embedding, mask, weights)[1]
    thrice = value_and_gradient(lambda *given: 3 * GramDeepClusteringLoss()(*given), embedding, mask, weights)[1]
    torch.testing.assert_close(thrice, 3 * once)


def test_a_bfloat16_embedding_is_used_as_it_is_and_summed_in_float32():
    embedding, mask, weights = batch()
    embedding = embedding.bfloat16()
    value, gradient = value_and_gradient(GramDeepClusteringLoss(), embedding, mask, weights)
    expected, slope = value_and_gradient(DeepClusteringLoss(), embedding.float(), mask, weights)
    assert value.dtype == torch.float32 and gradient.dtype == torch.bfloat16
    torch.testing.assert_close(value, expected, rtol=1e-5, atol=1e-6)
    # The gradient itself is rounded to bfloat16: 8 bits.
    torch.testing.assert_close(gradient.float(), slope, rtol=2**-8, atol=1e-7)


@BOTH
def test_sums_are_in_float32_under_autocast(ours, theirs):
    expected = theirs(*batch())
    with torch.autocast("cpu", dtype=torch.bfloat16):
        found = ours(*batch())
    torch.testing.assert_close(found, expected, rtol=1e-5, atol=1e-5)


def test_the_same_batch_gives_the_same_bits():
    first, second = (value_and_gradient(GramDeepClusteringLoss(), *batch()) for _ in range(2))
    assert torch.equal(first[0], second[0]) and torch.equal(first[1], second[1])


def test_inputs_are_not_changed_and_strided_embeddings_work():
    embedding, mask, weights = batch()
    copies = embedding.clone(), mask.clone(), weights.clone()
    expected = GramDeepClusteringLoss()(embedding, mask, weights)
    frames = slice(1, None, 2)
    strided = GramDeepClusteringLoss()(embedding[:, frames], mask[:, frames], weights[:, frames])
    torch.testing.assert_close(strided, DeepClusteringLoss()(*(t[:, frames].contiguous() for t in copies)))
    torch.testing.assert_close(expected, DeepClusteringLoss()(*copies))
    assert all(torch.equal(one, other) for one, other in zip((embedding, mask, weights), copies, strict=True))


def test_only_the_embedding_is_kept_for_backward():
    embedding, mask, weights = batch()
    embedding.requires_grad_()
    kept = []
    with torch.autograd.graph.saved_tensors_hooks(lambda tensor: kept.append(tensor) or tensor, lambda tensor: tensor):
        GramDeepClusteringLoss()(embedding, mask, weights)
    of_its_size = [tensor for tensor in kept if tensor.numel() >= embedding.numel()]
    assert len(of_its_size) == 1 and of_its_size[0].data_ptr() == embedding.data_ptr()


@BOTH
def test_keys_are_those_of_nussls_loss(ours, theirs):
    assert ours.DEFAULT_KEYS == theirs.DEFAULT_KEYS
