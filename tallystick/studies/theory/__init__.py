"""The paper's two theorems, executable: what no fixed state can do alone, and what one can through a tape."""
