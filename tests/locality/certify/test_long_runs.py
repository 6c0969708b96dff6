"""Real runs of many tokens stay within the bounds of every context that they pass, refined ones too."""

import sys
from pathlib import Path

import numpy as np
import pytest
import torch

from tallystick import runs
from tallystick.locality import sequences
from tallystick.tasks import load

sys.path.insert(0, str(Path(__file__).parent))
from walking import bounds_of, contexts_of, random_model

PIECE = 2**15
"""Number of tokens after which the state is looked at."""
KNOWN = 2
"""Number of further tokens of the refined bounds."""
TOKENS = [10**5, pytest.param(10**7, marks=pytest.mark.slow)]
MODELS = {
    "random": lambda size: random_model(size, 3),
    "trained": lambda size: runs.load(Path(__file__).parent / "reverse").model,
}


class Ways:
    """The contexts to which the tokens of a run lead: sets of them, numbered as they are met."""

    def __init__(self, contexts):
        self.contexts, self.sets, self._numbers, self._next = contexts, [(0,)], {(0,): 0}, {}
        self._after = {}
        for to, before in enumerate(contexts.before):
            for begin in before:
                self._after.setdefault((begin, int(contexts.tokens[to, -1])), []).append(to)

    def follow(self, ids):
        """Return the number of the set at each token."""
        now, found = 0, np.empty(len(ids), np.int64)
        for place, token in enumerate(ids.tolist()):
            following = self._next.get((now, token))
            if following is None:
                ends = sorted({to for begin in self.sets[now] for to in self._after.get((begin, token), [])})
                assert ends, "a run leaves the contexts"
                following = self._next[now, token] = self._numbers.setdefault(tuple(ends), len(self.sets))
                if following == len(self.sets):
                    self.sets.append(tuple(ends))
            found[place] = now = following
        return found


@pytest.mark.parametrize("tokens", TOKENS)
@pytest.mark.parametrize("name", MODELS)
def test_a_long_run_stays_within_the_bounds(name, tokens):
    """The state is looked at after each piece, the margin of every token that the program says everywhere."""
    task, contexts = load("reverse"), contexts_of("reverse")
    model, ways = MODELS[name](len(task.vocab)), Ways(contexts)
    bounds = bounds_of(model, contexts)
    length = tokens // 7
    ids, mask = sequences.of(task, task.problem("train", 1, length, 0))
    assert len(ids) > 0.9 * tokens
    passed = ways.follow(ids)
    margins = np.concatenate(list(pieces(model, bounds, ids, passed, ways)))
    places = np.flatnonzero(mask[1:])[KNOWN:]
    windows = np.stack([passed[places - back] for back in range(KNOWN, -1, -1)], axis=1)
    unique, which = np.unique(windows, axis=0, return_inverse=True)
    least = np.array([lower_bound(bounds, ways, window) for window in unique])
    assert len(unique) > 20
    assert (margins[places] >= least[which.ravel()]).all()


def lower_bound(bounds, ways, window):
    """Return the largest bound, refined or not, of those that hold where a run passes these sets of contexts."""
    contexts, paths = ways.contexts, [[context] for context in ways.sets[window[0]]]
    for number in window[1:]:
        paths = [[*path, to] for path in paths for to in ways.sets[number] if path[-1] in contexts.before[to]]
    said = {int(contexts.said[path[-1]]) for path in paths}
    assert len(said) == 1, "these sets tell what is said"
    paths = np.array(paths)
    return max(*bounds.margins(paths[:, -1])[0], *bounds.margins_along(paths)[0])


@torch.no_grad()
def pieces(model, bounds, ids, passed, ways):
    """Yield the margins of the next tokens, and assert that states lie within their bounds after each piece."""
    state = None
    for begin in range(0, len(ids) - 1, PIECE):
        part = torch.from_numpy(ids[begin : begin + PIECE + 1].astype(np.int64))
        logits, state = model(part[None, :-1], state)
        want = part[1:, None]
        others = logits[0].scatter(1, want, float("-inf")).amax(1)
        yield (logits[0].gather(1, want)[:, 0] - others).double().numpy()
        for context in ways.sets[passed[begin + len(part) - 2]]:
            for number, (block, layer) in enumerate(zip(bounds.network.blocks, bounds.layers, strict=True)):
                real, error = state[f"ssm.{number}"][0].double().numpy().ravel(), block.scan_error.ravel()
                assert (layer.state.lo[context] - error <= real).all()
                assert (real <= layer.state.hi[context] + error).all()
