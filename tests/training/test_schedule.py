"""The learning-rate schedule."""

from tallystick.config import Settings
from tallystick.training.schedule import Schedule


def test_a_fall_of_no_length_is_a_rate_of_zero():
    """Where the maximum number of steps was raised by hand after a fall that began at the last step."""
    schedule = Schedule(Settings(train_length=5, steps=1000, state_passing=0.5), fall=(20, 20))
    assert schedule.factor(20) == 0
    schedule.update(30, 0.5)
    assert schedule.factor(30) > 0


def test_schedule():
    schedule = Schedule(Settings(train_length=5, steps=1000, warmup=10, state_passing=0.5))
    assert [schedule.factor(step) for step in (0, 4, 9, 500)] == [0.1, 0.5, 1.0, 1.0]
    schedule.update(50, 0.5)
    assert schedule.fall is None
    schedule.update(300, 1e-4)
    assert schedule.fall == (300, 600)  # as many steps as it took
    assert [schedule.factor(step) for step in (300, 450, 600, 700)] == [1.0, 0.5, 0.0, 0.0]
    schedule.update(450, 0.9)
    assert schedule.fall == (300, 600)
    assert not schedule.has_fallen(599)
    assert schedule.has_fallen(600)
    schedule.update(600, 1e-4)  # fallen, and asked again: it was not enough
    assert schedule.fall is None
    assert schedule.factor(604) == 0.5  # up again
    schedule.update(700, 0.5)
    assert schedule.fall == (700, 800)  # the steps run out: fall while there is time
