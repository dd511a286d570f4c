"""The Titans rule: gradients against autograd, the chunk form against the recurrence, nothing that is not finite."""

from __future__ import annotations

from dataclasses import replace
from itertools import pairwise

import numpy as np
import pytest
import torch

from hippomem.neocortex.neural_memory import Chain, Gates, MapOptions, SlowMap
from hippomem.neocortex.neural_memory.contexts import RULES
from hippomem.neocortex.neural_memory.networks import Linear, Perceptron, network_of
from hippomem.neocortex.neural_memory.titans import chunkwise, gate_values

Weights = dict[str, torch.Tensor]
D = 12
GATES = [
    Gates(),
    Gates(step=0.3, momentum=0.7),
    Gates(step=0.2, forgetting=0.1),
    Gates(step=0.2, momentum=0.9, forgetting=0.05),
    Gates(step=0.2, momentum=0.5, forgetting=0.2, by_surprise=1.0),
]


def unit(count: int, seed: int, dimension: int = D) -> np.ndarray:
    rows = np.random.default_rng(seed).standard_normal((count, dimension)).astype(np.float32)
    return rows / np.linalg.norm(rows, axis=1, keepdims=True)


def losses_of(map_: SlowMap, keys: np.ndarray, values: np.ndarray) -> np.ndarray:
    return ((keys + map_.read(keys) - values) ** 2).sum(axis=1)


def tensors(count: int, seed: int = 0) -> tuple[torch.Tensor, torch.Tensor, torch.Tensor]:
    confidence = np.random.default_rng(seed + 9).uniform(0.3, 1.0, count).astype(np.float32)
    return torch.tensor(unit(count, seed)), torch.tensor(unit(count, seed + 1)), torch.tensor(confidence)


def weights_of(network: Linear | Perceptron, seed: int) -> dict[str, torch.Tensor]:
    source = torch.Generator().manual_seed(seed)
    initial = network.initial(D, seed)
    return {n: torch.tensor(w) + 0.3 * torch.randn(w.shape, generator=source) for n, w in initial.items()}


def sequential(
    network: Linear | Perceptron,
    weights: Weights,
    momentum: Weights,
    keys: torch.Tensor,
    values: torch.Tensor,
    confidence: torch.Tensor,
    gates: Gates,
    usual: float = 0.0,
    frozen: bool = False,
) -> tuple[Weights, Weights]:
    """The rule as titans.py states it, example by example; `frozen` takes gradients and gates at the beginning, as
    `chunkwise` does."""
    combine, losses, curvature = network.gradients(weights, keys, values)
    theta, eta, alpha = gate_values(losses, curvature, confidence, keys, gates, usual)
    for i in range(len(keys)):
        if frozen:
            one = torch.zeros(len(keys), device=keys.device)
            one[i] = theta[i]
            surprise, e, a = combine(one), eta[i], alpha[i]
        else:
            at = slice(i, i + 1)
            single, loss, curve = network.gradients(weights, keys[at], values[at])
            t, ee, aa = gate_values(loss, curve, confidence[at], keys[at], gates, usual)
            surprise, e, a = single(t), ee[0], aa[0]
        momentum = {name: e * momentum[name] - surprise[name] for name in weights}
        weights = {name: (1 - a) * w + momentum[name] for name, w in weights.items()}
    return weights, momentum


@pytest.mark.parametrize("kind", ["linear", "mlp"])
def test_gradients_are_those_of_autograd(kind: str) -> None:
    network = network_of(kind, D)  # type: ignore[arg-type]
    weights = {name: w.requires_grad_() for name, w in weights_of(network, 3).items()}
    keys, values, coefficients = tensors(7)
    combine, losses, _ = network.gradients(weights, keys, values)
    expected = ((network.apply(weights, keys) - values) ** 2).sum(1)
    assert torch.allclose(losses, expected)
    (coefficients * expected).sum().backward()
    for name, gradient in combine(coefficients).items():
        assert torch.allclose(gradient, weights[name].grad, atol=1e-5), name


@pytest.mark.parametrize("kind", ["linear", "mlp"])
def test_the_curvature_is_how_far_a_step_moves_the_output(kind: str) -> None:
    """To first order, a step θ on one example shortens its error by 2 θ times the curvature."""
    network = network_of(kind, D)  # type: ignore[arg-type]
    weights = weights_of(network, 4)
    keys, values, _ = tensors(1)
    combine, losses, curvature = network.gradients(weights, keys, values)
    theta = 1e-4
    moved = {name: w - theta * g for (name, w), g in zip(weights.items(), combine(torch.ones(1)).values(), strict=True)}
    _, after, _ = network.gradients(moved, keys, values)
    slope = float((losses - after) / (theta * 4 * losses))
    assert slope == pytest.approx(float(curvature), rel=0.02)


