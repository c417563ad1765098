"""Beta Thompson sampling, by the probabilities that it chooses with instead of by sampling."""

from __future__ import annotations

from typing import Final

import numpy as np
from numpy.typing import NDArray

from scoring.policies.base import ArmPolicy, Arms

Vector = NDArray[np.float64]

_NODES: Final = 8
_REACH: Final = (0.0, 1.0, 2.0, 3.0, 4.0, 6.0, 8.0, 12.0, 20.0, 40.0)
_CLIFF: Final = (-4.0, -2.0, 0.0, 2.0, 4.0)


def _rule() -> tuple[Vector, Vector, Vector]:
    """Gauss-Legendre nodes and weights on [0, 1], and the integrals from 0 to each node.

    ``partial @ values`` integrates, up to every node, the polynomial through the values.
    """
    nodes, weights = np.polynomial.legendre.leggauss(_NODES)
    nodes = (nodes + 1) / 2
    powers = np.arange(_NODES)
    basis = np.linalg.inv(nodes[:, None] ** powers)
    partial = (nodes[:, None] ** (powers + 1) / (powers + 1)) @ basis
    return nodes, weights / 2, partial


class BetaThompson(ArmPolicy):
    """Chooses an arm with the probability that its click-through is the greatest.

    That is what drawing once from each arm's Beta and taking the best does (Thompson sampling);
    here the probability itself is computed, P(i) = ∫ fᵢ ∏ⱼ Fⱼ, so it can be logged. Exact to 1e-9
    for alpha and beta from 1 to 1e6, to 1e-4 below 1.
    """

    def _weigh(self, arms: Arms) -> list[float]:
        """Integrate over t = logit(x), where no Beta has a singularity at its ends.

        The line is cut into panels round each arm's peak, as wide as the arm is spread, so that
        narrow posteriors beside broad ones are all resolved; density and distribution of every
        arm come from the same nodes.
        """
        alpha, beta = np.array(arms, dtype=np.float64).T
        nodes, weights, partial = _rule_of_panels
        edges = _panels(alpha, beta)
        widths = np.diff(edges)
        t = edges[:-1, None] + widths[:, None] * nodes
        log_x = -np.logaddexp(0.0, -t)
        log_density = alpha[:, None, None] * log_x + beta[:, None, None] * (log_x - t)
        log_density -= log_density.max(axis=(1, 2), keepdims=True)
        density = np.exp(log_density) * widths[:, None]
        mass = density @ weights
        total = mass.sum(axis=1)[:, None, None]
        below = ((np.cumsum(mass, axis=1) - mass)[:, :, None] + density @ partial.T) / total
        best = []
        for place in range(len(arms)):
            others = np.delete(below, place, axis=0).prod(axis=0)
            best.append(float(((density[place] / total[place]) * others @ weights).sum()))
        return best


_rule_of_panels: Final = _rule()


def _panels(alpha: Vector, beta: Vector) -> Vector:
    """Where to cut the logit line: by each arm's spread to both sides of its peak.

    Towards an end the density falls like exp(-alpha |t|) or exp(-beta |t|). Below 1 that is a long
    slope with a cliff on its far side, which gets panels of its own.
    """
    peak = np.log(alpha / beta)
    spread = np.sqrt(1 / alpha + 1 / beta)
    reach = np.array(_REACH)
    cuts = [
        peak[:, None] - np.maximum(spread, 1 / alpha)[:, None] * reach,
        peak[:, None] + np.maximum(spread, 1 / beta)[:, None] * reach,
    ]
    sloped = np.minimum(alpha, beta) < 1
    if sloped.any():
        cliffs = np.concatenate((np.log(alpha[sloped]), -np.log(beta[sloped])))
        cuts.append(cliffs[:, None] + np.array(_CLIFF))
    edges: Vector = np.unique(np.concatenate([cut.ravel() for cut in cuts]))
    return edges
