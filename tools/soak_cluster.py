"""The nodes of a soak: processes on this machine, with something between them that can be made bad."""
import concurrent.futures
import json
import os
import pathlib
import re
import signal
import subprocess
import sys
import time

import soak_net

HERE = pathlib.Path(__file__).resolve().parent
LAB = HERE.parent / "bench/lab.sh"
LINK_PORT, HELLO_PORT = 7423, 17690
STARTED = "-- started"
BAD_LINKS = {"cut": {"cut": True}, "slow-link": {"delay_s": 0.005, "bytes_s": 2e6}, "loss": {"lost": 0.02},
             "resets": {"reset": 0.01}, "flips": {"flip": 0.02}}


class Loopback:
    """Each directed link leads through the forwarder, which needs no privilege. Node i sees node j at 127.B.i.j, and
    finds there what j finds at 127.B.j.i: two addresses to listen at keep a node from telling its own."""

    forwarder = True

    def __init__(self, nodes, alone):
        self.nodes, self.net = nodes, 16 + os.getpid() % 200
        self.says_hello = alone       # else HELLOs would reach the network of this machine
        self.pipe = soak_net.Forwarder()
        for i in range(nodes):
            for j in range(nodes):
                if i != j:
                    self.pipe.add(f"{i}>{j}", (self.seen(i, j), LINK_PORT), self.address(j), self.seen(j, i))

    def seen(self, i, j):
        return f"127.{self.net}.{i + 1}.{j + 1}"

    def address(self, i):
        return f"127.{self.net}.200.{i + 1}", LINK_PORT

    def hello(self, i):
        return (f"127.{self.net}.200.{i + 1}", HELLO_PORT + i) if self.says_hello else None

    def inside(self, _):
        return []

    def options(self, i):
        listen = [self.address(i)[0], f"127.{self.net}.201.{i + 1}"]
        peers = [self.seen(i, j) for j in range(self.nodes) if j != i]
        return [a for x in listen for a in ("--listen", x)] + [a for x in peers for a in ("--peer", x)] + [
            "--link-port", str(LINK_PORT), "--hello-port", str(HELLO_PORT + i if self.says_hello else 0)]

    def set(self, i, kind=None):
        quality = BAD_LINKS[kind] if kind else {}
        for j in range(self.nodes):
            if j != i:
                self.pipe.set(f"{i}>{j}", **quality)
                self.pipe.set(f"{j}>{i}", **quality)

    def mind(self, pids):
        self.pipe.mind(pids)

    def end(self):
        self.pipe.end()


class Lab:
    """Each node in a network namespace of bench/lab.sh; needs root. Nodes find each other by HELLO."""

    forwarder = False

    def __init__(self, nodes, rate, rtt_ms):
        self.environment = {**os.environ, "LAB": f"soak{os.getpid()}"}
        os.environ.update(self.environment)
        made = subprocess.run([LAB, "up", str(nodes), rate, rtt_ms], stderr=subprocess.PIPE, text=True)
        if made.returncode:
            self.end()
            sys.exit(f"soak: {made.stderr.strip()}")

    def address(self, i):
        return f"10.78.0.{i + 1}", LINK_PORT

    def hello(self, i):
        return f"10.78.0.{i + 1}", HELLO_PORT

    def inside(self, i):
        return [LAB, "in", str(i + 1)]

    def options(self, _):
        return ["--link-port", str(LINK_PORT), "--hello-port", str(HELLO_PORT)]

    def set(self, i, kind=None):
        subprocess.run([LAB, "link", str(i + 1), "down" if kind else "up"], check=True)

    def mind(self, pids):
        pass

    def end(self):
        subprocess.run([LAB, "down"], check=False)


