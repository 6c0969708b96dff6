"""A text task: read a name in one file and write it into another, through a shell."""

from tallystick import Problem, TextTask


class CopyName(TextTask):
    """Write the name that name.txt has into main.py."""

    def sample(self, length, rng):
        """Draw a name of `length` letters; the problem is a text and the files to work on."""
        name = "".join(rng.choices("abcdefghij", k=length))
        return Problem("Put the name into main.py.", {"name.txt": f"{name}\n", "main.py": 'print("NAME")\n'})

    def solve(self, w):
        """Read it, then edit: the second command is decided by what the first one printed."""
        name = w.bash("cat name.txt").output.strip()
        w.say("Now it can be written.")
        w.bash(f"sed -i 's/NAME/{name}/' main.py && python main.py")

    def score(self, prompt, output, tools=None):
        """Judge the files that are left."""
        files = tools["shell"].files()
        return float(files["main.py"] == f'print("{prompt.files["name.txt"].strip()}")\n')
