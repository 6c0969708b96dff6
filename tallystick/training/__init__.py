"""Training: the one loop, its validation, learning-rate schedule and checkpoints."""
