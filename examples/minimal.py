"""The whole idea in one file, without the package: `python examples/minimal.py` (torch and numpy; about a minute).

A program adds two numbers through pointers into a memory, and its steps are recorded as tokens. A small recurrent model
of fixed state learns to predict them on numbers of at most 5 digits. Then it runs alone: it says a token, a pointer
answers, it says the next. The last few tokens always decide what comes next, so the numbers' length does not matter.
"""

import random

import torch
from torch import nn
from torch.nn import functional as F

DIGITS = "0123456789"
COMMANDS = [f"p{i}.{verb}" for i in range(3) for verb in ("read", "left", "right")]
TOKENS = ["BOS", "EOS", "ANS", *COMMANDS, *DIGITS, "+", "=", "c0", "c1"]
IDS = {token: i for i, token in enumerate(TOKENS)}


class Episode:
    """One problem being worked on: three pointers into the memory, which holds prompt + thoughts + outputs."""

    def __init__(self, prompt):
        self.memory, self.positions = list(prompt), [0, 0, 0]
        self.tokens, self.said = ["BOS", *prompt], [False] * (len(prompt) + 1)  # said: by the model, so not the prompt

    def say(self, token):
        """Take a token of the program or model; a read is answered with the symbol under the pointer."""
        self.record(token, True)
        pointer, _, verb = token.partition(".")
        if not verb:
            self.memory.append(token)
        elif verb != "read":
            self.positions[int(pointer[1])] += {"left": -1, "right": 1}[verb]
        else:
            at = self.positions[int(pointer[1])]
            symbol = "BOS" if at < 0 else self.memory[at] if at < len(self.memory) else "EOS"
            return self.record(symbol, False)
        return None

    def record(self, token, said):
        self.tokens.append(token)
        self.said.append(said)
        return token


def add(episode):
    """Add two numbers: the program to learn. A fresh pointer makes the last sweep, whose moves tell out from back."""

    def sweep(i, stop, verb="right"):
        while (symbol := episode.say(f"p{i}.read")) != stop:
            yield symbol
            episode.say(f"p{i}.{verb}")

    for i, stop in ((0, "+"), (1, "=")):
        list(sweep(i, stop))
        episode.say(f"p{i}.left")
    carry = 0
    while True:
        read = [episode.say(f"p{i}.read") for i in (0, 1)]
        live = [i for i in (0, 1) if read[i] in DIGITS]
        if not live:
            break
        carry, digit = divmod(sum(int(read[i]) for i in live) + carry, 10)
        list(map(episode.say, (DIGITS[digit], f"c{carry}", *(f"p{i}.left" for i in live))))
    if carry:
        episode.say("1")
    episode.say("ANS")
    list(sweep(2, "ANS"))
    episode.say("p2.left")
    for symbol in sweep(2, "=", "left"):
        if symbol in DIGITS:
            episode.say(symbol)
    episode.say("EOS")


def problem(length_a, length_b, rng):
    """Draw two numbers, and write them as a prompt."""
    numbers = [[rng.choice(DIGITS[1:]), *rng.choices(DIGITS, k=n - 1)] for n in (length_a, length_b)]
    return [*numbers[0], "+", *numbers[1], "="]


class Mamba2(nn.Module):
    """One block with a fixed state: the last 3 inputs of the convolution, and a matrix h per head.

    B batch, L length, H heads, P head dim, N state size. Training takes the matrix form (all pairs of tokens at once),
    running alone the recurrence h = exp(dt A) h + dt x B, y = h C: the same function (arXiv 2405.21060, section 5).
    """

    def __init__(self, width=64, heads=4, head_dim=32, state=16):
        super().__init__()
        self.sizes, self.split = (heads, head_dim, state), [heads * head_dim, state, state]
        self.norm = nn.RMSNorm(width)
        self.into = nn.Linear(width, heads * head_dim + sum(self.split) + heads, bias=False)
        self.conv = nn.Conv1d(sum(self.split), sum(self.split), 4, groups=sum(self.split))
        self.decay = nn.Parameter(torch.empty(heads).uniform_(1, 16).log())
        self.rate = nn.Parameter(torch.empty(heads).uniform_(0.001, 0.1).expm1().log())
        self.skip = nn.Parameter(torch.ones(heads))
        self.gate_norm = nn.RMSNorm(heads * head_dim)
        self.out = nn.Linear(heads * head_dim, width, bias=False)

    def forward(self, x_BLD, state):
        heads, head_dim, size = self.sizes
        batch = len(x_BLD)
        tail, h_BHPN = state or (torch.zeros(batch, sum(self.split), 3), torch.zeros(batch, *self.sizes))
        gate, mixed, dt = self.into(self.norm(x_BLD)).split([self.split[0], sum(self.split), heads], dim=-1)
        seen = torch.cat([tail, mixed.transpose(1, 2)], dim=2)
        x, B_BLN, C_BLN = F.silu(self.conv(seen)).transpose(1, 2).split(self.split, dim=-1)
        x_BLHP, dt_BLH = x.unflatten(-1, (heads, head_dim)), F.softplus(dt + self.rate)
        scan = self.matrix if self.training else self.recurrence
        y_BLHP, h_BHPN = scan(x_BLHP, dt_BLH, -self.decay.exp(), B_BLN, C_BLN, h_BHPN)
        y = (y_BLHP + self.skip[:, None] * x_BLHP).flatten(2)
        return x_BLD + self.out(self.gate_norm(y * F.silu(gate))), (seen[:, :, -3:], h_BHPN)

    @staticmethod
    def matrix(x_BLHP, dt_BLH, A_H, B_BLN, C_BLN, h_BHPN):
        since_BHL = (dt_BLH * A_H).cumsum(1).transpose(1, 2)
        decay_BHLM = (since_BHL[..., None] - since_BHL[..., None, :]).tril().exp().tril()
        weight_BHLM = decay_BHLM * (C_BLN @ B_BLN.transpose(1, 2))[:, None]
        return (weight_BHLM @ (x_BLHP * dt_BLH[..., None]).transpose(1, 2)).transpose(1, 2), h_BHPN

    @staticmethod
    def recurrence(x_BLHP, dt_BLH, A_H, B_BLN, C_BLN, h_BHPN):
        y = []
        for x_BHP, dt_BH, B_BN, C_BN in zip(*(each.unbind(1) for each in (x_BLHP, dt_BLH, B_BLN, C_BLN)), strict=True):
            h_BHPN = h_BHPN * (dt_BH * A_H).exp()[..., None, None]
            h_BHPN = h_BHPN + (dt_BH[..., None] * x_BHP)[..., None] * B_BN[:, None, None]
            y.append((h_BHPN * C_BN[:, None, None]).sum(-1))
        return torch.stack(y, dim=1), h_BHPN


