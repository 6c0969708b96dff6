"""Text: tokenizers, and the formats that agents' trajectories come in."""
