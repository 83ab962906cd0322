"""Client of CoEL nodes: python3-zmq and python3-msgpack are all it needs.

    from coel import Node
    with Node() as node:
        for piece in node.generate("Once upon a time", max_tokens=50):
            print(piece["text"], end="", flush=True)
        print(node.last)                     # why and when the answer ended

Given several endpoints, an answer goes on at the next node when its own is lost; python/README.md
tells how. The protocol, with every field, is described in docs/protocol.md.
"""
import json
import os
import random
import sys
import time

import msgpack
import zmq
from zmq.utils.monitor import recv_monitor_message

VERSION = 1
TRIES = 2                                    # of a node in a row, without a token between
PAUSE_S = 0.2                                # before a node is asked again that has just failed
MAX_TOKENS = 256                             # the node's default


class NodeError(Exception):
    """The node refused a request: `code` for programs, the message for people."""

    def __init__(self, code, message):
        super().__init__(f"{code}: {message}")
        self.code = code


class Lost(ConnectionError):
    """A node closed the connection, fell silent or could not be reached."""


def default_endpoint():
    """Where a node listens when nothing is configured."""
    runtime = os.environ.get("XDG_RUNTIME_DIR", "")
    folder = f"{runtime}/coel" if runtime.startswith("/") else f"/tmp/coel-{os.geteuid()}"
    return os.environ.get("COEL_ENDPOINT") or f"ipc://{folder}/node.sock"


class _Connection:
    """To one node, until it is lost: libzmq's own silent reconnecting would lose requests."""

    ENDS = {zmq.EVENT_DISCONNECTED: "it closed the connection or fell silent",
            zmq.EVENT_CLOSED: "nobody answers there",
            zmq.EVENT_HANDSHAKE_FAILED_AUTH: "it refused the keys",
            zmq.EVENT_HANDSHAKE_FAILED_PROTOCOL: "it does not speak with this client: keys?",
            zmq.EVENT_HANDSHAKE_FAILED_NO_DETAIL: "nobody answers there, or keys are wrong"}
    CONNECT_MS = 2000

    def __init__(self, context, endpoint, curve, lost_after_s):
        self.endpoint = endpoint
        self._lost = None
        self._next_id = 1                    # 0 stands for an id the node could not read
        self._socket = context.socket(zmq.DEALER)
        self._socket.linger = 0
        self._socket.ipv6 = True
        self._socket.rcvhwm = 0              # libzmq fails where a full queue meets heartbeats
        self._socket.reconnect_ivl = -1
        self._socket.connect_timeout = self.CONNECT_MS
        self._socket.handshake_ivl = self.CONNECT_MS
        lost_after_ms = int(lost_after_s * 1000)
        self._socket.heartbeat_ivl = lost_after_ms // 4
        self._socket.heartbeat_timeout = lost_after_ms - lost_after_ms // 4
        if curve:
            self._socket.curve_serverkey, public, secret = curve
            self._socket.curve_publickey, self._socket.curve_secretkey = public, secret
        events = 0
        for event in self.ENDS:
            events |= event
        self._monitor = self._socket.get_monitor_socket(events)
        self._poller = zmq.Poller()
        self._poller.register(self._socket, zmq.POLLIN)
        self._poller.register(self._monitor, zmq.POLLIN)
        self._socket.connect(endpoint)

    def send(self, request):
        """The id under which the replies come."""
        request_id, self._next_id = self._next_id, self._next_id + 1
        try:
            self._socket.send(msgpack.packb({"v": VERSION, "id": request_id, **request}),
                              zmq.NOBLOCK)
        except zmq.Again:
            raise Lost("the connection is lost") from None
        return request_id

    def receive(self, timeout_s):
        """The next reply. Raises Lost, and TimeoutError if none comes from a node that lives."""
        end = time.monotonic() + timeout_s
        while True:
            try:
                return msgpack.unpackb(self._socket.recv(zmq.NOBLOCK))
            except zmq.Again:
                pass
            if self._lost:
                raise Lost(self._lost)
            ready = dict(self._poller.poll(max(0, int((end - time.monotonic()) * 1000))))
            if not ready:
                raise TimeoutError("the node does not answer in time")
            if self._monitor in ready:       # what was sent before is read in the next turn
                event = recv_monitor_message(self._monitor)["event"]
                self._lost = self._lost or self.ENDS.get(event)

    def close(self):
        self._socket.disable_monitor()
        self._monitor.close(0)
        self._socket.close(0)