class Model(nn.Module):
    def __init__(self, width=64):
        super().__init__()
        self.embedding = nn.Embedding(len(TOKENS), width)
        nn.init.normal_(self.embedding.weight, std=0.02)
        self.blocks = nn.ModuleList([Mamba2(width), Mamba2(width)])
        self.norm = nn.RMSNorm(width)

    def forward(self, ids_BL, states=(None, None)):
        x_BLD, after = self.embedding(ids_BL), []
        for block, state in zip(self.blocks, states, strict=True):
            x_BLD, state = block(x_BLD, state)
            after.append(state)
        return self.norm(x_BLD) @ self.embedding.weight.T, after


def batch(rng, size=16, digits=5):
    """Record fresh problems: ids, and targets, -100 for tokens that the model does not say."""
    rows, targets = [], []
    for _ in range(size):
        episode = Episode(problem(rng.randint(1, digits), rng.randint(1, digits), rng))
        add(episode)
        ids = torch.tensor([IDS[token] for token in episode.tokens])
        rows.append(ids[:-1])
        targets.append(ids[1:].masked_fill(~torch.tensor(episode.said[1:]), -100))
    pad = nn.utils.rnn.pad_sequence
    return pad(rows, batch_first=True), pad(targets, batch_first=True, padding_value=-100)


def train(model, steps, rng):
    """Train with AdamW; the learning rate goes up, then down to zero."""
    optimizer = torch.optim.AdamW(model.parameters(), weight_decay=0.0)
    schedule = torch.optim.lr_scheduler.OneCycleLR(optimizer, 6e-3, total_steps=steps, pct_start=0.1)
    for step in range(1, steps + 1):
        ids_BL, targets_BL = batch(rng)
        loss = F.cross_entropy(model(ids_BL)[0].flatten(0, 1), targets_BL.flatten())
        optimizer.zero_grad()
        loss.backward()
        nn.utils.clip_grad_norm_(model.parameters(), 1.0)
        optimizer.step()
        schedule.step()
        if step % 100 == 0:
            print(f"step {step:4d}  loss {loss.item():.5f}")


@torch.inference_mode()
def solve(model, prompt):
    """Let the model run alone, with live pointers; return its answer as text."""
    episode, states, read = Episode(prompt), (None, None), 0
    while episode.tokens[-1] != "EOS" or not episode.said[-1]:
        unread = torch.tensor([[IDS[token] for token in episode.tokens[read:]]])
        read = len(episode.tokens)
        logits_BLV, states = model(unread, states)
        episode.say(TOKENS[int(logits_BLV[0, -1].argmax())])
        if len(episode.tokens) > 50 * len(prompt) + 200:
            return "no end"
    return "".join(episode.memory[:-1]).partition("ANS")[2]


if __name__ == "__main__":
    torch.manual_seed(0)
    torch.set_num_threads(1)
    rng, model = random.Random(0), Model()
    train(model, 500, rng)
    model.eval()
    for digits in (5, 20, 100, 300):
        prompts = [problem(digits, digits, rng) for _ in range(3)]
        right = sum(solve(model, prompt) == str(eval("".join(prompt[:-1]))) for prompt in prompts)
        print(f"{digits:4d} digits: {right} of {len(prompts)} right")
