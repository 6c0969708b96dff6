"""The HTML report on run folders."""
