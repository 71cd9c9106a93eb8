"""The controller of ENAS: a recurrent policy over architectures, trained by REINFORCE. In numpy, gradients by hand."""

from __future__ import annotations

import random
from collections.abc import Sequence
from typing import TypeAlias

import numpy as np
import numpy.typing as npt

from rafiki.advisor.enas_reinforce import Adam

Array: TypeAlias = npt.NDArray[np.float64]
Choices: TypeAlias = list[int]
"""An architecture: of each position, the index of its candidate."""

_HIDDEN = 32
_INIT = 0.1
_NO_CANDIDATE = -1e30


class Controller:
    """One LSTM layer that emits one choice a position, each choice the input of the next.

    Zoph and Le, "Neural architecture search with reinforcement learning", 2017, section 3.1. The score of a candidate
    is ``C tanh(u / T)``, so that no choice is ever certain: the temperature T and the constant C of Bello et al.,
    "Neural combinatorial optimization with reinforcement learning", 2017, which Pham et al., "Efficient neural
    architecture search via parameter sharing", 2018, use with T = 5 and C = 2.5. Here ``u = h . o + b``: ``h`` is the
    layer's output, ``o`` the embedding of the candidate's value, ``b`` the candidate's own at this position.
    Embeddings, as candidate and as input, are shared by all positions that hold the same value.

    Args:
        positions: for each position its candidates, as numbers of values from 0; the same number is the same value.
        seed: of the initial weights, which are uniform in [-0.1, 0.1].
        learning_rate: of Adam.
        entropy_weight: how much a high entropy is worth beside the reward.
    """

    def __init__(
        self,
        positions: Sequence[Sequence[int]],
        seed: int,
        *,
        hidden: int = _HIDDEN,
        learning_rate: float = 0.01,
        entropy_weight: float = 0.1,
        temperature: float = 5.0,
        tanh_constant: float = 2.5,
    ) -> None:
        self._n = len(positions)
        self._entropy_weight = entropy_weight
        self._temperature, self._tanh_constant = temperature, tanh_constant
        n_most = max((len(p) for p in positions), default=1)
        n_values = 1 + max((max(p) for p in positions), default=0)
        # Short rows are filled up with value 0, which is masked out.
        self._values = np.array([[*p, *[0] * (n_most - len(p))] for p in positions], dtype=np.intp)
        self._values = self._values.reshape(self._n, n_most)
        self._mask = np.array([[i < len(p) for i in range(n_most)] for p in positions]).reshape(self._n, n_most)
        shapes = {
            "start": (hidden,),
            "e": (n_values, hidden),
            "w": (hidden, 4 * hidden),
            "u": (hidden, 4 * hidden),
            "bias": (4 * hidden,),
            "o": (n_values, hidden),
            "b": (self._n, n_most),
        }
        self._flat, self.weights = _views(shapes)
        self._flat[:] = np.random.default_rng(seed).uniform(-_INIT, _INIT, len(self._flat))
        # No candidate is preferred before anything was learnt of it.
        self.weights["b"][:] = 0.0
        self._flat_gradient, self._gradient = _views(shapes)
        self._adam = Adam(len(self._flat), learning_rate)

    def sample(self, rng: random.Random) -> Choices:
        """An architecture drawn from the policy."""
        return self._decode([rng.random() for _ in range(self._n)])

    def greedy(self) -> Choices:
        """The architecture of the likeliest choices, one after the other."""
        return self._decode(None)

    def update(self, choices: Choices, advantage: float) -> None:
        """One step of REINFORCE: makes an architecture likelier by how much better it was than expected."""
        if self._n:
            self.loss(choices, advantage)
            self._adam.step(self._flat, self._flat_gradient)

    def loss(self, choices: Choices, advantage: float) -> tuple[float, dict[str, Array]]:
        """The loss that :meth:`update` descends on, and its gradient for each of :attr:`weights` (overwritten by the
        next call).

        The loss is ``-A sum_t log p(a_t | a_<t) - w sum_t H(p(. | a_<t))``: Williams, "Simple statistical
        gradient-following algorithms for connectionist reinforcement learning", 1992, with the entropy of the path that
        was taken as a bonus (Mnih et al., "Asynchronous methods for deep reinforcement learning", 2016, section 4).
        """
        w, a = self.weights, np.asarray(choices, dtype=np.intp)
        steps = np.arange(self._n)
        chosen = self._values[steps, a]
        x = np.vstack([w["start"], w["e"][chosen[:-1]]])
        h, c, gates = self._forward(x)
        o = w["o"][self._values]
        squashed = np.tanh((np.einsum("ph,pch->pc", h[1:], o) + w["b"]) / self._temperature)
        log_p = _log_softmax(np.where(self._mask, self._tanh_constant * squashed, _NO_CANDIDATE))
        p = np.exp(log_p)
        entropy = -np.sum(p * np.where(self._mask, log_p, 0.0), axis=1)
        loss = -advantage * log_p[steps, a].sum() - self._entropy_weight * entropy.sum()

        d = advantage * p + self._entropy_weight * p * (np.where(self._mask, log_p, 0.0) + entropy[:, None])
        d[steps, a] -= advantage
        d *= self._tanh_constant / self._temperature * (1 - squashed**2) * self._mask
        g = self._gradient
        g["b"][:] = d
        g["o"][:] = 0.0
        np.add.at(g["o"], self._values, d[:, :, None] * h[1:, None, :])
        d_gates = self._backward(np.einsum("pc,pch->ph", d, o), c, gates)
        g["w"][:] = x.T @ d_gates
        g["u"][:] = h[:-1].T @ d_gates
        g["bias"][:] = d_gates.sum(axis=0)
        d_x = d_gates @ w["w"].T
        g["start"][:] = d_x[0]
        g["e"][:] = 0.0
        np.add.at(g["e"], chosen[:-1], d_x[1:])
        return float(loss), g

    def _decode(self, uniforms: list[float] | None) -> Choices:
        """Choices by inverting each position's distribution at a uniform number, or its likeliest ones."""
        w, choices = self.weights, []
        n_hidden = len(w["start"])
        x, h, c = w["start"], np.zeros(n_hidden), np.zeros(n_hidden)
        for t in range(self._n):
            h, c, _ = _cell(x @ w["w"] + h @ w["u"] + w["bias"], c)
            n = int(self._mask[t].sum())
            values = self._values[t, :n]
            scores = self._tanh_constant * np.tanh((w["o"][values] @ h + w["b"][t, :n]) / self._temperature)
            if uniforms is None:
                choice = int(np.argmax(scores))
            else:
                cumulative = np.cumsum(np.exp(scores))
                choice = min(int(np.searchsorted(cumulative, uniforms[t] * cumulative[-1], side="right")), n - 1)
            choices.append(choice)
            x = w["e"][values[choice]]
        return choices

    def _forward(self, x: Array) -> tuple[Array, Array, Array]:
        """Outputs and states (positions + 1, hidden), zeros first, and activated gates (positions, 4 hidden)."""
        w = self.weights
        n_hidden = x.shape[1]
        h, c = np.zeros((self._n + 1, n_hidden)), np.zeros((self._n + 1, n_hidden))
        gates = np.empty((self._n, 4 * n_hidden))
        from_x = x @ w["w"] + w["bias"]
        for t in range(self._n):
            h[t + 1], c[t + 1], gates[t] = _cell(from_x[t] + h[t] @ w["u"], c[t])
        return h, c, gates

    def _backward(self, d_out: Array, c: Array, gates: Array) -> Array:
        """Gradients of the gates before their activation (positions, 4 hidden), from those of the outputs."""
        u_transposed = self.weights["u"].T
        n_hidden = d_out.shape[1]
        i, f, o, g = (gates[:, k * n_hidden : (k + 1) * n_hidden] for k in range(4))
        tanh_c = np.tanh(c[1:])
        # The gradient of each gate per unit of that of the state, or of the output.
        per_c = np.stack([g * i * (1 - i), c[:-1] * f * (1 - f), i * (1 - g**2)], axis=1)
        per_h, c_per_h = tanh_c * o * (1 - o), o * (1 - tanh_c**2)
        d_gates = np.empty_like(gates)
        by_gate = d_gates.reshape(self._n, 4, n_hidden)
        d_h, d_c = np.zeros(n_hidden), np.zeros(n_hidden)
        for t in reversed(range(self._n)):
            d_h = d_h + d_out[t]
            d_c = d_c + d_h * c_per_h[t]
            by_gate[t, [0, 1, 3]] = d_c * per_c[t]
            by_gate[t, 2] = d_h * per_h[t]
            d_h = d_gates[t] @ u_transposed
            d_c = d_c * f[t]
        return d_gates


def _cell(gates: Array, c: Array) -> tuple[Array, Array, Array]:
    """One step of an LSTM: output, state, activated gates (input, forget, output, candidate)."""
    n = len(c)
    activated = np.empty_like(gates)
    activated[: 3 * n] = 1 / (1 + np.exp(-gates[: 3 * n]))
    activated[3 * n :] = np.tanh(gates[3 * n :])
    c = activated[n : 2 * n] * c + activated[:n] * activated[3 * n :]
    return activated[2 * n : 3 * n] * np.tanh(c), c, activated


def _log_softmax(scores: Array) -> Array:
    scores = scores - scores.max(axis=1, keepdims=True)
    return np.asarray(scores - np.log(np.exp(scores).sum(axis=1, keepdims=True)))


def _views(shapes: dict[str, tuple[int, ...]]) -> tuple[Array, dict[str, Array]]:
    """One vector of zeros, and its parts by name in their shapes."""
    sizes = [int(np.prod(shape)) for shape in shapes.values()]
    flat = np.zeros(sum(sizes))
    parts = np.split(flat, np.cumsum(sizes)[:-1])
    return flat, {name: part.reshape(shape) for (name, shape), part in zip(shapes.items(), parts, strict=True)}
