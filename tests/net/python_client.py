"""Uses python/coel.py against the fake node of the tests; its endpoint is the argument."""
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

    try:
        with coel.Node("tcp://127.0.0.1:1", timeout_s=0.2) as nobody:
            nobody.status()
        raise AssertionError("nobody answered")
    except TimeoutError:
        pass
    print("python client good")


main(sys.argv[1])
