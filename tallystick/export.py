"""data: trajectories in a file, for others to train on. JSONL is our own format; Parquet has a row a trajectory:

task, variant, split, seed, length, index   which problem it is
messages, tools                             the episode as a chat, and its tools' schemas (JSON)
input_ids, roles, loss_mask                 by token, [BOS] first; what the numbers mean stands in the file's metadata

In the chat the prompt is the user's, each command a tool call (p0_read for [p0.read]), thoughts, notes and outputs are
the assistant's content, symbols with spaces between. Nothing is lost but [BOS] and [EOS], where a chat begins and ends.
JSON columns, for Arrow unifies structs: a call without arguments would come back with those of all other calls.
"""

from __future__ import annotations

import json
import os
import re
from collections.abc import Iterator
from pathlib import Path
from typing import Any

from tallystick import tools as toolbox
from tallystick import workspace
from tallystick.episode import EOS, FORMAT_VERSION, Brackets, JsonlWriter, Record, Role, not_said
from tallystick.tasks import Task
from tallystick.vocab import loss_mask

SPLITS = ("train", "holdout", "check", "test")
"""Whose problems: those of "test" have exactly the length asked for, the others at most."""
ROW_GROUP = 1_000_000
"""Tokens held before they are written; a longer trajectory is held alone."""
Key = dict[str, Any]
"""split, seed, length and index of a problem."""


def write(task: Task, out: Path, lengths: list[int], samples: int, split: str, seed: int) -> dict[str, Any]:
    """Write `samples` trajectories of each length to `out`, whole or not at all; the form follows from its ending.

    Returns {"file", "trajectories", "bytes"}. Raises ValueError for another ending, an unknown split or a file that is
    there already, or where pyarrow is missing; ProgramError if the task's program is wrong.
    """
    forms = {".jsonl": _write_jsonl, ".parquet": _write_parquet}
    if out.suffix not in forms:
        raise ValueError(f"{out} ends in neither {' nor '.join(forms)}: the ending says how to write")
    if split not in SPLITS:
        raise ValueError(f"unknown split {split!r}; there are: {', '.join(SPLITS)}")
    if out.exists():
        raise ValueError(f"{out} is there already: give another --out")
    keys = [{"split": split, "seed": seed, "length": n, "index": i} for n in lengths for i in range(samples)]
    beside = out.with_name(f".{out.name}.{os.getpid()}")
    try:
        forms[out.suffix](task, beside, keys)
        beside.rename(out)
    finally:
        beside.unlink(missing_ok=True)
    return {"file": str(out), "trajectories": len(keys), "bytes": out.stat().st_size}


def _write_jsonl(task: Task, path: Path, keys: list[Key]) -> None:
    """A block at a time: no trajectory is held."""
    with path.open("w", encoding="utf-8") as file:
        for key in keys:
            sink = JsonlWriter(file, task.vocab.tokens, _names(task) | key)
            workspace.run_problem(task, sink, **key, up_to=key["split"] != "test")


def _write_parquet(task: Task, path: Path, keys: list[Key]) -> None:
    try:
        import pyarrow as pa
        from pyarrow import parquet
    except ImportError:
        raise ValueError("Parquet needs pyarrow: pip install 'tallystick[data]', or write .jsonl") from None
    chat = dict.fromkeys(("messages", "tools"), pa.json_())
    by_token = {"input_ids": pa.list_(pa.int32()), "roles": pa.list_(pa.int8()), "loss_mask": pa.list_(pa.bool_())}
    names = dict.fromkeys(("task", "variant", "split"), pa.string())
    numbers = dict.fromkeys(("seed", "length", "index"), pa.int64())
    about = {"format": FORMAT_VERSION, "tokens": task.vocab.tokens, "roles": [role.name.lower() for role in Role]}
    schema = pa.schema(names | numbers | chat | by_token, {"tallystick": json.dumps(about)})
    with parquet.ParquetWriter(path, schema) as writer:
        for rows in _groups(_row(task, key) for key in keys):
            columns = [pa.array([row[name] for row in rows], schema.field(name).type) for name in schema.names]
            writer.write_table(pa.table(columns, schema=schema))


def _groups(rows: Iterator[dict[str, Any]]) -> Iterator[list[dict[str, Any]]]:
    """Rows together up to ROW_GROUP tokens."""
    group, tokens = [], 0
    for row in rows:
        if group and tokens + len(row["input_ids"]) > ROW_GROUP:
            yield group
            group, tokens = [], 0
        group.append(row)
        tokens += len(row["input_ids"])
    yield group


