"""How far a job is, as one figure that never runs backwards: each phase has a share of the whole, measured once. Plain
Python; it knows the phases' names and order, and nothing of jobs, engines or panels."""

from dataclasses import dataclass, field

SHARES = {  # seconds of the exterior demo on two cores, see README; other shots differ, the order of size does not
    "capture": 45.0, "light": 2.0, "start": 2.0, "text": 2.0, "conditions": 7.0, "sample": 28.0, "decode": 1.5,
    "measure": 3.0,
}
CAPTURE = ("capture", "light")  # what the background Blender does
ONCE = (*CAPTURE, "start", "text", "conditions")  # over when a later one begins; the others take turns in long shots
TURNS = ("sample", "decode")  # of the windows of a long shot
BEGINS = ("sample",)  # its step is the one that begins; the other phases count what is done


@dataclass
class Progress:
    """Of one run of a job. What was done in an earlier run, as a capture, is no part of it."""

    without: tuple[str, ...] = ()
    figure: float = 0.0  # of the whole, 0 to 1
    _phase: str = ""
    _step: int = 0
    _steps: int = 0
    _done: dict[str, float] = field(default_factory=dict)

    def told(self, phase: str, step: int, steps: int) -> tuple[str, int, int]:
        """Phase and steps as people are told them, in one order: the pilot frame, which is sampled before the passes of
        its window are read, belongs to the reading; what later windows read belongs to the phase before it."""
        if phase == "conditions" and self._phase in TURNS:
            return self._phase, self._step, self._steps
        return ("conditions", 0, 0) if phase == "sample" and not steps else (phase, step, steps)

    def hear(self, phase: str, step: int, steps: int) -> None:
        """Where the job says that it is; `steps` is 0 where it does not count them."""
        if phase not in SHARES:
            return
        if phase != self._phase:
            self._leave(phase)
        self._phase, self._step, self._steps = phase, step, steps
        self._raise(phase, step / steps if steps else 0.0)
        parts = {name: share for name, share in SHARES.items() if name not in self.without}
        whole = sum(share * self._done.get(name, 0.0) for name, share in parts.items()) / sum(parts.values())
        self.figure = max(self.figure, whole)

    def _leave(self, phase: str) -> None:
        """The phase that was is over, or its step is, where it comes again; so are those that come only before."""
        order = list(SHARES)
        over = order[: order.index(phase)]
        for name in over if phase == order[-1] else [name for name in over if name in ONCE]:
            self._raise(name, 1.0)
        if self._phase in BEGINS and self._steps:
            self._raise(self._phase, (self._step + 1) / self._steps)

    def _raise(self, phase: str, part: float) -> None:
        self._done[phase] = min(1.0, max(part, self._done.get(phase, 0.0)))
