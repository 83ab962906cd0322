#!/usr/bin/env python3
"""The parts of tools/soak.py that decide whether a soak was good, and the network between its nodes."""
import pathlib
import queue
import socket
import sys
import threading
import time
import unittest

sys.path.insert(0, str(pathlib.Path(__file__).resolve().parents[2] / "tools"))
import soak_clients  # noqa: E402
import soak_cluster  # noqa: E402
import soak_faults  # noqa: E402
import soak_net  # noqa: E402
import soak_plan  # noqa: E402
import soak_report  # noqa: E402


def plan(seed, nodes, forwarder=True):
    return soak_plan.make_plan(seed, nodes, 300, soak_plan.kinds_of(nodes, forwarder))


class Plan(unittest.TestCase):
    def test_is_a_function_of_the_seed(self):
        self.assertEqual(plan("5", 4), plan("5", 4))
        self.assertNotEqual(plan("5", 4), plan("6", 4))

    def test_has_every_kind_and_no_overlap(self):
        made = plan("1", 4)
        self.assertLessEqual(set(soak_plan.KINDS), {f.kind for f in made})
        self.assertTrue(any(len(f.hurts) == 2 for f in made))
        self.assertEqual(set(soak_faults.ACTS), set(soak_plan.KINDS))
        for before, after in zip(made, made[1:]):
            self.assertGreaterEqual(after.at, before.at + before.lasts + soak_plan.REST[0] - 0.002)

    def test_spares_the_last_of_three(self):
        self.assertTrue(all(len(f.hurts) == 1 for f in plan("1", 3)))

    def test_without_forwarder_needs_none(self):
        made = plan("1", 4, forwarder=False)
        self.assertFalse({k for f in made for _, k in f.hurts} & {k for k, (_, needs) in soak_plan.KINDS.items() if needs})


class Known(soak_clients.Judge):
    """Of a model that counts: 0, 1, 2 and so on, but after a 20 in tens. Nearly as good as 2 is 20."""

    def __init__(self):
        self.known, self.widest, self.ties, self.tokens = {}, 0.0, 0, 5

    def right(self, prompt, so_far=()):
        first, step = (30, 10) if list(so_far)[-1:] == [20] else (0, 1)
        out = [(first + step * k, {first + step * k: -0.7}) for k in range(self.tokens - len(so_far))]
        if not so_far:
            out[2][1].update({20: -0.71, 7: -3.0})
        return out


class Verdict(unittest.TestCase):
    def verdict(self, *tokens):
        return Known().wrong(soak_clients.Answer("x", 0, [0], 0, tokens=list(tokens)))

    def test_right(self):
        self.assertEqual(self.verdict(0, 1, 2, 3, 4), "")
        self.assertEqual(self.verdict(0, 1), "", "what came of a lost answer")

    def test_either_of_two_equals_and_what_follows_from_it(self):
        self.assertEqual(self.verdict(0, 1, 20, 30, 40), "")
        self.assertIn("token 4", self.verdict(0, 1, 20, 30, 4))

    def test_wrong(self):
        self.assertIn("token 3", self.verdict(0, 1, 2, 9, 4), "not among the likely")
        self.assertIn("token 2", self.verdict(0, 1, 7, 3, 4), "likely, but not by far as likely")
        self.assertIn("more than", self.verdict(0, 1, 2, 3, 4, 5))


def record(kind, node, begun, over, ready=None):
    r = soak_faults.Record(soak_plan.Fault(0, ((node, kind),), over - begun, 1), 0)
    r.begun, r.over, r.ready = begun, over, ready or over
    return r


def answer(home, *times):
    return soak_clients.Answer("x", 0, [home, 1 - home], times[0], times=list(times[1:]), ended=times[-1])


class Pauses(unittest.TestCase):
    def test_belong_to_the_fault_that_they_follow(self):
        found = soak_report.pauses([answer(0, 10, 11, 11.1, 12.6, 12.7)], [record("kill", 1, 11.2, 11.8)])
        self.assertEqual(list(found), [("kill", "helper")])
        self.assertAlmostEqual(found["kill", "helper"][0], 1.4)

    def test_of_a_home_are_apart(self):
        found = soak_report.pauses([answer(1, 10, 11, 13)], [record("kill", 1, 11.2, 11.8)])
        self.assertEqual(list(found), [("kill", "home")])

    def test_of_one_that_moved_may_be_either(self):
        moved = answer(1, 10, 11, 13, 16, 18)
        found = soak_report.pauses([moved], [record("kill", 1, 11.2, 11.8), record("kill", 0, 16.2, 17)])
        self.assertEqual([role for _, role in found], ["home", "either"])

    def test_an_answer_that_was_over_does_not_count(self):
        self.assertFalse(soak_report.pauses([answer(0, 1, 2, 3)], [record("kill", 1, 3.5, 4)]))

    def test_percentile_is_a_value(self):
        self.assertEqual(soak_report.percentile(list(range(1, 101)), 99), 99)
        self.assertEqual(soak_report.percentile([5], 50), 5)


