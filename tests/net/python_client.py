"""Uses python/coel.py against fake nodes of the tests. The argument is the endpoint of a healthy
one; after it may come those of one that dies in mid-answer, of one that shuts down before its
answer, of one that does in mid-answer, and of one that only helps others."""
import sys
import threading

import coel


def pieces(stream):
    return "".join(piece["text"] for piece in stream)


def main(endpoint):
    with coel.Node(endpoint, timeout_s=20) as node:
        assert pieces(node.generate("hello", seed=9)) == "hello"
        assert node.last["reason"] == "end" and node.last["seed"] == 9
        assert pieces(node.generate("hello", max_tokens=2)) == "he"
        assert node.last["reason"] == "length"
        assert pieces(node.chat([{"role": "user", "content": "Gr"}])) == "Gr"
        assert node.tokenize("ab") == [97, 98]
        assert node.detokenize([97, 98]) == "ab"
        assert node.score("abc") == ([97, 98, 99], [-2.0, -2.0])
        assert node.status()["node"]["threads"] == 2

        for piece in node.generate("wait"):
            node.cancel(piece["id"])
        assert node.last["reason"] == "cancelled"

        for piece in node.generate("wait"):
            break                            # leaving the loop cancels, and others go on
        assert pieces(node.generate("ok")) == "ok"

        try:
            pieces(node.generate("fail"))
            raise AssertionError("the node's refusal was not seen")
        except coel.NodeError as problem:
            assert problem.code == "busy", problem
        try:
            pieces(node.generate(["not", "ids"]))
            raise AssertionError("a wrong type was not refused")
        except coel.NodeError as problem:
            assert problem.code == "bad_frame" and "tokens" in str(problem), problem

    answers = []

    def ask(word):
        with coel.Node(endpoint, timeout_s=20) as one:
            answers.append(pieces(one.generate(word)))

    threads = [threading.Thread(target=ask, args=(f"word{i}",)) for i in range(4)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert sorted(answers) == [f"word{i}" for i in range(4)], answers

    nobody = ["tcp://127.0.0.1:1", endpoint + ".nobody"]
    for several in (nobody[0], nobody, ",".join(nobody)):
        try:
            with coel.Node(several, timeout_s=20) as node:
                node.status()
            raise AssertionError("nobody answered")
        except ConnectionError as problem:
            for one in nobody if several != nobody[0] else nobody[:1]:
                assert one in str(problem), problem
    with coel.Node([*nobody, endpoint], timeout_s=20) as node:
        assert node.tokenize("ab") == [97, 98]
    print("python client good")


SENTENCE = "the home dies"


def goes_on(first, healthy):
    """The whole sentence, though the first node does not bring it to its end."""
    with coel.Node([first, healthy], timeout_s=20) as node:
        heard = [(piece["token"], piece["text"]) for piece in node.generate(SENTENCE)]
        assert bytes(token for token, _ in heard).decode() == SENTENCE, heard
        assert "".join(text for _, text in heard) == SENTENCE, heard
        assert node.last["answer_tokens"] == len(SENTENCE) and node.last["reason"] == "end"
        assert pieces(node.generate("ok")) == "ok"       # at the second from now on


def fail_over(healthy, dying, ending, leaving, helping):
    """The test ends the dying node when its four tokens have been heard."""
    with coel.Node([dying, ending, healthy], timeout_s=20) as node:
        ids = []
        for piece in node.generate(SENTENCE):
            ids.append(piece["token"])
            if len(ids) == 4:
                open(dying.removeprefix("ipc://") + ".heard", "w").close()
        assert bytes(ids).decode() == SENTENCE, ids
        assert node.last["answer_tokens"] == len(SENTENCE) and node.last["reason"] == "end"
        assert node.last["seed"] != 0
        assert pieces(node.generate("ok")) == "ok"
    with coel.Node([ending, ending.replace("ending", "nobody")], timeout_s=20) as node:
        try:
            pieces(node.generate(SENTENCE))
            raise AssertionError("no node was left")
        except ConnectionError as problem:
            assert "shuts down" in str(problem) and "nobody" in str(problem), problem
    with coel.Node(ending, timeout_s=20) as node:
        try:
            pieces(node.generate(SENTENCE))
            raise AssertionError("the only node has shut down")
        except coel.NodeError as problem:
            assert problem.code == "shutting_down", problem
    goes_on(leaving, healthy)
    goes_on(helping, healthy)
    with coel.Node(helping, timeout_s=20) as node:
        try:
            pieces(node.generate(SENTENCE))
            raise AssertionError("a helper answers nobody")
        except coel.NodeError as problem:
            assert problem.code == "helper_only" and "ask attic" in str(problem), problem
    with coel.Node([helping, healthy], timeout_s=20) as node:
        assert node.tokenize("ab") == [97, 98]           # a helper can do that
    print("failover good")


if len(sys.argv) == 2:
    main(sys.argv[1])
else:
    fail_over(*sys.argv[1:])
