"""Find the neurons of a small ReLU network."""

from __future__ import annotations

from typing import ClassVar, NamedTuple

import numpy as np
from numpy.typing import NDArray

from counterclone.answers import Reply, Rows
from counterclone.attacks._bends import SLACK, Kink, Line, Sight, bends
from counterclone.attacks._box import Box
from counterclone.attacks._hinges import Hinges, OneLayer, Values
from counterclone.attacks._notebook import Asks, Notebook
from counterclone.attacks._students import Lesson, Student, taught
from counterclone.errors import BudgetExhausted
from counterclone.fidelity import divergence
from counterclone.plugins import Spec
from counterclone.protocols import Asking, Prior, Surrogate
from counterclone.queries import Features, Inputs
from counterclone.randomness import Generator

Array = NDArray[np.float64]

N_CHECKED, MOST_CHECKED = 60, 240
"""Held-back queries of the pool on which a copy must be exact: a tenth of all, within these. And of those that are
drawn evenly, the least."""
EXACT = 1e-6
"""The largest error of a logit of an exact copy."""
LEAST = 1e-290
"""Probabilities below it have lost digits."""
N_TRIPLES, APART = 16, 1e-2
"""Three points in a row, so far apart, show how noisy answers are."""
FINE = 1e-12
"""Answers with less noise, of their size, are of 64 bits; others never make an exact copy."""
PATIENCE, SHORT_PATIENCE = 100, 20
"""Lines at most that show no other neuron while the copy isn't exact; where it can't be."""
SPARE = 32
"""Neurons that needn't bring the copy nearer; as many as were found until then, if those are more."""
NEARER = 0.9
SWEEPS = 40
"""Lines that must show no other neuron before a copy is checked."""
BEYOND, FAR = 1.0, 4.0
"""How far lines go on beyond their two points where values beyond the box are answered."""
WITHIN = 0.98
"""The part of a closed box that the noise is measured in, so that there is room around each point."""
TRIES = 3
ROOM, NOISY_ROOM = 0.02, 0.15
"""The radius around a kink in which nothing else should bend, of the distance to the next one; under noise."""
MOST_RADIUS = 0.1
AWAY = 4.0
"""How far from a kink, in that radius, the gradients of its sides are taken."""
SAME = 1e-3
"""Kinks that are nearer, in the distance to the next one, are of one neuron."""
LEAST_LEARNT = 20
"""Answers of the pool without which a student isn't compared."""


class KinkSearch(Spec, frozen=True):
    """Copy a network with one hidden ReLU layer, neuron by neuron.

    Such a network is linear but for a kink where each neuron turns on. Along a line through input space its logits
    are straight between kinks, and the slopes at both ends of a piece tell where a single kink must be. Around a
    kink, the gradients on both sides differ by the neuron's weights times its outputs. What known neurons add is
    taken off the answers, so that later lines show the others only. On which side a neuron is on isn't known, and
    needn't be: least squares over all answers find the outputs, and a linear part that makes up for it.

    Needs logits, or all probabilities, whose logarithms are logits up to a constant, as 64-bit floats: about two
    queries a parameter. A copy is verified where its logits were within 1e-6 of the target's on queries that were
    held back, of the pool and drawn evenly; a neuron that matters to fewer inputs than were held back may be
    missing. 32 bits leave a near copy, which isn't verified. It can't copy networks with more layers, other bends
    or more neurons than the budget pays for; then it asks the pool, and returns a student if that is better.

    Jagielski et al. 2020, "High Accuracy and High Fidelity Extraction of Neural Networks", section 5; Carlini et
    al. 2020, "Cryptanalytic Extraction of Neural Network Models", section 4.
    """

    needs: ClassVar[frozenset[str]] = frozenset({"numbers", "scores"})
    is_exact: ClassVar[bool] = True

    def run(self, prior: Prior, rng: Generator) -> Asking:
        """Ask, and build."""
        search = _Search(prior, rng)
        try:
            model = yield from search.ask()
            if model is not None:
                return model
            yield from search.ask_pool()
        except BudgetExhausted:
            pass
        return search.best()


