"""The learning-rate schedule."""

from __future__ import annotations

from tallystick.config import Settings
from tallystick.rows import ScheduleState

LATEST = 0.6
"""Share of the steps after which the rate falls, however many errors are left."""
SHORTEST = 100
"""Steps that a fall takes at least."""


class Schedule:
    """Warm-up, constant rate, and a linear fall to zero.

    The fall begins when the held-out problems are nearly right and takes as many steps as it took until then. If they
    are not exact at its end, everything begins again. start: the step of the last beginning; fall: its first and last
    step.
    """

    def __init__(self, settings: Settings, start: int = 0, fall: tuple[int, int] | None = None):
        self._settings, self.start, self.fall = settings, start, fall

    def factor(self, step: int) -> float:
        """Compute the share of the peak learning rate at this step."""
        if self.fall is not None:
            begin, end = self.fall
            return max(end - step, 0) / max(end - begin, 1)  # a fall that begins at the last step has no length
        return min(1.0, (step + 1 - self.start) / self._settings.warmup)

    def has_fallen(self, step: int) -> bool:
        """Whether the rate has reached zero."""
        return self.fall is not None and step >= self.fall[1]

    def update(self, step: int, error_rate: float) -> None:
        """Take the held-out error rate after `step` steps, and begin a fall or begin again where that is due."""
        steps = self._settings.steps
        if self.has_fallen(step):
            self.start, self.fall = step, None
        elif self.fall is None and (error_rate <= self._settings.decay_at_error or step >= LATEST * steps):
            self.fall = (step, min(step + max(step - self.start, SHORTEST), steps))

    @property
    def state(self) -> ScheduleState:
        """What `resume` needs."""
        return {"start": self.start, "fall": self.fall}
