"""Training data: examples from worker processes, packed into rows; and trajectories written to files."""