def placement(**maps):
    return {"layers": 1, "experts_per_layer": 3, "nodes": [{"name": n, "draining": False, "map": [m]} for n, m in maps.items()]}


class Cover(unittest.TestCase):
    def test_counts_what_only_the_hurt_hold(self):
        whole = placement(n0="##.", n1=".##", n2="#..")
        self.assertEqual(soak_cluster.uncovered(whole, {"n2"}), 0)
        self.assertEqual(soak_cluster.uncovered(whole, {"n1"}), 1)
        self.assertEqual(soak_cluster.uncovered(whole, {"n0", "n1", "n2"}), 3)


class Network(unittest.TestCase):
    """An echo behind the forwarder."""

    def setUp(self):
        self.echo = socket.create_server(("127.0.0.1", 0))
        self.addCleanup(self.echo.close)
        self.seen, self.came = [], queue.Queue()
        threading.Thread(target=self.serve, daemon=True).start()
        with socket.create_server(("127.0.0.1", 0)) as free:
            self.at = free.getsockname()
        self.forwarder = soak_net.Forwarder()
        self.addCleanup(self.forwarder.end)
        self.forwarder.add("a>b", self.at, self.echo.getsockname(), "127.0.0.9")

    def serve(self):
        while True:
            try:
                s, source = self.echo.accept()
            except OSError:
                return
            self.seen.append(source[0])
            threading.Thread(target=self.answer, args=(s,), daemon=True).start()

    def answer(self, s):
        got = b""
        try:
            while data := s.recv(65536):
                got += data
                s.sendall(data)
        except OSError:
            pass
        s.close()
        self.came.put(got)

    def connect(self):
        s = socket.create_connection(self.at, timeout=10)
        self.addCleanup(s.close)
        return s

    def set(self, **quality):
        """The order is carried out when something sent later has come through another link."""
        self.forwarder.set("a>b", **quality)
        with socket.create_server(("127.0.0.1", 0)) as free:
            at = free.getsockname()
        self.forwarder.add("fence", at, self.echo.getsockname(), "127.0.0.9")

    @staticmethod
    def take(s, count):
        data = b""
        while len(data) < count and (more := s.recv(count - len(data))):
            data += more
        return data

    def test_carries_all_from_the_right_address(self):
        s, sent = self.connect(), bytes(range(256)) * 8192
        threading.Thread(target=s.sendall, args=(sent,)).start()
        self.assertEqual(self.take(s, len(sent)), sent)
        self.assertEqual(self.seen, ["127.0.0.9"])

    def test_cut_holds_everything_back_and_loses_nothing(self):
        s = self.connect()
        s.sendall(b"1")
        self.assertEqual(s.recv(1), b"1")
        self.set(cut=True)
        s.sendall(b"2")
        late = self.connect()
        late.sendall(b"3")
        s.settimeout(0.2)
        self.assertRaises(TimeoutError, s.recv, 1)
        self.assertEqual(len(self.seen), 1, "nothing is connected through a cut")
        s.settimeout(10)
        self.set()
        self.assertEqual(s.recv(1) + late.recv(1), b"23")

    def test_delay_keeps_the_order(self):
        self.set(delay_s=0.05)
        s, begun = self.connect(), time.monotonic()
        for k in range(50):
            s.sendall(bytes([k]))
        self.assertEqual(self.take(s, 50), bytes(range(50)))
        self.assertGreaterEqual(time.monotonic() - begun, 0.1)

    def test_reset_breaks_and_flip_changes(self):
        self.set(reset=1)
        s = self.connect()
        s.sendall(b"x")
        self.assertRaises(ConnectionResetError, s.recv, 1)
        self.set(flip=1)
        s = self.connect()
        s.sendall(bytes(100))
        self.assertEqual(sum(x.bit_count() for x in self.take(s, 100)), 2, "one on the way there, one on the way back")
        self.set()
        s = self.connect()
        s.sendall(b"x")
        self.assertEqual(s.recv(1), b"x")

    def test_an_end_is_passed_on_behind_the_data(self):
        s = self.connect()
        s.sendall(b"last")
        s.close()
        self.assertEqual(self.came.get(timeout=10), b"last")


if __name__ == "__main__":
    unittest.main()