class Node:
    """One connection at a time; requests of several threads need one Node each."""

    def __init__(self, endpoint=None, server_key=None, keys=None, timeout_s=60, lost_after_s=1.0):
        """`endpoint`: one, or several in order of preference, as a list or with commas between.
        `server_key`: the node's public key (Z85), for nodes on the network; one for all TCP
        endpoints, or one for each, likewise. `keys`: own (public, secret) pair, made here if it
        is left out. `timeout_s`: how long to wait for the next message. `lost_after_s`: a node
        without a sign of life for so long is lost; 0: never."""
        self.last = None                     # the map that ended the latest answer
        endpoints = endpoint or default_endpoint()
        if isinstance(endpoints, str):
            endpoints = endpoints.split(",")
        self._nodes = list(zip(endpoints, _curves(endpoints, server_key, keys)))
        self._at = 0                         # the node that is asked
        self._timeout_s = timeout_s
        self._lost_after_s = lost_after_s
        self._context = zmq.Context()
        self._connection = None
        self._cancelled = None

    def close(self):
        """Ends the connection; the node stops what still runs for it."""
        self._leave()
        self._context.term()

    def __enter__(self):
        return self

    def __exit__(self, *_):
        self.close()

    def generate(self, prompt, **options):
        """Continues `prompt`, a string or a list of token ids. Yields a map per token: token,
        text, logprob, and top if `logprobs` was asked for; text that was held back to the end
        comes with token -1. Options: model, max_tokens, deadline_ms, temperature, top_k, top_p,
        min_p, repeat_penalty, repeat_last_n, seed, stop, logprobs, ignore_end. Leaving the loop
        early cancels the answer."""
        given = "prompt" if isinstance(prompt, str) else "tokens"
        return self._stream({"op": "generate", given: prompt, **options})

    def chat(self, messages, **options):
        """The assistant's answer to a list of {"role": ..., "content": ...}; as generate."""
        return self._stream({"op": "chat", "messages": messages, **options})

    def tokenize(self, text, **options):
        """Token ids of a text. Options: model, special."""
        return self._ask({"op": "tokenize", "text": text, **options})["tokens"]

    def detokenize(self, tokens, **options):
        """Text of token ids. Options: model."""
        return self._ask({"op": "detokenize", "tokens": list(tokens), **options})["text"]

    def score(self, text, **options):
        """(tokens, logprobs): how likely each token but the first is after those before it.
        `text` is a string or a list of token ids. Options: model, deadline_ms."""
        given = "text" if isinstance(text, str) else "tokens"
        reply = self._ask({"op": "score", given: text, **options})
        return reply["tokens"], reply["logprobs"]

    def status(self):
        """What the node runs and how full it is."""
        return json.loads(self._ask({"op": "status"})["json"])

    def cancel(self, request_id):
        """Stops a running request, by the id of its tokens; it then ends as "cancelled"."""
        self._cancelled = request_id
        try:
            if self._connection:
                self._connection.send({"op": "cancel", "target": request_id})
        except Lost:
            pass                             # seen again by who waits for the answer

    def _leave(self):
        if self._connection:
            self._connection.close()
        self._connection = None

    def _send(self, request):
        if not self._connection:
            endpoint, curve = self._nodes[self._at]
            self._connection = _Connection(self._context, endpoint, curve, self._lost_after_s)
        self._cancelled = None
        return self._connection.send(request)

    def _replies(self, request_id):
        """Replies to one request; those of requests that were left early are passed over."""
        while True:
            reply = self._connection.receive(self._timeout_s)
            ours = reply["id"] == request_id
            if reply["op"] == "error" and (ours or reply["id"] == 0):
                raise NodeError(reply["code"], reply["message"])
            if ours:
                yield reply

    def _ask(self, request):
        return next(self._anywhere(lambda: request, _Tries(len(self._nodes))))

    def _anywhere(self, request, tries):
        """Replies to what `request` gives, from one node or, where that is lost, from the next."""
        while True:
            request_id, ended = None, False
            try:
                request_id = self._send(request())
                for reply in self._replies(request_id):
                    ended = reply["op"] != "token"
                    yield reply
                    if ended:
                        return
            except (Lost, NodeError) as problem:
                ended = True
                if isinstance(problem, NodeError) and not tries.elsewhere(problem.code):
                    raise
                self._leave()
                if request_id and request_id == self._cancelled:
                    yield {"op": "done", "reason": "cancelled"}
                    return
                self._at = tries.failed(self._at, self._nodes[self._at][0], problem)
            finally:
                if not ended and request_id and self._connection:
                    self.cancel(request_id)  # nobody listens any more

    def _stream(self, request):
        answer = _Answer(request)
        tries = _Tries(len(self._nodes))
        for reply in self._anywhere(answer.rest, tries):
            if reply["op"] == "done":
                if answer.held:
                    yield answer.held        # not before the end stands: the next node repeats it
                self.last = {"answer_tokens": len(answer.tokens), **reply}
                return
            if reply["token"] < 0:
                answer.held = reply
                continue
            answer.tokens.append(reply["token"])
            tries.gained()
            yield reply


