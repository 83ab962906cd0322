"""Those who ask during a soak, with the shipped clients, and the judge of what they get."""
import dataclasses
import json
import os
import pathlib
import random
import subprocess
import sys
import threading
import time

ROOT = pathlib.Path(__file__).resolve().parent.parent
sys.path.insert(0, str(ROOT / "python"))
try:
    import coel
except ImportError:                   # without zmq and msgpack the program alone is used
    coel = None

PROMPTS = ["Once upon a time, there was a little girl named Lily. She", "Tom and Mia were playing in the park. They",
           "One day, a small bird could not fly. His mother", "The dog saw a big red ball. He",
           "Ben had a new toy car. It was", "It was raining, so Anna stayed at home and",
           "The old man lived in a small house near the sea. Every morning", "Sara found a shiny stone in the garden."]
NEAR = 0.05        # in log probability: closer than this, rounding decides which token comes
MOST_TOLD = 50     # pauses of a soak that are looked into
ANSWER_S = 120     # after which an answer is lost


@dataclasses.dataclass
class Answer:
    client: str
    prompt: int
    endpoints: list                   # nodes, in the order in which they are asked
    begun: float
    tokens: list = dataclasses.field(default_factory=list)
    times: list = dataclasses.field(default_factory=list)
    ended: float = 0
    problem: str = ""                 # empty: it came to its end

    def add(self, token):
        self.tokens.append(token)
        self.times.append(time.monotonic())

    def gaps(self):
        """(begin, end) between tokens, the first from the question on."""
        return list(zip([self.begun, *self.times], self.times))


class Program:
    """`coel generate`: the C++ client."""

    name = "coel"

    def __init__(self, bin_folder):
        self.bin = bin_folder

    def ask(self, endpoints, ids, tokens, answer):
        command = [self.bin / "coel", "generate", "--ids", "--ignore-end", "--temperature", "0", "--max-tokens", str(tokens),
                   "--endpoint", ",".join(endpoints), " ".join(map(str, ids))]
        with subprocess.Popen(command, stdout=subprocess.PIPE, stderr=subprocess.PIPE) as program:
            late = threading.Timer(ANSWER_S, program.kill)
            late.start()
            text = b""
            while piece := os.read(program.stdout.fileno(), 4096):
                *whole, text = (text + piece).split(b" ")
                for token in whole:
                    answer.add(int(token))
            why = program.stderr.read().decode().strip()
        late.cancel()
        if program.returncode:
            raise RuntimeError(why or f"the client ended with {program.returncode}, perhaps after {ANSWER_S} s")


class Library:
    """python/coel.py."""

    name = "coel.py"

    def ask(self, endpoints, ids, tokens, answer):
        with coel.Node(endpoints, timeout_s=ANSWER_S) as node:
            for piece in node.generate(ids, max_tokens=tokens, temperature=0, ignore_end=True):
                if piece["token"] >= 0:
                    answer.add(piece["token"])


class Judge:
    """Knows what one undisturbed node answers. Where its two likeliest tokens are as good as equal, an answer may take
    either, and is compared from there on with what that node makes of it."""

    def __init__(self, bin_folder, endpoint, tokens):
        self.bin, self.endpoint, self.tokens = bin_folder, endpoint, tokens
        self.known, self.widest, self.ties = {}, 0.0, 0
        self.ids = [self.run("tokenize", prompt).split() for prompt in PROMPTS]
        self.ids = [[int(x) for x in ids] for ids in self.ids]

    def run(self, *words):
        return subprocess.run([self.bin / "coel", words[0], "--endpoint", self.endpoint, *words[1:]], check=True, text=True,
                              capture_output=True).stdout

    def right(self, prompt, so_far=()):
        """[(token, {token: log probability})] of what follows."""
        key = prompt, tuple(so_far)
        if key not in self.known:
            said = json.loads(self.run("generate", "--ids", "--ignore-end", "--json", "--temperature", "0", "--logprobs", "4",
                                       "--max-tokens", str(self.tokens - len(so_far)),
                                       " ".join(map(str, [*self.ids[prompt], *so_far]))))
            self.known[key] = [(t["id"], {x["id"]: x["logprob"] for x in t["top"]}) for t in said["tokens"]]
        return self.known[key]

    def wrong(self, answer):
        """Why the tokens that came are not right; empty if they are."""
        expected, begun = self.right(answer.prompt), 0
        for at, token in enumerate(answer.tokens):
            if at >= self.tokens:
                return f"has more than {self.tokens} tokens"
            should, chances = expected[at - begun]
            if token == should:
                continue
            apart = chances[should] - chances.get(token, float("-inf"))
            if apart > NEAR:
                return f"token {at} of prompt {answer.prompt} is {token} instead of {should}, which is {apart:.3f} likelier"
            self.ties, self.widest = self.ties + 1, max(self.widest, apart)
            begun = at + 1
            if begun < self.tokens:
                expected = self.right(answer.prompt, answer.tokens[:begun])
        return ""


def keep_asking(number, o, endpoints, ids, over, answers, running):
    dice = random.Random(f"{o.seed}/client {number}")
    client = Library() if coel and number % 2 else Program(o.bin)
    while not over.is_set():
        order = dice.sample(range(len(endpoints)), len(endpoints))
        prompt = dice.randrange(len(ids))
        answer = Answer(client.name, prompt, order, time.monotonic())
        running[number] = answer
        try:
            client.ask([endpoints[i] for i in order], ids[prompt], o.tokens, answer)
            if len(answer.tokens) < o.tokens:
                answer.problem = f"ended after {len(answer.tokens)} tokens of {o.tokens}"
        except Exception as problem:  # noqa: BLE001: whatever a user would see is a lost answer
            answer.problem = f"{type(problem).__name__}: {problem}"
        answer.ended = time.monotonic()
        answers.append(answer)
        over.wait(dice.uniform(0, 0.1) + (0.5 if answer.problem else 0))


class Pulse:
    """Notices when this machine lets nobody run: what is measured then says nothing of the cluster."""

    BEAT_S, LATE_S = 0.05, 0.3

    def __init__(self):
        self.missed, self.over = [], threading.Event()
        self.thread = threading.Thread(target=self.beat, daemon=True)
        self.thread.start()

    def beat(self):
        before = time.monotonic()
        while not self.over.wait(self.BEAT_S):
            now = time.monotonic()
            if now - before > self.LATE_S:
                self.missed.append((before, now))
            before = now

    def end(self):
        self.over.set()
        self.thread.join()
        return self.missed


class Load:
    def __init__(self, o, endpoints, ids):
        self.answers, self.running, self.over = [], {}, threading.Event()
        rest = (o, endpoints, ids, self.over, self.answers, self.running)
        self.threads = [threading.Thread(target=keep_asking, args=(n, *rest), daemon=True) for n in range(o.clients)]
        for t in self.threads:
            t.start()

    def watch(self, seconds, tell):
        """Calls `tell` with each answer that gets no token for so long, until the end."""
        told = set()
        while not self.over.wait(seconds / 4):
            for a in list(self.running.values()):
                last = (id(a), len(a.times))
                if (len(told) < MOST_TOLD and last not in told and not a.ended
                        and time.monotonic() - [a.begun, *a.times][-1] > seconds):
                    told.add(last)
                    tell(a)

    def end(self):
        self.over.set()
        for t in self.threads:
            t.join()
        return self.answers