@pytest.mark.parametrize("gates", GATES)
@pytest.mark.parametrize("kind", ["linear", "mlp"])
@pytest.mark.parametrize("count", [1, 5, 16])
def test_a_chunk_equals_the_recurrence_with_its_gradients(kind: str, gates: Gates, count: int) -> None:
    network = network_of(kind, D)  # type: ignore[arg-type]
    weights = weights_of(network, 5)
    momentum = {
        name: 0.1 * torch.randn(w.shape, generator=torch.Generator().manual_seed(1)) for name, w in weights.items()
    }
    keys, values, confidence = tensors(count)
    step = chunkwise(network, weights, momentum, keys, values, confidence, gates, usual=1.5)
    expected, speed = sequential(network, weights, momentum, keys, values, confidence, gates, usual=1.5, frozen=True)
    for name in weights:
        assert torch.allclose(step.weights[name], expected[name], atol=1e-5)
        assert torch.allclose(step.momentum[name], speed[name], atol=1e-5)


@pytest.mark.parametrize("gates", GATES)
def test_a_chunk_of_one_is_the_recurrence_itself(gates: Gates) -> None:
    keys, values, confidence = tensors(9)
    by_one = SlowMap(D, MapOptions(gates=replace(gates, by_surprise=0.0), chunk=1))
    assert by_one.update(keys.numpy(), values.numpy(), confidence.numpy())
    weights = {"w": torch.zeros(D, D)}
    still = {"w": torch.zeros(D, D)}
    expected, _ = sequential(
        Linear(), weights, still, keys, values, confidence, replace(gates, by_surprise=0.0), frozen=False
    )
    assert np.allclose(by_one.arrays()["weights.w"], expected["w"].numpy(), atol=1e-5)


def test_the_last_chunk_counts_also_where_it_is_short() -> None:
    keys, values = unit(17, 0), unit(17, 1)
    map_ = SlowMap(D, MapOptions(chunk=16))
    before = losses_of(map_, keys[16:], values[16:])
    map_.update(keys, values, np.ones(17, np.float32))
    assert losses_of(map_, keys[16:], values[16:]) < before


def test_alike_keys_in_one_chunk_do_not_overshoot() -> None:
    keys, values = np.repeat(unit(1, 0), 16, axis=0), np.repeat(unit(1, 1), 16, axis=0)
    map_ = SlowMap(D, MapOptions(gates=Gates(step=1.0)))
    losses = [float(losses_of(map_, keys[:1], values[:1])[0])]
    for _ in range(5):
        assert map_.update(keys, values, np.ones(16, np.float32))
        losses.append(float(losses_of(map_, keys[:1], values[:1])[0]))
    assert all(after <= before + 1e-6 for before, after in pairwise(losses))


@pytest.mark.parametrize("rule", ["none", "ewc", "refresh"])
@pytest.mark.parametrize("kind", ["linear", "mlp"])
def test_what_is_not_finite_changes_nothing(kind: str, rule: str) -> None:
    map_ = SlowMap(D, MapOptions(kind=kind, rule=rule))  # type: ignore[arg-type]
    keys, values = unit(40, 0), unit(40, 1)
    assert map_.update(keys, values, np.ones(40, np.float32))
    before = map_.arrays()
    for broken in (np.nan, np.inf, 1e30):
        wrong = values.copy()
        wrong[33] = broken
        assert not map_.update(keys, wrong, np.ones(40, np.float32))
        after = map_.arrays()
        assert all(np.array_equal(before[name], after[name]) for name in before)


