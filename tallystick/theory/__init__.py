"""The paper's two theorems, executable: what no fixed state can do alone (2.1), and what one can through a tape (2.2)."""
