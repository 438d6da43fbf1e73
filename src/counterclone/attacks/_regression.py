"""Three ways to fit a linear model to probabilities."""

from __future__ import annotations

from collections.abc import Callable

import numpy as np
from numpy.typing import NDArray
from scipy.optimize import least_squares, minimize
from scipy.special import expit, log_expit, logsumexp

from counterclone.answers import Rows, top_labels
from counterclone.attacks._linear import Parameters
from counterclone.attacks._precision import precision
from counterclone.queries import Features

RIDGE = 0.02
"""For each unit of the answers' error: parameters that the answers can't tell are to be small."""
LEAST_RIDGE = 1e-9
FREE = 1e-3
RIDGE_OF_LABELS = 1e-3
"""For all of them together."""
STEPS = 500
LEAST_LOG = -1e6
NEARLY = 0.05
"""The root mean square error of the logarithms, above which no other fit is sought nearby."""
MOST_REFINEMENTS = 30
MOST_PARAMETERS = 3000
"""More aren't refined by least squares, whose matrices would be large."""

Fit = Callable[[Features, Rows], Parameters]
"""What was asked with a column of ones, (queries, features + 1), and what came back, (queries, classes), to
parameters, (classes, features + 1)."""


def by_log_ratios(design: Features, rows: Rows) -> Parameters:
    """The softmax regression whose log-ratios are nearest to the answers', each by how exact it is."""
    errors = precision(rows).of_logs(rows)
    reference = int(np.median(errors, axis=0).argmin())
    with np.errstate(divide="ignore", invalid="ignore"):
        ratios = np.log(rows) - np.log(rows[:, [reference]])
        weights = 1.0 / np.hypot(errors, errors[:, [reference]])
    parameters = np.zeros((rows.shape[1], design.shape[1]))
    for each in range(rows.shape[1]):
        told = weights[:, each] > 0.0
        if each != reference and told.any():
            scale = weights[told, each] / weights[told, each].max()
            parameters[each] = np.linalg.lstsq(
                design[told] * scale[:, None], ratios[told, each] * scale, rcond=None)[0]
    return parameters


def by_likelihood(design: Features, rows: Rows) -> Parameters:
    """The softmax regression under which the answers are likeliest."""
    return most_likely(design, rows, np.zeros((rows.shape[1], design.shape[1])), ridge=_ridge(rows))


def by_free_likelihood(design: Features, rows: Rows) -> Parameters:
    """The same with hardly any pull on large parameters, which steep models have."""
    return most_likely(design, rows, by_likelihood(design, rows), ridge=FREE * _ridge(rows))


def by_one_vs_rest(design: Features, rows: Rows) -> Parameters:
    """The one-vs-rest regression under which the answers are likeliest; refined where they are exact."""
    start = by_likelihood(design, rows)
    start[:, -1] -= logsumexp(design @ start.T, axis=1).mean()  # sigmoids of about the rows' size
    parameters = most_likely(design, rows, start, ridge=_ridge(rows), one_vs_rest=True)
    if precision(rows).is_fine and shown(rows)[0].all() and parameters.size <= min(MOST_PARAMETERS, rows.size):
        return _refined(design, rows, parameters)
    return parameters


def by_labels(design: Features, rows: Rows) -> Parameters:
    """The softmax regression under which the labels are likeliest; its size means little."""
    start = np.zeros((rows.shape[1], design.shape[1]))
    one_hot = np.eye(rows.shape[1])[top_labels(rows)]
    return most_likely(design, one_hot, start, ridge=RIDGE_OF_LABELS / len(rows))


def _ridge(rows: Rows) -> float:
    return max(RIDGE * precision(rows).absolute, LEAST_RIDGE)


def _refined(design: Features, rows: Rows, start: Parameters) -> Parameters:
    """Nonlinear least squares on centred log-probabilities (Levenberg-Marquardt)."""
    with np.errstate(divide="ignore"):
        told = np.isfinite(np.log(rows)).all(axis=1)
    design, logs = design[told], np.log(rows[told])
    logs -= logs.mean(axis=1, keepdims=True)
    n_classes = rows.shape[1]
    centring = np.eye(n_classes) - 1.0 / n_classes

    def residuals(flat: NDArray[np.float64]) -> NDArray[np.float64]:
        off: NDArray[np.float64] = log_expit(design @ flat.reshape(start.shape).T) @ centring - logs
        return off.ravel()

    def jacobian(flat: NDArray[np.float64]) -> NDArray[np.float64]:
        slopes = expit(-design @ flat.reshape(start.shape).T)
        blocks: NDArray[np.float64] = np.einsum("ij,nj,nd->nijd", centring, slopes, design)
        return blocks.reshape(logs.size, start.size)

    if logs.size < start.size or np.sqrt(np.mean(residuals(start.ravel())**2)) > NEARLY:
        return start
    fitted = least_squares(residuals, start.ravel(), jacobian, method="lm", xtol=1e-15, ftol=1e-15, gtol=1e-15,
                           max_nfev=MOST_REFINEMENTS)
    parameters: Parameters = fitted.x.reshape(start.shape)
    return parameters

