"""An interpreter for the part of Python that `python_source` parses.

It prints what the real interpreter prints, and executes none of the files' code on the host, so it is safe for files
that a model wrote; a run that is too long is refused. What differs between Python versions (caret lines, suggestions,
messages of syntax errors) is printed as UNCERTAIN.
"""

from __future__ import annotations

import sys
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from functools import lru_cache

from tallystick.tools.shell.python_source import Function, Import, Source, Value, parse
from tallystick.tools.shell.results import UNCERTAIN, Result, Unknown

MAX_CALLS = 200_000
"""Calls that one run makes at most; codebases of 1,000 functions make up to 7,000."""


@dataclass(slots=True)
class Bound:
    """A function as a value: with the names of its module, and its file's path."""

    function: Function
    names: dict[str, Bound]
    path: str
    users: list[dict[str, Bound]]
    """The names of the modules that import it."""
    done: dict[tuple[object, ...], tuple[list[str], int]]
    """What calls with these arguments printed, and how many calls they made, themselves included."""

    def forget(self) -> None:
        """Forget what calls did, since it was edited or may call a function that was; so do those that import it.

        Functions of its own file need no more: a file is edited as a whole, and imports for all of them.
        """
        self.done.clear()
        for names in self.users:
            for user in names.values():
                if user.names is names and user.done:
                    user.forget()


class _Raised(Exception):
    """An exception of the program; frames: (file, line, function), innermost first."""

    def __init__(self, message: str, *frames: tuple[str, int, str]):
        super().__init__(message)
        self.message = message
        self.frames = [*frames]


class Interpreter:
    """Runs files of one folder, one run after another.

    Only the files that changed are read again, and where none of their imports changed, modules stay as they were
    loaded: their top level does nothing but import and define.
    """

    def __init__(self, root: str):
        self.root = root
        self._parsed: dict[str, tuple[str, Source]] = {}
        """By file: a text that it had, and what that means."""
        self._modules: dict[str, dict[str, Bound]] = {}
        """By file: the names of the modules that the last run loaded, if it loaded all."""

    def run(self, files: Mapping[str, str], file: str) -> Result:
        """Run `python file` on these files."""
        if file not in files:
            raise Unknown(f"python {file}")
        program = _Program(self, files, file)
        try:
            names = self._linked(program)
            program.call(Bound(self.source(files, file).guarded, names, file, [], {}), (), {})
        except _Raised as error:
            return Result(program.stdout(), program.traceback(error), 1)
        except RecursionError:
            raise Unknown("a recursion without end") from None
        return Result(program.stdout())

    def source(self, files: Mapping[str, str], file: str) -> Source:
        """Parse a file, unless its text is as it was."""
        text = files[file]
        known = self._parsed.get(file)
        if known is None or known[0] is not text:
            known = self._parsed[file] = text, parse(text)
        return known[1]

    def close(self) -> None:
        """Forget all files: what an episode holds is released later, by Python's search for what is unused."""
        self._unload()
        self._parsed.clear()

    def _unload(self) -> None:
        """Forget what was loaded; modules and their functions refer to one another, which delays their release."""
        for names in self._modules.values():
            names.clear()
        self._modules = {}

    def _linked(self, program: _Program) -> dict[str, Bound]:
        """Load the modules, or bring those of the last run up to date."""
        file = program.file
        if file not in self._modules or not self._update(program.files):
            self._unload()
            names = program.load(file)
            loaded = {f"{name}.py": names for name, names in program.modules.items() if names is not None}
            self._modules = {**loaded, file: names}
        return self._modules[file]

    def _update(self, files: Mapping[str, str]) -> bool:
        """Exchange functions that were edited; False where that is not enough, or where a file is beyond `parse`."""
        for name in self._modules:
            text, before = self._parsed[name]
            if files.get(name) is text:
                continue
            try:
                source = self.source(files, name)
            except (KeyError, Unknown):
                return False
            if source.syntax_error or source.links != before.links:
                return False
            for _, statement in source.statements:
                if isinstance(statement, Function):
                    bound = self._modules[name][statement.name]
                    bound.function = statement
                    bound.forget()
        return True


def run(files: Mapping[str, str], file: str, root: str) -> Result:
    """Run `python file` in the folder `root` that holds `files`."""
    interpreter = Interpreter(root)
    result = interpreter.run(files, file)
    interpreter.close()
    return result


