"""Client of a CoEL node: python3-zmq and python3-msgpack are all it needs.

    from coel import Node
    with Node() as node:
        for piece in node.generate("Once upon a time", max_tokens=50):
            print(piece["text"], end="", flush=True)
        print(node.last)                     # why and when the answer ended

The protocol, with every field, is described in docs/protocol.md.
"""
import json
import os
import sys

import msgpack
import zmq

VERSION = 1


class NodeError(Exception):
    """The node refused a request: `code` for programs, the message for people."""

    def __init__(self, code, message):
        super().__init__(f"{code}: {message}")
        self.code = code


def default_endpoint():
    """Where a node listens when nothing is configured."""
    runtime = os.environ.get("XDG_RUNTIME_DIR", "")
    folder = f"{runtime}/coel" if runtime.startswith("/") else f"/tmp/coel-{os.geteuid()}"
    return os.environ.get("COEL_ENDPOINT") or f"ipc://{folder}/node.sock"


class Node:
    """One connection; requests of several threads need one Node each."""

    def __init__(self, endpoint=None, server_key=None, keys=None, timeout_s=60):
        """`server_key`: the node's public key (Z85), for nodes on the network; `keys`: own
        (public, secret) pair, made for this connection if it is left out. `timeout_s`: how long
        to wait for the next message."""
        self.last = None                     # the map that ended the latest answer
        self._next_id = 1                    # 0 stands for an id the node could not read
        self._timeout_ms = int(timeout_s * 1000)
        self._context = zmq.Context()
        self._socket = self._context.socket(zmq.DEALER)
        self._socket.linger = 0
        self._socket.ipv6 = True
        if server_key:
            public, secret = keys or zmq.curve_keypair()
            self._socket.curve_serverkey = _bytes(server_key)
            self._socket.curve_publickey = _bytes(public)
            self._socket.curve_secretkey = _bytes(secret)
        self._socket.connect(endpoint or default_endpoint())

    def close(self):
        """Ends the connection; the node stops what still runs for it."""
        self._context.destroy()

    def __enter__(self):
        return self

    def __exit__(self, *_):
        self.close()

    def generate(self, prompt, **options):
        """Continues `prompt`, a string or a list of token ids. Yields a map per token: token,
        text, logprob, and top if `logprobs` was asked for. Options: model, max_tokens,
        deadline_ms, temperature, top_k, top_p, min_p, repeat_penalty, repeat_last_n, seed, stop,
        logprobs, ignore_end. Leaving the loop early cancels the answer."""
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
        self._send({"op": "cancel", "target": request_id})

    def _send(self, request):
        request_id, self._next_id = self._next_id, self._next_id + 1
        self._socket.send(msgpack.packb({"v": VERSION, "id": request_id, **request}))
        return request_id

    def _receive(self):
        if not self._socket.poll(self._timeout_ms):
            raise TimeoutError("the node does not answer: does it run, and is the endpoint right?")
        reply = msgpack.unpackb(self._socket.recv())
        if reply["op"] == "error" and reply["id"] == 0:
            raise NodeError(reply["code"], reply["message"])
        return reply

    def _replies(self, request_id):
        """Replies to one request; those of requests that were left early are passed over."""
        while True:
            reply = self._receive()
            if reply["id"] != request_id:
                continue
            if reply["op"] == "error":
                raise NodeError(reply["code"], reply["message"])
            yield reply

    def _ask(self, request):
        return next(self._replies(self._send(request)))

    def _stream(self, request):
        request_id = self._send(request)
        ended = False
        try:
            for reply in self._replies(request_id):
                if reply["op"] == "done":
                    self.last = reply
                    ended = True
                    return
                yield reply
        except NodeError:
            ended = True
            raise
        finally:
            if not ended and not self._socket.closed:
                self.cancel(request_id)      # nobody listens any more


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
    except (NodeError, TimeoutError) as problem:
        sys.exit(f"coel.py: {problem}")
