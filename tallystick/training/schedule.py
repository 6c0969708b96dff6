"""The learning-rate schedule."""

from __future__ import annotations

from tallystick.config import Settings
from tallystick.rows import ScheduleProgress

LATEST = 0.6
"""Share of the maximum steps after which the rate begins to fall, however many errors are left."""
SHORTEST = 100
"""Minimum number of steps of a fall."""


class Schedule:
    """Warm-up, constant rate, and a linear fall to zero.

    The fall begins when the held-out problems are nearly right and takes as many steps as training took until then. If
    they are not exact at its end, warm-up begins again. start: the step at which warm-up began; fall: the first and
    last step of the fall.
    """

    def __init__(self, settings: Settings, start: int = 0, fall: tuple[int, int] | None = None):
        self._settings, self.start, self.fall = settings, start, fall

    def factor(self, step: int) -> float:
        """Compute the learning rate at this step, as a share of the peak rate."""
        if self.fall is not None:
            begin, end = self.fall
            return max(end - step, 0) / max(end - begin, 1)  # a fall that begins at the last step has no length
        return min(1.0, (step + 1 - self.start) / self._settings.warmup)

    def has_fallen(self, step: int) -> bool:
        """Return whether the rate has reached zero."""
        return self.fall is not None and step >= self.fall[1]

    def update(self, step: int, error_rate: float) -> None:
        """Begin a fall or a new warm-up where it is due; error_rate: of the held-out problems after `step` steps."""
        steps = self._settings.steps
        if self.has_fallen(step):
            self.start, self.fall = step, None
        elif self.fall is None and (error_rate <= self._settings.decay_at_error or step >= LATEST * steps):
            self.fall = (step, min(step + max(step - self.start, SHORTEST), steps))

    @property
    def progress(self) -> ScheduleProgress:
        """The part of the schedule that checkpoints keep."""
        return {"start": self.start, "fall": self.fall}
