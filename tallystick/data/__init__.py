"""Training data: examples from worker processes, packed into batches; and trajectories written to files."""