class _Answer:
    """An answer as far as it has come, and the request by which another node goes on with it."""

    def __init__(self, request):
        self.request = {**request, "seed": request.get("seed") or random.randrange(1, 1 << 32)}
        self.tokens = []
        self.held = None                     # text without a token, until the end stands
        self.begun = time.monotonic()

    def rest(self):
        self.held = None
        out = dict(self.request)
        if self.tokens:
            out["answered"] = [*out.get("answered", []), *self.tokens]
            out["max_tokens"] = max(0, out.get("max_tokens", MAX_TOKENS) - len(self.tokens))
        if out.get("deadline_ms"):
            passed_ms = int((time.monotonic() - self.begun) * 1000)
            out["deadline_ms"] = max(1, out["deadline_ms"] - passed_ms)
        return out


class _Tries:
    """Which of several nodes is asked next, and what to say when none is left."""

    def __init__(self, nodes):
        self.nodes = nodes
        self.moved = False
        self.gained()

    def gained(self):
        self.failures = [0] * self.nodes
        self.log = {}

    def elsewhere(self, code):
        """Any home of a model answers alike: another refusal would be the same there, unless this
        node only stands in for one that failed."""
        return (code in ("shutting_down", "helper_only")
                or self.moved and code in ("busy", "unknown_model", "too_long"))

    def failed(self, at, endpoint, problem):
        """The node to ask next."""
        self.moved = True
        self.failures[at] += 1
        self.log[f"{endpoint} ({problem})"] = problem
        for step in range(1, self.nodes + 1):
            follower = (at + step) % self.nodes
            if self.failures[follower] < TRIES:
                if self.failures[follower]:
                    time.sleep(PAUSE_S)
                return follower
        if len(self.log) == 1 and isinstance(problem, NodeError):
            raise problem
        raise ConnectionError("no node is left to ask: " + "; ".join(self.log))


def _curves(endpoints, server_key, keys):
    """What each endpoint is encrypted with; a socket file is protected by its permissions."""
    tcp = [endpoint for endpoint in endpoints if endpoint.startswith("tcp://")]
    if not server_key or not tcp:
        return [None] * len(endpoints)
    if isinstance(server_key, str):          # Z85 has no comma
        server_key = server_key.split(",")
    given = [server_key] if isinstance(server_key, bytes) else list(server_key)
    if len(given) == 1:
        given *= len(tcp)
    if len(given) != len(tcp):
        raise ValueError(f"{len(given)} server keys for {len(tcp)} TCP endpoints")
    public, secret = keys or zmq.curve_keypair()
    left = iter(given)
    return [(_bytes(next(left)), _bytes(public), _bytes(secret)) if endpoint in tcp else None
            for endpoint in endpoints]


def _bytes(key):
    return key.encode() if isinstance(key, str) else key


def main():
    """Answers the words of the command line, or tells the node's status if there are none."""
    with Node(server_key=os.environ.get("COEL_SERVER_KEY")) as node:
        if len(sys.argv) < 2:
            print(json.dumps(node.status(), indent=2))
            return
        question = {"role": "user", "content": " ".join(sys.argv[1:])}
        for piece in node.chat([question]):
            print(piece["text"], end="", flush=True)
        print(f"\n[{node.last['answer_tokens']} tokens, {node.last['reason']}]")


if __name__ == "__main__":
    try:
        main()
    except (NodeError, OSError) as problem:  # among these ConnectionError and TimeoutError
        sys.exit(f"coel.py: {problem}")
