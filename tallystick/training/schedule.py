"""The learning-rate schedule."""

from __future__ import annotations

from typing import Any

from tallystick.config import Settings


class Schedule:
    """Warm-up, constant, and a linear fall to zero: begun when the held-out problems are nearly right, over as many
    steps again as it took (at least 100), and once more from the top if they are not exact at its end."""

    def __init__(self, settings: Settings, start: int = 0, fall: tuple[int, int] | None = None):
        self._settings, self.start, self.fall = settings, start, fall

    def factor(self, step: int) -> float:
        """Share of the peak learning rate at this step."""
        if self.fall is not None:
            begin, end = self.fall
            return max(end - step, 0) / (end - begin)
        return min(1.0, (step + 1 - self.start) / self._settings.warmup)

    def look(self, step: int, error_rate: float) -> None:
        """Take the held-out error rate after `step` steps."""
        steps = self._settings.steps
        if self.fall is not None and step >= self.fall[1]:
            self.start, self.fall = step, None
        elif self.fall is None and (error_rate <= self._settings.decay_at_error or step >= 0.6 * steps):
            self.fall = (step, min(step + max(step - self.start, 100), steps))

    @property
    def state(self) -> dict[str, Any]:
        """What `resume` needs."""
        return {"start": self.start, "fall": self.fall}
