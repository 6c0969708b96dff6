"""Programs that hide what they remember: each says the parity of the ones at the end, which no last tokens tell."""

import functools
import random

import walks

from tallystick import Defaults


class Hiding(walks.Walk):
    """Walk over bits; `flip` is called for each 1, and `odd` says whether that was an odd number of times."""

    symbols = "01="
    shape = "[01]+="
    defaults = Defaults(train_length=4, check=(3, 4, 6))

    def answer(self, prompt):
        return [str(prompt.count("1") % 2)]

    def solve(self, w):
        p = w.pointer(0)
        self.begin()
        while (symbol := p.read()) != "=":
            if symbol == "1":
                self.flip()
            p.right()
        w.answer()
        w.output(str(self.odd()))

    def begin(self):
        pass


class InAttribute(Hiding):
    def begin(self):
        self.kept = 0

    def flip(self):
        self.kept ^= 1

    def odd(self):
        return self.kept


class InAttributeByName(InAttribute):
    def begin(self):
        setattr(self, "kept", 0)  # noqa: B010

    def flip(self):
        vars(self)["kept"] ^= 1


class InList(Hiding):
    kept = [0]  # noqa: RUF012

    def begin(self):
        self.kept[0] = 0

    def flip(self):
        self.kept[0] ^= 1

    def odd(self):
        return self.kept[0]


class InClass(Hiding):
    kept = 0

    def begin(self):
        InClass.kept = 0

    def flip(self):
        type(self).kept ^= 1

    def odd(self):
        return self.kept


COUNT = 0
HELD: dict[str, int] = {}
RNG = random.Random(0)


class InGlobal(Hiding):
    def begin(self):
        global COUNT
        COUNT = 0

    def flip(self):
        global COUNT
        COUNT ^= 1

    def odd(self):
        return COUNT


class InDict(Hiding):
    def begin(self):
        HELD.clear()

    def flip(self):
        HELD["odd"] = 1 - HELD.get("odd", 0)

    def odd(self):
        return HELD.get("odd", 0)


class InDefault(Hiding):
    def flip(self, kept=[0]):  # noqa: B006
        kept[0] ^= 1
        return kept

    def begin(self):
        kept = self.flip()
        kept[0] = 0

    def odd(self):
        odd = self.flip()[0] ^ 1
        self.flip()
        return odd


class InFunction(Hiding):
    def begin(self):
        helper.kept = 0

    def flip(self):
        helper.kept ^= 1

    def odd(self):
        return helper.kept


def helper():
    pass


def counter():
    kept = 0

    def flip(by):
        nonlocal kept
        kept ^= by
        return kept

    return flip


FLIP = counter()


class InClosureOfModule(Hiding):
    def begin(self):
        FLIP(FLIP(0))

    def flip(self):
        FLIP(1)

    def odd(self):
        return FLIP(0)


class InClosure(Hiding):
    def solve(self, w):
        p, flip = w.pointer(0), counter()
        while (symbol := p.read()) != "=":
            flip(int(symbol))
            p.right()
        w.answer()
        w.output(str(flip(0)))


class InRandom(Hiding):
    """The state of a random number generator remembers how often it was asked."""

    def begin(self):
        RNG.seed(0)

    def flip(self):
        RNG.random()

    def odd(self):
        return [random.Random(0).random() for _ in range(9)].index(RNG.random()) % 2


class InCache(Hiding):
    def flip(self):
        size(cached.cache_info().currsize)

    def begin(self):
        cached.cache_clear()

    def odd(self):
        return cached.cache_info().currsize % 2


@functools.cache
def cached(number):
    return number


def size(number):
    cached(number)


class InSum(Hiding):
    """The parity is kept by the C function that sums over a generator."""

    def solve(self, w):
        p = w.pointer(0)

        def bits():
            while (symbol := p.read()) != "=":
                p.right()
                yield int(symbol)

        w.answer()
        w.output(str(sum(bits()) % 2))


class InGenerator(Hiding):
    def solve(self, w):
        p = w.pointer(0)

        def parities():
            odd = 0
            while True:
                yield odd
                symbol = p.read()
                if symbol == "=":
                    return
                p.right()
                odd ^= int(symbol)

        for odd in parities():  # noqa: B007
            pass
        w.answer()
        w.output(str(odd))


