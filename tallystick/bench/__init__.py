"""Speed, measured for `tallystick bench`: each row beside the machine's limit and, where there are any, its peers."""

KINDS = {
    "data": "trajectories made by programs",
    "train": "training steps",
    "verify": "verification of long episodes",
    "generate": "decoding, with live tools",
}
"""What is measured, by the name of the module that does it."""
