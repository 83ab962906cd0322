"""What each kind of fault does to a node. A fault begins, lasts, and ends with a node that is as it was."""
import pathlib
import random
import signal
import subprocess
import sys
import threading
import time

HERE = pathlib.Path(__file__).resolve().parent
TURN_S = 0.02      # of a slow node: it runs a tenth of each


class Record:
    """A fault as it was: what happened when."""

    def __init__(self, fault, uncovered):
        self.fault, self.uncovered = fault, uncovered
        self.begun = self.over = self.ready = time.monotonic()

    @property
    def victims(self):
        return {node for node, _ in self.fault.hurts}


def end(cluster, i, which):
    cluster.signal(i, which)
    cluster.ended(i, which.name)


def kill(cluster, i, lasts):
    end(cluster, i, signal.SIGKILL)
    time.sleep(lasts)
    cluster.start(i)


def power(cluster, i, lasts):
    cluster.network.set(i, "cut")
    end(cluster, i, signal.SIGKILL)
    time.sleep(lasts)
    cluster.network.set(i)
    cluster.start(i)


def leave(cluster, i, lasts):
    end(cluster, i, signal.SIGTERM)
    time.sleep(lasts)
    cluster.start(i)


def stop(cluster, i, lasts):
    cluster.signal(i, signal.SIGSTOP)
    time.sleep(lasts)
    cluster.signal(i, signal.SIGCONT)


def slow_cpu(cluster, i, lasts):
    until = time.monotonic() + lasts
    while time.monotonic() < until:
        cluster.signal(i, signal.SIGSTOP)
        time.sleep(TURN_S * 0.9)
        cluster.signal(i, signal.SIGCONT)
        time.sleep(TURN_S * 0.1)


def bad_links(kind):
    def fault(cluster, i, lasts):
        cluster.network.set(i, kind)
        time.sleep(lasts)
        cluster.network.set(i)
    return fault


def garbage(cluster, i, lasts):
    """From a node's place, or this machine's: whoever reaches the ports."""
    hello = cluster.network.hello(i) or ("", 0)
    seed = random.Random(f"{cluster.o.seed}/garbage {i}").randrange(1 << 32)
    subprocess.run([*cluster.network.inside((i + 1) % cluster.count), sys.executable, HERE / "soak_garbage.py",
                    *map(str, (*cluster.network.address(i), *hello, seed, lasts))], check=True)


ACTS = {"kill": kill, "power": power, "leave": leave, "stop": stop, "slow-cpu": slow_cpu, "garbage": garbage,
        **{kind: bad_links(kind) for kind in ("cut", "slow-link", "loss", "resets", "flips")}}


def bring(cluster, fault):
    """Until every node is ready again; nodes that are hurt together are hurt at once."""
    record = Record(fault, cluster.uncovered_without({node for node, _ in fault.hurts}))
    problems = []

    def one(node, kind):
        try:
            ACTS[kind](cluster, node, fault.lasts)
        except Exception as problem:  # noqa: BLE001: told of after all have ended
            problems.append(f"{kind} n{node}: {type(problem).__name__}: {problem}")

    threads = [threading.Thread(target=one, args=hurt) for hurt in fault.hurts]
    record.begun = time.monotonic()
    for t in threads:
        t.start()
    for t in threads:
        t.join()
    record.over = time.monotonic()
    if problems:
        raise RuntimeError("; ".join(problems))
    for node, _ in fault.hurts:
        cluster.await_ready(f"n{node}")
    record.ready = time.monotonic()
    return record
