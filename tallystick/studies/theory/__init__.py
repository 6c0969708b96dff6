"""The bounds of the paper's two theorems: fixed states fail without interaction, and suffice with a tape."""
