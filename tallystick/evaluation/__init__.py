"""Measure how exact a trained model is: verification, scoring and sweeps over lengths."""