class _Unverified:
    """A student that isn't exact, and says so."""

    is_verified = False

    def __init__(self, student: Student) -> None:
        self._student = student

    def answer(self, inputs: Inputs) -> Rows:
        """Probabilities: (queries, classes)."""
        return self._student.answer(inputs)


class _Ball(NamedTuple):
    """Where gradients are taken: around two points at both sides of a kink.

    Attributes:
        radius: of both.
        away: the distance of their centres from the kink, along the line.
    """

    radius: float
    away: float


class _Search:
    """One run: what is known, and how to go on."""

    def __init__(self, prior: Prior, rng: Generator) -> None:
        self._box = Box.of(prior)
        self._is_open = prior.is_open
        pool = self._box.coordinates(np.asarray(prior.pool, dtype=np.float64))
        self._pool = pool if prior.is_open else pool.clip(-1.0, 1.0)
        self._rng = rng
        self._notes = Notebook(prior)
        self._n_drawn = 0
        self._free = np.flatnonzero(self._box.half)
        self._cost = 2 * (len(self._free) + 2)
        self._kept = min(prior.budget // 5, len(self._pool))
        self._hinges = Hinges.none(len(self._box.half), prior.classes)
        self._noise = self._scale = self._blur = 0.0

    # Asking

    def ask(self) -> Asks[OneLayer | None]:
        """Find neurons until the copy is exact; None where it doesn't get there."""
        n_guides = max(N_CHECKED, len(self._free) // 2 + 1)
        guides = self._drawn(n_guides, n_guides)
        yield from self._ask(guides)
        if not len(self._free) or not (yield from self._measure_noise(guides)):
            return None
        nearest, least, n_empty = 0, np.inf, 0
        patience = PATIENCE if self._is_fine else SHORT_PATIENCE
        model = self._fitted()
        while model is not None and n_empty < patience:
            asked, errors = self._asked(), _errors(model, self._asked(), self._values())
            errors[np.abs(asked).max(axis=1) > np.abs(guides).max()] = 0.0  # lines would lead ever further away
            if errors[:len(guides)].mean() < NEARER * least:
                nearest, least = len(self._hinges), float(errors[:len(guides)].mean())
            if len(self._hinges) > nearest + max(nearest, SPARE):
                return None
            if errors.max() >= EXACT:
                guide = guides[self._rng.integers(len(guides))]
                n_found = yield from self._search(guide, asked[errors.argmax()], BEYOND)
            else:
                n_found = yield from self._sweep()
                if n_found == 0 and (yield from self._is_exact(model)):
                    return model.verified()
            if n_found is None:
                return None
            n_empty = 0 if n_found else n_empty + 1
            if n_found:
                model = self._fitted()
        return None

    def _is_exact(self, model: OneLayer) -> Asks[bool]:
        """Whether a copy answers fresh queries as the target does."""
        n_natural = int(np.clip(len(self._notes) // 10, N_CHECKED, MOST_CHECKED))
        fresh = self._drawn(n_natural, N_CHECKED)
        return bool(_errors(model, fresh, (yield from self._ask(fresh))).max() < EXACT)

    def ask_pool(self) -> Asks[None]:
        """Ask what is left of the pool, for a student."""
        left = self._pool[self._n_drawn:]
        if len(left) and self._notes.left:
            yield from self._ask(left)

    def _ask(self, coordinates: Features) -> Asks[Values]:
        reply = yield from self._notes.ask(self._box.at(coordinates))
        return _centred(reply)

    def _asked(self) -> Features:
        return self._box.coordinates(self._notes.inputs)

    def _values(self) -> Values:
        return _centred(Reply(self._notes.rows, self._notes.logits))

    def _unexplained(self, coordinates: Features) -> Asks[Values]:
        """The answers less what known neurons add: (n, classes)."""
        values = yield from self._ask(coordinates)
        return values - self._hinges.values(coordinates)

    def _drawn(self, n_natural: int, n_even: int) -> Features:
        """The next inputs of the pool, and some drawn evenly: (n_natural + n_even, features)."""
        places = np.arange(self._n_drawn, self._n_drawn + n_natural) % len(self._pool)
        self._n_drawn += n_natural
        return np.vstack([self._pool[places], self._rng.uniform(-1.0, 1.0, (n_even, self._pool.shape[1]))])

    def _directions(self, n: int) -> Features:
        """Of length 1, drawn evenly: (n, features)."""
        drawn = np.zeros((n, self._pool.shape[1]))
        drawn[:, self._free] = self._rng.standard_normal((n, len(self._free)))
        directions: Features = drawn / np.linalg.norm(drawn, axis=1, keepdims=True)
        return directions

    def _measure_noise(self, guides: Features) -> Asks[bool]:
        """The errors of answers, which three points in a row show; whether they leave logits at all."""
        middles = WITHIN * guides[self._rng.choice(len(guides), N_TRIPLES, replace=False)]
        steps = APART * self._directions(len(middles))
        values = yield from self._ask(np.vstack([middles, middles + steps, middles - steps]))
        middle, after, before = np.split(values, 3)
        errors = np.sqrt(((after + before - 2.0 * middle)**2).mean(axis=1) / 6.0)
        told = np.isfinite(errors)
        if not told.any():
            return False
        self._scale = float(np.abs(middle[told]).max())
        self._noise = max(float(np.median(errors[told])), 2.0**-52 * self._scale)
        return self._scale > 0.0

    @property
    def _is_fine(self) -> bool:
        return self._noise < FINE * self._scale

    # Finding neurons

    def _sweep(self) -> Asks[int | None]:
        """Search lines between inputs of the pool until one shows neurons; how many were found."""
        for _ in range(SWEEPS):
            one, other = self._pool[self._rng.integers(len(self._pool), size=2)]
            n_found = yield from self._search(one, other, FAR)
            if n_found != 0:
                return n_found
        return 0

    def _search(self, one: Features, other: Features, beyond: float) -> Asks[int | None]:
        """Open each kink on the line through two points.

        Returns:
            How many neurons were found; None where there are more than the budget pays for.
        """
        direction = other - one
        if not direction.any():
            return 0
        line = self._line(one, direction, beyond)
        step = float(np.clip(10.0 * np.sqrt(self._noise / self._scale), 1e-5, 1e-2))
        sight = Sight(step, self._noise, self._blur * line.length)
        found = yield from bends(line, self._unexplained, sight, self._affordable())
        if found is None:
            return None
        before = len(self._hinges)
        for kink in sorted(found, key=lambda kink: -kink.jump):
            if not self._affordable():
                return None
            if not self._is_known(kink):
                yield from self._open(kink)
        return len(self._hinges) - before

    def _affordable(self) -> int:
        """How many neurons the budget pays for, less what a student would need."""
        return max(self._notes.left - self._kept, 0) // self._cost

    def _line(self, start: Features, direction: Features, beyond: float) -> Line:
        """A line through two points: from wall to wall of a closed box, else beyond both."""
        low, high = -beyond, 1.0 + beyond
        if not self._is_open:
            moved = np.flatnonzero(direction)
            walls = (np.array([[-1.0], [1.0]]) - start[moved]) / direction[moved]
            low, high = walls.min(axis=0).max(), walls.max(axis=0).min()
        return Line(start + low * direction, (high - low) * direction)

    def _is_known(self, kink: Kink) -> bool:
        """Whether it is the kink of a neuron that was found since."""
        heights = self._hinges.weights @ kink.point + self._hinges.biases
        slopes = self._hinges.weights @ kink.direction
        return bool((np.abs(heights) < SAME * kink.room * np.abs(slopes)).any())

    def _open(self, kink: Kink) -> Asks[None]:
        """Find the neuron of a kink, in ever smaller balls until nothing else bends there."""
        radius = min((ROOM if self._is_fine else NOISY_ROOM) * kink.room, MOST_RADIUS)
        ball = _Ball(radius, AWAY * radius)
        for _ in range(TRIES):
            if (yield from self._found(kink, ball)):
                return
            ball = _Ball(ball.radius / 8.0, ball.away / 2.0)

    def _found(self, kink: Kink, ball: _Ball) -> Asks[bool]:
        """Take the gradients at both sides; whether they are a neuron's."""
        basis = self._basis(kink.point)
        probe = self._rng.dirichlet(np.ones(len(basis)), 1) @ basis
        around = ball.radius * np.vstack([np.zeros_like(probe), basis, probe])
        shift = ball.away * kink.direction
        asked = np.vstack([kink.point - shift + around, kink.point + shift + around])
        values = yield from self._unexplained(asked)
        noise = SLACK * self._noise * np.sqrt(len(self._free))
        gradients, at_kink = [], []
        for centre, sign in ((values[:len(around)], 1.0), (values[len(around):], -1.0)):
            gradient = basis.T @ (centre[1:-1] - centre[0]) / ball.radius
            if not np.abs(centre[0] + around[-1] @ gradient - centre[-1]).max() <= noise:
                return False
            gradients.append(gradient)
            at_kink.append(centre[0] + sign * shift @ gradient)
        left, sizes, right = np.linalg.svd(gradients[1] - gradients[0], full_matrices=False)
        if sizes[0] * ball.radius <= noise or sizes[1:].max(initial=0.0) * ball.radius > noise:
            return False
        sign = 1.0 if left[:, 0] @ kink.direction > 0.0 else -1.0
        weights, outputs = sign * left[:, 0], sign * sizes[0] * right[0]
        height = float((at_kink[1] - at_kink[0]) @ outputs / sizes[0]**2)
        if abs(height) > ball.away * float(weights @ kink.direction):
            return False
        self._blur = max(self._blur, self._noise / ball.radius)
        self._hinges = self._hinges.with_one(weights, height - float(weights @ kink.point), outputs)
        return True

    def _basis(self, point: Features) -> Features:
        """Orthogonal directions of length 1 that stay in a closed box: (directions, features)."""
        size = len(self._free)
        basis = np.zeros((size, len(point)))
        basis[:, self._free] = (np.linalg.qr(self._rng.standard_normal((size, size)))[0] if self._is_open
                                else np.diag(np.where(point[self._free] > 0.0, -1.0, 1.0)))
        return basis

    # Building

    def _fitted(self, chosen: NDArray[np.bool_] | None = None) -> OneLayer | None:
        """The network of the known neurons, fitted to chosen answers; None where they are too few."""
        values = self._values()
        told = np.isfinite(values).all(axis=1)
        if chosen is not None:
            told &= chosen
        if told.sum() <= len(self._hinges) + len(self._free):
            return None
        return OneLayer.fitted(self._box, self._hinges, self._asked()[told], values[told])

    def best(self) -> Surrogate | None:
        """What answers held-out inputs of the pool best: the network so far, or a student of the pool."""
        if not len(self._notes):
            return None
        natural = self._natural()
        lesson = Lesson(self._notes.inputs, self._notes.rows)
        held = natural & (np.cumsum(natural) % 4 == 0)
        network, known = self._fitted(~held), lesson.take(natural & ~held)
        if len(known.rows) >= LEAST_LEARNT and network is not None:
            student = taught(known, self._rng)
            rows, inputs = lesson.rows[held], lesson.inputs[held]
            if student is not None and divergence(rows, network.answer(inputs)) <= divergence(
                    rows, student.answer(inputs)):
                return self._fitted()
        student = taught(lesson.take(natural) if natural.any() else lesson, self._rng)
        return None if student is None else _Unverified(student)

    def _natural(self) -> NDArray[np.bool_]:
        """Which of the inputs that were asked are the pool's."""
        pool = {row.tobytes() for row in self._box.at(self._pool)}
        return np.array([row.tobytes() in pool for row in self._notes.inputs])


def _errors(model: OneLayer, coordinates: Features, values: Values) -> Array:
    """The largest error of each input's logits, zero where the answer doesn't tell them: (n,)."""
    errors = np.abs(model.values(coordinates) - values).max(axis=1)
    return np.where(np.isfinite(errors), errors, 0.0)


def _centred(reply: Reply) -> Values:
    """The logits of a reply, centred; not a number where probabilities are too small to tell: (n, classes)."""
    logits = reply.logits
    if logits is None:
        logits = np.log(np.where(reply.rows > LEAST, reply.rows, np.nan))
    centred: Values = logits - logits.mean(axis=1, keepdims=True)
    return centred
