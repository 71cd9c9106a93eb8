"""Whether a worker that holds some queries waits for more before it predicts."""

from __future__ import annotations

from rafiki.scheduling.batch_cost import BatchCost

_LEAST_GAIN_S = 5e-4
"""Asking the queue once more costs the worker about 0.2 ms: less than that cannot be gained."""
_LEAST_WAIT_S = 1e-3
"""What the cache can wait for."""
_MOST_WAIT_S = 0.1
_PROBE_EVERY = 64
_FORGET = 0.9
"""What a wait leaves of the weight of those before it: the last ten decide."""
_MOST_LEVELS = 4096


class _Level:
    """What came while so many queries were held."""

    __slots__ = ("asked", "came", "waited_s")

    def __init__(self) -> None:
        self.asked = 0
        self.came = 0.0
        self.waited_s = 0.0


class BatchWait:
    """Decides for one worker, batch by batch. A control limit: predict now if no more is to be gained than it costs
    to wait.

    ``k`` queries are held. One more in this batch, rather than in a batch of its own, saves the costs that a batch
    shares, and makes each of the ``k`` wait for what it adds: a gain of ``g = fixed - k * each``
    (:class:`BatchCost`). Waiting makes ``k`` queries wait. So waiting gains while queries come at a rate ``r`` with
    ``r * g > k``: for arrivals of one rate, the optimal policy for bulk service has this form (Deb and Serfozo,
    "Optimal control of batch service queues", Advances in Applied Probability 5, 1973). It never waits longer than
    ``g / k`` for the next one, so a wait in vain costs no more than one that succeeds gains (ski rental).

    The rate is learned for each ``k``, from what came while it waited: clients that send their next query when they
    have their answer come at once while some of them are out, and not at all when all are held. A model without
    shared costs never waits. Where ``r`` is low, a short wait in 64 finds out whether it still is.
    """

    __slots__ = ("_cost", "_levels")

    def __init__(self, cost: BatchCost) -> None:
        self._cost = cost
        self._levels: dict[int, _Level] = {}

    def may_gain(self, size: int) -> bool:
        """Whether the model shares enough of its costs to look further. Cheap: asked for every batch."""
        return self._cost.fixed_s - size * self._cost.each_s >= _LEAST_GAIN_S

    def wait_s(self, size: int, slack_s: float) -> float:
        """How long to wait for the next query, in seconds; 0 = predict now.

        Args:
            size: queries held.
            slack_s: until the first of their deadlines.
        """
        gain_s = self._cost.fixed_s - size * self._cost.each_s
        longest_s = min(gain_s / size, slack_s - self._cost.tail_s(size + 1), _MOST_WAIT_S)
        if gain_s < _LEAST_GAIN_S or longest_s <= 0:
            return 0.0
        level = self._levels.get(size)
        if level is None:
            if len(self._levels) >= _MOST_LEVELS:
                return 0.0
            level = self._levels[size] = _Level()
        level.asked += 1
        if level.waited_s and level.came * gain_s > size * level.waited_s:
            return max(longest_s, _LEAST_WAIT_S)
        is_probe = level.asked % _PROBE_EVERY == 0 or not level.waited_s
        return max(longest_s / 4, _LEAST_WAIT_S) if is_probe else 0.0

    def add(self, size: int, waited_s: float, came: int) -> None:
        """Learn from a wait.

        Args:
            size: queries held meanwhile.
            waited_s: how long it was.
            came: queries that ended it; 0 when none came.
        """
        level = self._levels[size]
        level.came = _FORGET * level.came + came
        level.waited_s = _FORGET * level.waited_s + max(waited_s, 1e-6)
