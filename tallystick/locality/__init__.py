"""Locality: the number of last tokens that decide each token of a program, and whether training covers them all."""

from tallystick.locality.checks import check
from tallystick.locality.extraction import Refusal, machine
from tallystick.locality.proof import prove

__all__ = ["Refusal", "check", "machine", "prove"]
