"""Certificates that a trained model is exact at every length."""
