"""Recurrences over time: `reference` specifies each as a plain loop; the other modules are faster forms."""