@pytest.mark.parametrize("kind", ["linear", "mlp"])
@pytest.mark.parametrize("rule", sorted(RULES))
def test_every_tensor_is_made_where_the_weights_are(kind: str, rule: str) -> None:
    """Else a map on a GPU could not learn. What is made without a word of where is made nowhere here, and fails."""
    keys, values, confidence = (tensor.numpy() for tensor in tensors(40))
    options = MapOptions(kind=kind, rule=rule, chunk=8)  # type: ignore[arg-type]
    usual, elsewhere = SlowMap(D, options), SlowMap(D, options)
    for slow_map, default in ((usual, "cpu"), (elsewhere, "meta")):
        with torch.device(default):
            assert slow_map.update(keys, values, confidence)
            slow_map.end_round()
            assert slow_map.update(keys[:9], values[:9], confidence[:9])
            slow_map.dampen((keys[:2], values[:2]), (keys[2:], values[2:]))
    np.testing.assert_array_equal(usual.read(keys), elsewhere.read(keys))


@pytest.mark.skipif(not torch.cuda.is_available(), reason="no GPU here")
@pytest.mark.parametrize("kind", ["linear", "mlp"])
@pytest.mark.parametrize("rule", sorted(RULES))
def test_every_rule_learns_the_same_on_a_gpu(kind: str, rule: str) -> None:
    keys, values, confidence = (tensor.numpy() for tensor in tensors(40))
    read = []
    for device in ("cpu", "cuda"):
        slow_map = SlowMap(D, MapOptions(kind=kind, rule=rule, chunk=8, device=device))  # type: ignore[arg-type]
        assert slow_map.update(keys, values, confidence)
        slow_map.end_round()
        assert slow_map.update(keys[:9], values[:9], confidence[:9])
        read.append(slow_map.read(keys))
    np.testing.assert_allclose(*read, atol=1e-5)


@pytest.mark.parametrize("rule", ["none", "ewc", "classp", "metaplasticity", "dual", "refresh", "gates", "k-fpf"])
@pytest.mark.parametrize("kind", ["linear", "mlp"])
def test_every_rule_learns_the_same_on_every_run(kind: str, rule: str) -> None:
    keys, values = unit(48, 0, 32), unit(48, 1, 32)
    found = []
    for _ in range(2):
        map_ = SlowMap(32, MapOptions(kind=kind, rule=rule, seed=7))  # type: ignore[arg-type]
        before = losses_of(map_, keys, values).mean()
        for _ in range(4):
            assert map_.update(keys, values, np.ones(48, np.float32))
            map_.end_round()
        assert losses_of(map_, keys, values).mean() < 0.9 * before
        found.append(map_.arrays())
    assert all(np.array_equal(found[0][name], found[1][name]) for name in found[0])
    other = SlowMap(32, MapOptions(kind=kind, rule=rule, seed=7))  # type: ignore[arg-type]
    other.restore(found[0])
    assert np.array_equal(other.read(keys), map_.read(keys))
    assert other.update(keys, values, np.ones(48, np.float32))
    assert map_.update(keys, values, np.ones(48, np.float32))
    assert np.array_equal(other.read(keys), map_.read(keys))


def test_rules_protect_what_was_learned_first() -> None:
    """Where a second lot has other answers to the same queries, a rule keeps more of the first than none does."""
    keys, first, second = unit(24, 0, 32), unit(24, 1, 32), unit(24, 2, 32)
    kept = {}
    for rule in ("none", "ewc", "classp", "metaplasticity"):
        map_ = SlowMap(32, MapOptions(rule=rule))
        for values in (first, second):
            for _ in range(6):
                map_.update(keys, values, np.ones(24, np.float32))
            map_.end_round()
        kept[rule] = float(losses_of(map_, keys, first).mean())
    assert all(kept[rule] < kept["none"] for rule in kept if rule != "none"), kept


def test_a_chain_learns_at_several_timescales() -> None:
    keys, values = unit(64, 0, 32), unit(64, 1, 32)
    chain = Chain(32, periods=(1, 8, 32))
    before = float(((keys - values) ** 2).sum(1).mean())
    for _ in range(4):
        assert chain.update(keys, values, np.ones(64, np.float32))
    after = float(((keys + chain.read(keys) - values) ** 2).sum(1).mean())
    assert after < 0.7 * before
    assert chain.update(keys[:5], values[:5], np.ones(5, np.float32))
    other = Chain(32, periods=(1, 8, 32))
    other.restore(chain.arrays())
    for one in (chain, other):
        assert one.update(keys[5:9], values[5:9], np.ones(4, np.float32))
    assert np.array_equal(chain.read(keys), other.read(keys))
    held = chain.arrays()
    assert not chain.update(keys[:9], np.full((9, 32), np.nan, np.float32), np.ones(9, np.float32))
    assert all(np.array_equal(held[name], array) for name, array in chain.arrays().items())
