"""The refusal of a program whose control cannot be shown to be finite, or cannot be read."""

from __future__ import annotations


class Refusal(BaseException):
    """Names what stands in the way of a proof. Not an Exception, so that no program catches it by mistake."""