class InSentGenerator(Hiding):
    def solve(self, w):
        p, kept = w.pointer(0), self._kept()
        next(kept)
        while (symbol := p.read()) != "=":
            kept.send(int(symbol))
            p.right()
        w.answer()
        w.output(str(kept.send(0)))

    def _kept(self):
        odd = 0
        while True:
            odd ^= yield odd


class InMap(Hiding):
    """An iterator in C, of which only the length of the rest tells."""

    def solve(self, w):
        p, rest = w.pointer(0), map(str, [0, 1] * 10)
        last = next(rest)
        while (symbol := p.read()) != "=":
            if symbol == "1":
                last = next(rest)
            p.right()
            last = ""
        w.answer()
        w.output(next(rest) if last is None else str(1 - int(next(rest))))


class InKey(Hiding):
    """The parity is a list that a C function is sorting by a key that asks."""

    def solve(self, w):
        p, seen = w.pointer(0), []

        def key(number):
            symbol = p.read()
            if symbol != "=":
                seen.append(int(symbol))
                p.right()
            return number

        sorted(range(100), key=key)
        w.answer()
        w.output(str(sum(seen) % 2))


class OnStack(Hiding):
    """The first bit waits on the value stack for all the others."""

    def answer(self, prompt):
        return [prompt[0], "0"]

    def solve(self, w):
        p = w.pointer(0)
        first, _ = p.read(), self._walk(p)
        w.answer()
        w.output(first, "0")

    def _walk(self, p):
        while p.read() != "=":
            p.right()


class InArguments(OnStack):
    """The first bit waits as an argument of a call."""

    def solve(self, w):
        p = w.pointer(0)
        w.output(*self._both(w, p.read(), self._walk(p)))

    def _both(self, w, first, _):
        w.answer()
        return first, "0"


class InMethod(OnStack):
    """The first bit waits in a bound method on the value stack."""

    def solve(self, w):
        p = w.pointer(0)
        first = p.read().replace("2", self._walk(p) or "2")
        w.answer()
        w.output(first, "0")


class InContext(OnStack):
    """The first bit waits in a context manager."""

    def solve(self, w):
        with Held(w.pointer(0).read(), w):
            self._walk(w.pointer(0))
            w.answer()


class Held:
    def __init__(self, held, w):
        self.held, self.w = held, w

    def __enter__(self):
        return self

    def __exit__(self, *_):
        self.w.output(self.held, "0")


class InException(Hiding):
    """The parity is in the exception that is being handled."""

    def solve(self, w):
        p = w.pointer(0)
        error = self._handle(p, KeyError(0))
        w.answer()
        w.output(str(error.args[0]))

    def _handle(self, p, error):
        try:
            raise error
        except KeyError as caught:
            symbol = p.read()
            if symbol == "=":
                return caught
            p.right()
            return self._again(p, caught, symbol)

    def _again(self, p, caught, symbol):
        return self._handle(p, KeyError(caught.args[0] ^ int(symbol)))


class InRecursion(Hiding):
    def solve(self, w):
        odd = self._rest(w.pointer(0))
        w.answer()
        w.output(str(odd))

    def _rest(self, p):
        symbol = p.read()
        if symbol == "=":
            return 0
        p.right()
        return self._rest(p) ^ int(symbol)


class ByAsking(Hiding):
    """Whether the workspace takes an output tells what the answer is."""

    def solve(self, w):
        self._walk(w.pointer(0))
        w.answer()
        try:
            w.output("1")
        except ValueError:
            w.output("0")

    def _walk(self, p):
        while p.read() != "=":
            p.right()


class ByAskingWithin(ByAsking):
    """The same, from a function that catches nothing."""

    def solve(self, w):
        self._walk(w.pointer(0))
        w.answer()
        try:
            self._say(w, "1")
        except ValueError:
            self._say(w, "0")

    def _say(self, w, symbol):
        w.output(symbol)


class ByAskingInAList(ByAsking):
    """The output is refused within a comprehension, which CPython 3.12 and later protect by a handler of its own."""

    def solve(self, w):
        self._walk(w.pointer(0))
        w.answer()
        try:
            [w.output(symbol) for symbol in "1"]
        except ValueError:
            w.output("0")


