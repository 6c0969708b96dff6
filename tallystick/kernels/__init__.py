"""Recurrences over time: `reference` specifies each as a plain loop; the other modules compute the same faster."""
