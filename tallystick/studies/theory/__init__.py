"""The paper's two theorems in numbers: what no fixed state can do alone, and what one can through a tape."""
