"""Training: the configuration, the one loop, its learning-rate schedule and checkpoints."""
