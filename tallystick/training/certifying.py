"""Training until a model is certified exact at every length: on problems that contain the contexts that are open."""

from __future__ import annotations

from collections.abc import Callable

from tallystick import runs
from tallystick.evaluation import certified
from tallystick.locality import Refusal
from tallystick.locality.certify.certificate import Verdict, contexts_of, reason_against
from tallystick.locality.certify.reaching import problems_with
from tallystick.locality.proof import proved_graph
from tallystick.models.lookup import Lookup
from tallystick.training.trainer import Trainer

NAMED = 5
"""Number of open contexts that are named at the end."""

Say = Callable[[str], None]
"""A callback that receives a line of progress."""


class Certifying:
    """Certifies a run between stretches of its training.

    Raises ValueError, before anything is trained, if the task or the model cannot be certified.
    """

    def __init__(self, trainer: Trainer, say: Say):
        self._trainer, self._say = trainer, say
        task, model, settings = trainer.task, trainer.model, trainer.settings
        try:
            if reason := reason_against(model):
                raise Refusal(reason)
            self._proved = proved_graph(task, settings.seed)
            self._contexts = contexts_of(model, self._proved.graph)  # type: ignore[arg-type]
        except Refusal as refusal:
            what = f"{task.name} with {trainer.config.model}"
            raise ValueError(f"--certify: {what} cannot be certified: {refusal}") from None

    def goes_on(self) -> bool:
        """Certify the trained model; return whether training goes on, on problems with contexts that are open.

        It does not if the model is certified, if no steps are left, or if no problem was found with such a context.
        """
        trainer = self._trainer
        run = runs.load(trainer.path)  # on the CPU, as `tallystick certify` does
        if stored := certified.read(run.path, run.config, run.task, run.weights).certified:
            self._say_certified(stored["min_margin"])
            return False
        self._say("certifying ...")
        verdict = certified.certify_run(run, trainer.settings.seed, self._say, self._proved)
        if verdict["min_margin"] is not None and verdict["verdict"] == "certified":
            self._say_certified(verdict["min_margin"])
            return False
        prompts, why = self._problems(verdict)
        if not prompts:
            self._give_up(verdict, why)
            return False
        self._say(f"{_open(verdict)}; training goes on with {len(prompts):,} problems that have some of them")
        trainer.focus_on(prompts)
        return True

    def _problems(self, verdict: Verdict) -> tuple[list[list[str]], str]:
        """Find problems to train on that have open contexts; if there are none, say why training ends."""
        trainer, settings = self._trainer, self._trainer.settings
        if isinstance(trainer.model, Lookup):
            return [], "lookup is fitted in one go; train anew with more examples"
        if trainer.step >= settings.steps:
            return [], "no steps are left"
        open_, length = verdict["open"], settings.train_length
        found = problems_with(trainer.task, self._contexts, open_, trainer.step, length)
        return found, "no problem was found that has an open context"

    def _say_certified(self, margin: float) -> None:
        self._say(f"CERTIFIED exact at every length: each margin is at least {margin:.2g} logits")

    def _give_up(self, verdict: Verdict, why: str) -> None:
        self._say(f"NOT CERTIFIED, since {why}; {_open(verdict)}")
        for row in verdict["open"][:NAMED]:
            kind = "undecided" if row["problem"] is None else f"a real error, on {row['problem'][:100]}"
            after, want, rival = " ".join(row["context"]), row["want"], row["rival"]
            self._say(f"  after  {after}  comes {want}, perhaps {rival} is said: {kind}")


def _open(verdict: Verdict) -> str:
    real = sum(row["real_error"] is True for row in verdict["open"])
    return f"open contexts: {len(verdict['open']):,}, real errors among them: {real:,}"
