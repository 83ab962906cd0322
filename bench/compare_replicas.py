#!/usr/bin/env python3
"""Ways of choosing a replica, on running nodes of which one is slow.

    compare_replicas.py MODEL.gguf [--home-ram 450MB] [--rounds 3] [--tokens 150] [--slow 0.5]

Three nodes of one thread in network namespaces (lab.sh): a home with room for few experts, and two
that hold all of them. The third is stopped for a share of every 20 ms. In each round the home is
started anew with each rule and decodes; the time from token to token is what counts, after a
warm-up. Needs python3-zmq and python3-msgpack.
"""
import argparse
import os
import pathlib
import signal
import statistics
import subprocess
import sys
import tempfile
import threading
import time

HERE = pathlib.Path(__file__).resolve().parent
sys.path.insert(0, str(HERE.parent / "python"))
from coel import Node  # noqa: E402

BIN = pathlib.Path(os.environ.get("COEL_BIN", HERE.parent / "build/release"))
RULES = ("trained", "average", "random", "two-choices", "least-loaded")
PERIOD_S = 0.02


class Slowed:
    """Stops a process for a share of every period."""

    def __init__(self, pid, share):
        self._pid, self._share, self._on = pid, share, True
        self._thread = threading.Thread(target=self._run)
        self._thread.start()

    def _run(self):
        while self._on and self._share > 0:
            os.kill(self._pid, signal.SIGSTOP)
            time.sleep(PERIOD_S * self._share)
            os.kill(self._pid, signal.SIGCONT)
            time.sleep(PERIOD_S * (1 - self._share))

    def stop(self):
        self._on = False
        self._thread.join()


class Cluster:
    def __init__(self, args, folder):
        self.args, self.folder, self.nodes = args, folder, {}
        subprocess.run([HERE / "lab.sh", "up", "3", args.rate, args.rtt], check=True,
                       stdout=subprocess.DEVNULL)
        subprocess.run([BIN / "coel-node", "keygen", folder / "cluster.toml", "--name", "bench"],
                       check=True, stdout=subprocess.DEVNULL)

    def endpoint(self, i):
        return f"ipc://{self.folder}/n{i}.sock"

    def start(self, i, ram, *more):
        log = self.folder / f"n{i}.log"
        peers = [word for j in (1, 2, 3) for word in ("--peer", f"10.78.0.{j}")]
        command = [BIN / "coel-node", "--cluster", self.folder / "cluster.toml", "--listen",
                   f"10.78.0.{i}", "--hello-port", "0", *peers, "--state", self.folder / f"s{i}",
                   "--name", f"n{i}", "--model", f"m={self.args.model}", "--endpoint",
                   self.endpoint(i), "-t", "1", "--ram", ram, "--kv", "64MB", "--shape",
                   "horizontal", "--homing", "off", "-q", *more]
        # `ip netns exec` becomes the node: its pid is the node's.
        with open(log, "w") as out:
            self.nodes[i] = subprocess.Popen(["ip", "netns", "exec", f"coel{i}", *command],
                                             stderr=out)
        for _ in range(300):
            if "event=ready" in log.read_text():
                return
            time.sleep(0.2)
        raise SystemExit(f"node {i} did not get ready:\n{log.read_text()}")

    def end(self, i):
        node = self.nodes.pop(i)
        node.send_signal(signal.SIGCONT)
        node.terminate()
        node.wait()

    def close(self):
        for i in list(self.nodes):
            self.end(i)
        subprocess.run([HERE / "lab.sh", "down"], check=False)


def token_times(endpoint, tokens):
    """ms from one token to the next."""
    times, before = [], None
    with Node(endpoint) as node:
        for piece in node.generate("Once upon a time", max_tokens=tokens, ignore_end=True):
            now = time.monotonic()
            if before is not None:
                times.append(1000 * (now - before))
            before = now
    return times


def measured(cluster, args, rule):
    cluster.start(1, args.home_ram, "--replica-choice", rule)
    slowed = Slowed(cluster.nodes[3].pid, args.slow)
    try:
        time.sleep(args.settle)
        token_times(cluster.endpoint(1), args.tokens)
        return token_times(cluster.endpoint(1), args.tokens)
    finally:
        slowed.stop()
        cluster.end(1)


def p95(values):
    return statistics.quantiles(values, n=20)[-1]


def main():
    about = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    about.add_argument("model")
    for name, default in (("--home-ram", "450MB"), ("--helper-ram", "1500MB"), ("--rate", "1gbit"),
                          ("--rtt", "0.2")):
        about.add_argument(name, default=default)
    about.add_argument("--rounds", type=int, default=3)
    about.add_argument("--tokens", type=int, default=150)
    about.add_argument("--slow", type=float, default=0.5, help="share of its time, 0 to 0.9")
    about.add_argument("--settle", type=float, default=5, help="seconds before the warm-up")
    args = about.parse_args()
    found = {rule: [] for rule in RULES}
    with tempfile.TemporaryDirectory() as folder:
        cluster = Cluster(args, pathlib.Path(folder))
        try:
            for i in (2, 3):
                cluster.start(i, args.helper_ram)
            for _ in range(args.rounds):
                for rule in RULES:
                    found[rule].append(measured(cluster, args, rule))
        finally:
            cluster.close()
    print(f"{'rule':14} {'mean ms':>9} {'p95 ms':>9}   mean of each round")
    for rule, rounds in found.items():
        together = [t for one in rounds for t in one]
        means = " ".join(f"{statistics.mean(one):.1f}" for one in rounds)
        print(f"{rule:14} {statistics.mean(together):9.1f} {p95(together):9.1f}   {means}")


if __name__ == "__main__":
    main()
