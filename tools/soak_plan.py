"""Which faults a soak brings, when and to whom: a pure function of the seed.

Faults come in rounds, and a round has each kind once in a drawn order, so that a short plan is not all of one kind.
"""
import dataclasses
import random

# Kind: seconds that it lasts, at least and at most; whether it needs the forwarder between nodes.
KINDS = {
    "kill": ((0.5, 3), False),        # kill -9, started again after that
    "power": ((0.8, 3), False),       # no link and no process at once: nobody closes a connection
    "leave": ((0.5, 2), False),       # SIGTERM, started again
    "stop": ((0.2, 3), False),        # SIGSTOP, SIGCONT
    "cut": ((0.3, 4), False),         # all links of the node are silent; its process and clients know nothing
    "slow-cpu": ((1, 3), False),      # it runs a tenth of the time
    "garbage": ((0.5, 2), False),     # strangers at its ports
    "slow-link": ((1, 3), True),      # delay and rate of a link ten times worse
    "loss": ((1, 3), True),           # TCP waits for what was lost to be sent again
    "resets": ((1, 3), True),         # connections break
    "flips": ((1, 2), True),          # bytes change on the way
}
PAIRS = [("kill", "stop"), ("kill", "cut"), ("cut", "stop"), ("kill", "leave"), ("stop", "stop")]
REST = (1.5, 3.0)                     # between the end of a fault and the next


@dataclasses.dataclass(frozen=True)
class Fault:
    at: float       # seconds, if no restart takes long; later ones wait for earlier ones
    hurts: tuple    # (node, kind), of one node or two
    lasts: float
    rest: float     # what follows without a fault

    @property
    def kind(self):
        return "+".join(kind for _, kind in self.hurts)

    def name(self):
        return ", ".join(f"{kind} n{node}" for node, kind in self.hurts)

    def __str__(self):
        return f"{self.at:6.1f} s  {self.name()} for {self.lasts:.1f} s"


def kinds_of(nodes, forwarder):
    """Two nodes at once only where the others can still hold all experts."""
    return [kind for kind, (_, needs_it) in KINDS.items() if forwarder or not needs_it] + ["pair"] * (nodes > 3)


def one_round(dice, nodes, kinds):
    """As ((node, kind), ...) of each fault."""
    faults = [((dice.randrange(nodes), kind),) for kind in kinds if kind != "pair"]
    if "pair" in kinds:
        faults.append(tuple(zip(dice.sample(range(nodes), 2), dice.choice(PAIRS))))
    dice.shuffle(faults)
    return faults


def make_plan(seed, nodes, seconds, kinds):
    dice = random.Random(f"{seed}/plan")
    faults, at = [], REST[0]
    while True:
        for hurts in one_round(dice, nodes, kinds):
            lasts = min(dice.uniform(*KINDS[kind][0]) for _, kind in hurts)
            rest = dice.uniform(*REST)
            if at + lasts > seconds:
                return faults
            faults.append(Fault(round(at, 3), hurts, round(lasts, 3), round(rest, 3)))
            at += lasts + rest