class Cluster:
    def __init__(self, folder, network, o):
        self.folder, self.network, self.count, self.o = folder, network, o.nodes, o
        subprocess.run([o.bin / "coel-node", "keygen", folder / "cluster.toml"], check=True, stdout=subprocess.DEVNULL)
        self.processes, self.crashes, self.sizes = {}, [], {}
        self.alone = None

    def endpoint(self, i):
        return f"ipc://{self.folder}/n{i}.sock"

    def log(self, i):
        return self.folder / f"n{i}.log"

    def run(self, name, command):
        with open(self.folder / f"{name}.log", "a", encoding="utf-8") as log:
            print(STARTED, file=log, flush=True)
            return subprocess.Popen(command, stderr=log, stdout=log)

    def common(self, endpoint):
        return [self.o.bin / "coel-node", "--model", f"m={self.o.model}", "--endpoint", endpoint, "--threads", "1",
                "--kv", "4MB", "--rows", "128", "--quiet"]

    def start(self, i):
        self.processes[i] = self.run(f"n{i}", [
            *self.network.inside(i), *self.common(self.endpoint(i)), "--cluster", self.folder / "cluster.toml",
            "--name", f"n{i}", "--state", self.folder / f"state{i}", "--ram", self.o.ram, "--wire", "f32",
            *self.network.options(i)])
        self.network.mind([p.pid for p in [*self.processes.values(), self.alone] if p])

    def start_alone(self):
        """One that holds the whole model and nobody hurts: it says what is right."""
        self.alone = self.run("alone", self.common(f"ipc://{self.folder}/alone.sock"))
        self.await_ready("alone")
        return f"ipc://{self.folder}/alone.sock"

    def await_ready(self, name, seconds=60):
        log, until = self.folder / f"{name}.log", time.monotonic() + seconds
        while "event=ready" not in log.read_text().rsplit(STARTED, 1)[-1]:
            self.look(name)
            if time.monotonic() > until:
                raise RuntimeError(f"{name} is not ready after {seconds} s")
            time.sleep(0.05)

    def look(self, name):
        process = self.alone if name == "alone" else self.processes[int(name[1:])]
        if process.poll() is not None:
            raise RuntimeError(f"{name} ended by itself with {process.returncode}: {self.tail(name)}")

    def tail(self, name):
        return (self.folder / f"{name}.log").read_text().strip().rsplit("\n", 1)[-1]

    def await_all(self, seconds=60):
        for i in range(self.count):
            self.await_ready(f"n{i}", seconds)

    # ---- what they know

    def inspect(self, i, what):
        """A document of node i, or nothing where it does not answer."""
        try:
            asked = subprocess.run([self.o.bin / "coel-inspect", "--endpoint", self.endpoint(i), "--json", "-e", what],
                                   capture_output=True, timeout=5, text=True)
            return json.loads(asked.stdout.splitlines()[0]) if asked.returncode == 0 else None
        except (subprocess.TimeoutExpired, IndexError, ValueError):
            return None

    def keep_state(self, name):
        """What every node says of its links and of who holds what, for whoever looks for the reason of a pause."""
        with concurrent.futures.ThreadPoolExecutor() as pool:
            known = list(pool.map(lambda i: self.inspect(i, "placement"), range(self.count)))
        (self.folder / f"{name}.json").write_text(json.dumps(known, indent=1))

    def uncovered_without(self, hurt):
        """How many experts nobody else holds; None if nobody could say."""
        for i in range(self.count):
            known = i not in hurt and self.inspect(i, "placement")
            if known and known["placement"]:
                return uncovered(known["placement"][0], {f"n{j}" for j in hurt})
        return None

    def trouble(self):
        """What is not as it should be when nobody is hurt; empty if nothing."""
        for i in range(self.count):
            known = self.inspect(i, "placement")
            if not known:
                return f"n{i} does not answer an inspector"
            up = sum(link["state"] == "up" for link in known["links"])
            if up != self.count - 1:
                return f"n{i} has {up} links up: " + "; ".join(
                    f"{x['name'] or x['endpoint']} {x['state']} {x['why']}" for x in known["links"])
            if lacking := uncovered(known["placement"][0], set()):
                return f"n{i} knows of nobody who holds {lacking} of the experts"
        return ""

    def await_peace(self, seconds=30):
        until = time.monotonic() + seconds
        while trouble := self.trouble():
            if time.monotonic() > until:
                return f"not whole {seconds} s after the last fault: {trouble}"
            time.sleep(0.3)
        return ""

    # ---- what happens to them

    def ended(self, i, how):
        """Waits for a process that was told to end; one that does not is a fault of its own."""
        try:
            code = self.processes[i].wait(timeout=45)
        except subprocess.TimeoutExpired:
            self.crashes.append(f"n{i} did not end within 45 s of {how}")
            self.processes[i].kill()
            code = self.processes[i].wait()
        if how == "SIGTERM" and code not in (0, 1):
            self.crashes.append(f"n{i} ended with {code} after SIGTERM: {self.tail(f'n{i}')}")

    def signal(self, i, which):
        self.processes[i].send_signal(which)

    def measure(self):
        """Memory and open files of each process, so that growth shows."""
        for i, process in self.processes.items():
            try:
                status = pathlib.Path(f"/proc/{process.pid}/status").read_text()
                files = len(os.listdir(f"/proc/{process.pid}/fd"))
            except OSError:
                continue
            kib = re.search(r"VmRSS:\s+(\d+)", status)
            if kib:
                self.sizes.setdefault((i, process.pid), []).append((time.monotonic(), int(kib[1]) / 1024, files))

    def check(self):
        for i, process in self.processes.items():
            if process.poll() is not None:
                self.crashes.append(f"n{i} ended by itself with {process.returncode}: {self.tail(f'n{i}')}")
                self.start(i)

    def end(self):
        for process in [*self.processes.values(), *([self.alone] if self.alone else [])]:
            process.send_signal(signal.SIGCONT)
            process.kill()
            process.wait()
        self.network.mind([])
        self.network.end()


def uncovered(placement, without):
    maps = [node["map"] for node in placement["nodes"] if node["name"] not in without and not node.get("draining")]
    held = ["".join(rows) for rows in maps]
    count = placement["layers"] * placement["experts_per_layer"]
    return sum(all(h[k] != "#" for h in held) for k in range(count))
