"""Locality: the number of last tokens that decide each token of a program, and whether training covers them all."""

from tallystick.locality.checks import check

__all__ = ["check"]