class _Program:
    """One run: its modules, and its output."""

    def __init__(self, interpreter: Interpreter, files: Mapping[str, str], file: str):
        self.interpreter, self.files, self.file, self.root = interpreter, files, file, interpreter.root
        self.modules: dict[str, dict[str, Bound] | None] = {}
        self.printed: list[str] = []
        self.calls = 0

    def load(self, file: str) -> dict[str, Bound]:
        """Execute a file's top level."""
        source = self.interpreter.source(self.files, file)
        names: dict[str, Bound] = {}
        if source.syntax_error:
            raise _Raised(f"SyntaxError: {UNCERTAIN}", (file, source.syntax_error, ""))
        line = 0
        try:
            for line, statement in source.statements:  # noqa: B007 (the frame of an exception needs it)
                if isinstance(statement, Import):
                    names[statement.name] = self._imported(statement)
                    names[statement.name].users.append(names)
                else:
                    names[statement.name] = Bound(statement, names, file, [], {})
        except _Raised as error:
            error.frames.append((file, line, "<module>"))
            raise
        return names

    def stdout(self) -> str:
        """What was printed."""
        return "\n".join(self.printed) + "\n" * bool(self.printed)

    def traceback(self, error: _Raised) -> str:
        """Format the traceback. Python prints no header for a syntax error in the file that was run."""
        frames = error.frames[::-1]
        text = [] if not frames[0][2] else ["Traceback (most recent call last):\n"]
        for file, line, function in frames:
            place = f", in {function}" if function else ""
            shown = self.interpreter.source(self.files, file).rows[line - 1].strip()
            text.append(f'  File "{self.root}/{file}", line {line}{place}\n    {shown}\n    {UNCERTAIN}\n')
        return "".join(text) + error.message + "\n"

    def _imported(self, statement: Import) -> Bound:
        module, name = statement
        if module not in self.modules:
            file = f"{module}.py"
            if file == self.file:
                raise Unknown("an import of the file that is run")
            if file not in self.files:
                if module in sys.stdlib_module_names:
                    raise Unknown(f"the module {module}")
                raise _Raised(f"ModuleNotFoundError: No module named '{module}'{UNCERTAIN}")
            self.modules[module] = None
            self.modules[module] = self.load(file)
        names = self.modules[module]
        if names is None:
            raise Unknown("a circular import")
        if name not in names:
            where = f"({self.root}/{module}.py)"
            raise _Raised(f"ImportError: cannot import name '{name}' from '{module}' {where}{UNCERTAIN}")
        return names[name]

    def call(self, target: Bound, values: Sequence[Value], keywords: dict[str, Value]) -> None:
        """Call a function, or print again what it printed for these arguments."""
        key = (*values, *keywords.items())
        if key in target.done:
            printed, calls = target.done[key]
            self.printed += printed
            self.calls += calls
        else:
            begin, before = len(self.printed), self.calls
            self.calls += 1
            self._execute(target, values, keywords)
            target.done[key] = self.printed[begin:], self.calls - before
        if self.calls > MAX_CALLS:
            raise Unknown("a run with too many calls")

    def _execute(self, target: Bound, values: Sequence[Value], keywords: dict[str, Value]) -> None:
        """Execute a function's body."""
        function, names = target.function, target.names
        known = dict(function.constants)
        if keywords or len(values) != len(function.parameters):
            if problem := _misfit(function, len(values), tuple(keywords)):
                raise _Raised(f"TypeError: {problem}")
            known.update(function.defaults)
            known.update(keywords)
        known.update(zip(function.parameters, values, strict=False))
        line = 0
        try:
            for line, (name, arguments, named, value, _, pick) in function.body:  # noqa: B007 (as above)
                if arguments is None:
                    known[name] = value
                    continue
                called = names.get(name)
                if called is None and name != "print":
                    raise _Raised(f"NameError: name '{name}' is not defined{UNCERTAIN}")
                given = pick(known)
                if called is not None:
                    self.call(called, given, {key: known[argument] for key, argument in named} if named else {})
                elif not named:
                    self.printed.append(" ".join(map(str, given)))
                else:
                    raise Unknown("print with options")
        except KeyError as missing:
            message = _undefined(missing.args[0], function.local, names)
            raise _Raised(message, (target.path, line, function.name)) from None
        except _Raised as error:
            error.frames.append((target.path, line, function.name))
            raise


def _undefined(name: str, local: frozenset[str], names: dict[str, Bound]) -> str:
    if name in names:
        raise Unknown("a function as a value")
    return f"UnboundLocalError: {UNCERTAIN}" if name in local else f"NameError: name '{name}' is not defined{UNCERTAIN}"


@lru_cache(4096)
def _stub(parameters: tuple[str, ...], optional: frozenset[str]) -> Callable[..., None]:
    signature = ", ".join(f"{parameter}=0" if parameter in optional else parameter for parameter in parameters)
    space: dict[str, Callable[..., None]] = {}
    exec(f"def stub({signature}): pass", space)  # the parser let only plain names through
    return space["stub"]


def _misfit(function: Function, positional: int, keywords: tuple[str, ...]) -> str:
    """Python's own words where a call does not fit a definition; else empty."""
    stub = _stub(function.parameters, frozenset(function.defaults))
    try:
        stub(*range(positional), **dict.fromkeys(keywords, 0))
    except TypeError as error:
        message, _, _ = str(error).partition(". Did you mean")
        return function.name + message.removeprefix("stub") + UNCERTAIN * ("unexpected keyword" in message)
    return ""