class Evidence:
    """Answers to fit to, of which some may show their largest classes only.

    Args:
        rows: (queries, classes).
    """

    def __init__(self, rows: Rows) -> None:
        self.kept, is_dropped = shown(rows)
        self.counted = self.kept if is_dropped else np.ones_like(self.kept)
        self._targets = np.where(self.kept, rows, 0.0)
        self._rest = np.where(self.kept, 0.0, rows).sum(axis=1)
        self._lumped = self.counted & ~self.kept

    def loss(self, logs: NDArray[np.float64]) -> tuple[float, NDArray[np.float64]]:
        """The cross-entropy of the answers, a mean, and its gradient.

        Args:
            logs: of the classes' odds, (queries, classes).
        """
        total, shares = _softmax_over(logs, self.counted)
        loss = total.sum() - (self._targets * logs).sum()
        gradient = shares - self._targets
        if self._lumped.any():
            rest, rest_shares = _softmax_over(logs, self._lumped)
            loss -= (self._rest * np.where(self._rest > 0.0, rest, 0.0)).sum()
            gradient -= self._rest[:, None] * rest_shares
        return float(loss) / len(logs), gradient / len(logs)


def shown(rows: Rows) -> tuple[NDArray[np.bool_], bool]:
    """Which classes' probabilities are the model's own, (queries, classes), and whether the rest is left out.

    Where an API shows the largest few, the rest of a row is one value for several classes: zero, or what is left.
    """
    least = rows.min(axis=1, keepdims=True)
    kept: NDArray[np.bool_] = rows > least
    n_kept = kept.sum(axis=1)
    most = int(n_kept.max(initial=0))
    is_cut = most < rows.shape[1] - 1 and (n_kept == most).mean() > 0.9
    if not is_cut or (most == 1 and not least.any()):  # labels alone are whole rows
        return np.ones_like(kept), False
    return kept, not least.any()


def _softmax_over(logs: NDArray[np.float64], mask: NDArray[np.bool_]) -> tuple[
        NDArray[np.float64], NDArray[np.float64]]:
    """log-sum-exp over some classes, (n,), and their shares in it, (n, classes)."""
    masked = np.where(mask, logs, -np.inf)
    largest = np.maximum(masked.max(axis=1, keepdims=True), LEAST_LOG)  # finite where no class is meant
    powers = np.exp(masked - largest)
    totals = np.maximum(powers.sum(axis=1, keepdims=True), 1e-3)
    return (largest + np.log(totals))[:, 0], powers / totals


def most_likely(design: Features, rows: Rows, start: Parameters, *, ridge: float,
                one_vs_rest: bool = False) -> Parameters:
    """The parameters under which the answers are likeliest, (classes, features + 1) (L-BFGS).

    Args:
        design: what was asked with a column of ones, (queries, features + 1), best between -1 and 1.
        rows: what came back, (queries, classes).
        start: where to begin, (classes, features + 1).
        ridge: half of it times the square of the parameters is added to the mean loss.
        one_vs_rest: whether each class has a sigmoid of its own.
    """
    evidence = Evidence(rows)

    def objective(flat: NDArray[np.float64]) -> tuple[float, NDArray[np.float64]]:
        logits = design @ flat.reshape(start.shape).T
        loss, gradient = evidence.loss(log_expit(logits) if one_vs_rest else logits)
        if one_vs_rest:
            gradient *= expit(-logits)
        return loss + ridge / 2.0 * float(flat @ flat), (gradient.T @ design).ravel() + ridge * flat

    fitted = minimize(objective, start.ravel(), jac=True, method="L-BFGS-B",
                      options={"maxiter": STEPS, "maxfun": 2 * STEPS, "ftol": 1e-15, "gtol": 1e-9, "maxcor": 20})
    parameters: Parameters = fitted.x.reshape(start.shape)
    return parameters