class FromAnswer(ByAsking):
    """`answer`, which is asked when the answer begins, leaves the parity in an attribute."""

    kept = "0"

    def answer(self, prompt):
        self.kept = str(prompt.count("1") % 2)
        return [self.kept]

    def solve(self, w):
        self._walk(w.pointer(0))
        w.answer()
        w.output(self.kept)


class FromAnswerInList(ByAsking):
    """`answer` leaves the parity in a list of the class, but only for long prompts, which are not looked at."""

    remembered = ["0"]  # noqa: RUF012

    def answer(self, prompt):
        if len(prompt) > 100:
            self.remembered[0] = str(prompt.count("1") % 2)
        return list(self.remembered)

    def solve(self, w):
        self._walk(w.pointer(0))
        w.answer()
        w.output(self.remembered[0])


class FromPrompt(ByAsking):
    def solve(self, w):
        self._walk(w.pointer(0))
        w.answer()
        w.output(str(w.prompt.count("1") % 2))


class FromPromptSlice(FromPrompt):
    def solve(self, w):
        self._walk(w.pointer(0))
        w.answer()
        w.output(*self.answer(w.prompt[:]))


class FromInside(ByAsking):
    """The workspace's own attribute tells the answer."""

    def solve(self, w):
        self._walk(w.pointer(0))
        w.answer()
        w.output(next(w._expected))


class InWorkspace(Hiding):
    def solve(self, w):
        p, w.kept = w.pointer(0), 0
        while (symbol := p.read()) != "=":
            w.kept ^= int(symbol)
            p.right()
        w.answer()
        w.output(str(w.kept))


class TrueOrOne(Hiding):
    """1 and True are equal, but differ in what they say."""

    def solve(self, w):
        p, odd = w.pointer(0), 1
        while (symbol := p.read()) != "=":
            if symbol == "1":
                odd = True if str(odd) == "1" else 1
            p.right()
        w.answer()
        w.output("0" if str(odd) == "1" else "1")


class SharedList(Hiding):
    """Whether two lists are one decides, though their contents are alike."""

    def solve(self, w):
        p, one = w.pointer(0), [0]
        other = [0]
        while (symbol := p.read()) != "=":
            if symbol == "1":
                one.append(1)
                shared = len(other) == 2
                one = [0]
                other = [0] if shared else one
            p.right()
        one.append(1)
        w.answer()
        w.output(str(len(other) - 1))


class TupleOrList(Hiding):
    def solve(self, w):
        p, kept = w.pointer(0), (0,)
        while (symbol := p.read()) != "=":
            if symbol == "1":
                kept = [0] if kept == (0,) else (0,)
            p.right()
        w.answer()
        w.output("0" if kept == (0,) else "1")


class SignOfZero(Hiding):
    def solve(self, w):
        p, kept = w.pointer(0), 0.0
        while (symbol := p.read()) != "=":
            kept = -kept if symbol == "1" else kept
            p.right()
        w.answer()
        w.output("1" if str(kept)[0] == "-" else "0")


class InPosition(Hiding):
    """The parity is the distance of two pointers."""

    tools = ("pointer:2",)

    def solve(self, w):
        p, q = w.pointer(0), w.pointer(1)
        while (symbol := p.read()) != "=":
            if symbol == "1":
                q.right()
            p.right()
        odd = False
        while q.read() != "[BOS]":
            q.left()
            odd = not odd
        w.answer()
        w.output(str(int(not odd)))


class Password(walks.Pin):
    """Whether a long password ever stood in the prompt; no sample has it."""

    word = "abaabbabaaabbbab"

    def keep(self, kept, symbol):
        return kept if kept == self.word else super().keep(kept, symbol)


class Latch(walks.Walk):
    """Whether c ever stood in the prompt; it is never drawn."""

    symbols = "abc="
    drawn = "ab"
    shape = "[abc]+="
    start = "a"
    defaults = Defaults(train_length=4, check=(3, 4, 6))

    def keep(self, kept, symbol):
        return "c" if symbol == "c" else kept


PROGRAMS = [cls for cls in dict(globals()).values() if isinstance(cls, type) and issubclass(cls, walks.Walk)]
PROGRAMS = [cls for cls in PROGRAMS if cls not in (walks.Walk, Hiding)]