def _row(task: Task, key: Key) -> dict[str, Any]:
    up_to = key["split"] != "test"
    workspace.run_problem(task, sink := Record(), **key, up_to=up_to)
    chat = Chat(task, task.problem(**key, up_to=up_to))
    for token, role in zip(sink.ids.tolist(), sink.roles.tolist(), strict=True):
        chat.add(token, role)
    as_json = {"messages": json.dumps(chat.finish()), "tools": json.dumps(chat.tools)}
    by_token = {
        "input_ids": sink.ids,
        "roles": sink.roles,
        "loss_mask": loss_mask(sink.roles, task.predict_observations),
    }
    return _names(task) | key | as_json | by_token


def _names(task: Task) -> dict[str, str]:
    return {"task": task.name, "variant": task.variant}


class Chat:
    """An episode on one problem as messages in the chat convention, made token by token."""

    def __init__(self, task: Task, prompt: list[str]):
        self._tokens = task.vocab.tokens
        commands, _ = toolbox.start_all(*task.part_of(prompt))
        self._closing = {token: c.close for token, c in commands.items() if isinstance(c, Brackets)}
        self.tools = self._schemas([token for token, command in commands.items() if command is not not_said])
        """The schemas of the commands."""
        self._messages: list[dict[str, Any]] = [{"role": "user", "content": " ".join(prompt)}]
        self._said: list[str] = []  # the content of the assistant's next message
        self._calls: list[tuple[int, list[str], list[str]]] = []  # its commands: token, arguments, answer
        self._close: int | None = None  # the mark that ends the arguments now said
        self._count = 0

    def add(self, token: int, role: int) -> None:
        """Take the episode's next token."""
        word = self._tokens[token]
        if role == Role.OBSERVATION:
            self._calls[-1][2].append(word)
        elif role == Role.COMMAND:
            self._command(token, word)
        elif role != Role.PROMPT and token != EOS:
            self._flush(bool(self._calls))
            self._said.append(word)

    def finish(self) -> list[dict[str, Any]]:
        """All messages."""
        self._flush(bool(self._said or self._calls))
        return self._messages

    def _command(self, token: int, word: str) -> None:
        """A command, or an argument; one that comes after an answer is another message's."""
        if self._close is None:
            self._flush(any(answer for _, _, answer in self._calls))
            self._calls.append((token, [], []))
            self._close = self._closing.get(token)
        elif token == self._close:
            self._close = None
        else:
            self._calls[-1][1].append(word)

    def _flush(self, due: bool) -> None:
        """If it is due, the assistant's message with its calls, and a tool's message for each of them."""
        if not due:
            return
        calls, answers = [], []
        for token, symbols, answer in self._calls:
            name, arguments = self._call(token, symbols)
            call_id = f"call_{self._count}"
            self._count += 1
            calls.append({"id": call_id, "type": "function", "function": {"name": name, "arguments": arguments}})
            answers.append({"role": "tool", "tool_call_id": call_id, "name": name, "content": " ".join(answer)})
        message = {"role": "assistant", "content": " ".join(self._said)} | ({"tool_calls": calls} if calls else {})
        self._messages += [message, *answers]
        self._said, self._calls = [], []

    def _call(self, token: int, symbols: list[str]) -> tuple[str, dict[str, str]]:
        """The function's name and arguments: [tape.write 1] is tape_write with the symbol 1."""
        word, _, symbol = self._tokens[token][1:-1].partition(" ")
        arguments = {"symbols": " ".join(symbols)} if token in self._closing else {"symbol": symbol} if symbol else {}
        return re.sub(r"\W", "_", word), arguments

    def _schemas(self, commands: list[int]) -> list[dict[str, Any]]:
        """A function a name; a symbol that stands in the command's own name is one of those that do."""
        functions: dict[str, dict[str, Any]] = {}
        for token in commands:
            name, arguments = self._call(token, [])
            properties = functions.setdefault(name, {})
            if "symbols" in arguments:
                properties["symbols"] = {"type": "string", "description": "with spaces between"}
            elif arguments:
                properties.setdefault("symbol", {"type": "string", "enum": []})["enum"].append(arguments["symbol"])
        return [_schema(name, properties) for name, properties in functions.items()]


def _schema(name: str, properties: dict[str, Any]) -> dict[str, Any]:
    parameters = {"type": "object", "properties": properties, "required": list(properties)}
    return {"type": "function", "function": {"name": name, "parameters": parameters}}
