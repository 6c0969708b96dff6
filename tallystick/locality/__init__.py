"""Locality: how many last tokens decide what a program says, and whether training meets them all."""

from tallystick.locality.checks import check

__all__ = ["check"]
