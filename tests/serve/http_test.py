#!/usr/bin/env python3
"""micrec serve over HTTP and by lines: its answers are those of micrec recommend to the last digit, every refusal is a
JSON sentence with a fitting status, and signals do what they should.

    http_test.py PROGRAM
"""

import csv
import ctypes
import io
import json
import signal
import socket
import sys
import tempfile
import threading
import time
import unittest
from pathlib import Path

from serving import SECONDS, Server, World, programs, run

TOKEN = "a-secret-of-some-length"


def as_recommend_writes(lists):
    """The lines of recommend's CSV, without the person."""
    return [(one["domain"], str(rank), item["item"], "%.6g" % ctypes.c_float(item["score"]).value, one["basis"])
            for one in lists for rank, item in enumerate(one["items"], 1)]


class ServeTest(unittest.TestCase):
    @classmethod
    def setUpClass(cls):
        cls.world = World(PROGRAM).__enter__()
        cls.domains = cls.world.domains()
        cls.first, cls.second = list(cls.domains)[:2]
        cls.server = Server(cls.world, f"--log={cls.world.folder / 'observed.log'}").__enter__()

    @classmethod
    def tearDownClass(cls):
        cls.server.kill()
        cls.world.__exit__()

    def refused(self, answer, status):
        self.assertEqual(answer[0], status, answer)
        self.assertEqual(list(answer[1]), ["error"], answer)
        self.assertGreater(len(answer[1]["error"]), 20)

    def raw(self, request, port=None, pause=None):
        """All that comes back on a connection on which these bytes are sent."""
        with socket.create_connection(("127.0.0.1", port or self.server.port), timeout=60) as connection:
            for piece in request if isinstance(request, list) else [request]:
                connection.sendall(piece)
                if pause:
                    time.sleep(pause)
            answer = b""
            while piece := connection.recv(65536):
                answer += piece
        return answer

    def history_lists(self, people, *words):
        """recommend's lines of people with histories in the first domain, by person."""
        path = self.world.folder / "history.csv"
        with open(path, "w", newline="") as file:
            csv.writer(file).writerows([["user_id", "item_id"]] + [[who, item] for who, items in people.items()
                                                                   for item in items])
        lines = run(PROGRAM, "recommend", f"--run_dir={self.world.run_dir}", f"--history={self.first}={path}", "--k=9",
                    *words)
        lists = {who: [] for who in people}
        for row in csv.DictReader(io.StringIO(lines)):
            lists[row["user_id"]].append(tuple(row[name] for name in ("domain", "rank", "item_id", "score", "basis")))
        return lists

    def people(self):
        items = self.domains[self.first]["items"]
        return {f"new {n}": [items[(7 * n + 3 * i) % len(items)] for i in range(1 + n % 5)] for n in range(12)}

    def test_answers_are_those_of_recommend(self):
        people = self.people()
        wanted = self.history_lists(people)
        client = self.server.client()
        for who, items in people.items():
            status, answer = client.ask("/recommend", {"history": {self.first: items}, "k": 9})
            self.assertEqual(status, 200, answer)
            self.assertEqual(as_recommend_writes(answer["lists"]), wanted[who])
        user = self.domains[self.second]["users"][4]
        rows = list(csv.DictReader(io.StringIO(run(PROGRAM, "recommend", f"--run_dir={self.world.run_dir}",
                                                   f"--users={user}", "--k=9", "--exclude=all"))))
        answer = client.ask("/recommend", {"user": user, "k": 9, "exclude": "all"})[1]
        self.assertEqual(as_recommend_writes(answer["lists"]),
                         [tuple(row[name] for name in ("domain", "rank", "item_id", "score", "basis")) for row in rows])
        client.close()

    def test_lines_have_the_same_answers(self):
        people = self.people()
        lines = [json.dumps({"route": "recommend", "history": {self.first: items}, "k": 9}) for items in people.values()]
        done = programs.run(PROGRAM, "serve", f"--run_dir={self.world.run_dir}", "--stdin",
                            input="\n".join(lines + ["{", '{"route": "observe", "events": []}']) + "\n")
        answers = [json.loads(line) for line in done.stdout.splitlines()]
        self.assertEqual([answer["status"] for answer in answers], [200] * len(people) + [400, 200])
        for answer, wanted in zip(answers, self.history_lists(people).values()):
            self.assertEqual(as_recommend_writes(answer["lists"]), wanted)

    def test_a_request_has_the_filters_and_reasons_of_recommend(self):
        items = self.domains[self.first]["items"]
        table, only, out = (self.world.folder / name for name in ("items.csv", "only.txt", "out.txt"))
        table.write_text("item_id,price,brand\n" + "".join(f"{item},{n},{'abc'[n % 3]}\n" for n, item in enumerate(items)))
        only.write_text("\n".join(items[:50]))
        out.write_text("\n".join(items[:9]))
        request = {"history": {self.first: items[20:23]}, "domains": [self.first], "k": 9, "why": 3,
                   "only_items": {self.first: items[:50]}, "exclude_items": {self.first: items[:9]},
                   "where": "price < 45 and not brand = 'c'", "at_most": "3:brand", "min_degree": 2}
        history = self.world.folder / "reasons.csv"
        history.write_text("user_id,item_id\n" + "".join(f"x,{item}\n" for item in items[20:23]))
        rows = list(csv.DictReader(io.StringIO(run(
            PROGRAM, "recommend", f"--run_dir={self.world.run_dir}", f"--domain={self.first}", f"--history={history}", "--k=9",
            "--why", f"--only_items={only}", f"--exclude_items={out}", f"--attributes={table}",
            "--where=price < 45 and not brand = 'c'", "--at_most=3:brand", "--min_degree=2"))))
        self.assertEqual(len(rows), 6)
        with Server(self.world, f"--log={self.world.folder / 'filters.log'}",
                    f"--attributes={self.first}={table}") as server:
            for _ in range(2):
                answer = server.ask("/recommend", request)[1]
                self.assertEqual(as_recommend_writes(answer["lists"]),
                                 [tuple(row[name] for name in ("domain", "rank", "item_id", "score", "basis")) for row in rows])
                for row, item in zip(rows, answer["lists"][0]["items"]):
                    shares = [[f"{of['domain']}:{of['item']}", "%.6g" % of["share"]] for of in item["why"]["items"]]
                    shares += [["", ""]] * (3 - len(shares))
                    self.assertEqual([[row[f"because_{n}"], row[f"share_{n}"]] for n in (1, 2, 3)], shares)
                    for name in ("embeddings", "other_items", "no_item"):
                        self.assertEqual("%.6g" % item["why"][name], row[name])
            self.refused(server.ask("/recommend", {**request, "where": "colour = 'red'"}), 422)
            self.refused(server.ask("/recommend", {**request, "domains": [self.second]}), 422)

    def test_similar_items_are_those_of_the_command(self):
        items = self.domains[self.first]["items"]
        for domain in (self.first, self.second):
            rows = list(csv.DictReader(io.StringIO(run(
                PROGRAM, "similar", f"--run_dir={self.world.run_dir}", f"--items={self.first}:{items[4]}", f"--domain={domain}",
                "--k=9", "--min_degree=3"))))
            status, answer = self.server.ask("/similar", {"items": {self.first: [items[4]]}, "domains": [domain], "k": 9,
                                                          "min_degree": 3})
            if not rows:
                self.refused((status, answer), 422)
                continue
            self.assertEqual(as_recommend_writes(answer["lists"]),
                             [tuple(row[name] for name in ("domain", "rank", "item_id", "score", "basis")) for row in rows])

    def write_new_items(self, name, met):
        """Files of four new items with features and of what people did with them: flags of recommend and serve."""
        import h5py
        import numpy as np
        rows = np.random.default_rng(3).standard_normal((4, 6)).astype(np.float32)
        new = [f"brand new {n}" for n in range(4)]
        features, observed = self.world.folder / f"{name}.h5", self.world.folder / f"{name}.csv"
        with h5py.File(features, "w") as file:
            file["key"] = np.array(new, dtype=object)
            file["value"] = rows
        observed.write_text("user_id,item_id\n" + "".join(f"{user},{item}\n" for user, item in met))
        return new, rows, [f"--items=text:{self.first}={features}", f"--observed={self.first}={observed}"]

    def test_new_items_are_served_as_recommend_serves_them(self):
        items = self.domains[self.first]["items"]
        met = [(f"later {n}", f"brand new {i}") for n in range(3) for i in range(n + 1)]
        new, rows, files = self.write_new_items("new", met)
        people = {"later 9": [new[3], items[5]], "later 8": items[7:9]}
        wanted = self.history_lists(people, *files)
        log = self.world.folder / "new.log"

        def wait(server, seen):
            while (model := server.ask("/model")[1])["waiting_items"] or model["new_items"] < 4 or seen not in "".join(server.said):
                self.assertIsNone(server.process.poll(), server.said)
                time.sleep(0.02)

        def check(server):
            for who, history in people.items():
                answer = server.ask("/recommend", {"history": {self.first: history}, "k": 9})[1]
                self.assertEqual(as_recommend_writes(answer["lists"]), wanted[who])
            status, similar = server.ask("/similar", {"items": {self.first: [new[0]]}, "k": 1})
            self.assertEqual((status, len(similar["lists"][0]["items"])), (200, 1), similar)

        with Server(self.world, f"--log={log}") as server:
            status, answer = server.ask("/observe", {
                "items": [{"domain": self.first, "item": item, "features": {"text": [float(x) for x in row]},
                           "title": "Thing " + item} for item, row in zip(new, rows)],
                "events": [{"domain": self.first, "user": user, "item": item} for user, item in met]})
            self.assertEqual((status, answer["added"], answer["added_items"]), (200, 6, 4), answer)
            wait(server, "with 4 new items now")
            check(server)
            found = server.ask(f"/items?domain={self.first}&q=thing+brand+new+2")[1]["lists"][0]["items"]
            self.assertEqual([one["item"] for one in found], [new[2]])
            server.process.send_signal(signal.SIGHUP)
            while "".join(server.said).count("with 4 new items now") < 2:
                time.sleep(0.02)
            check(server)
            server.kill()
        with Server(self.world, f"--log={log}") as server:
            check(server)
            self.assertEqual(server.end(), 0)
        lines = [{"route": "observe", "items": [{"domain": self.first, "item": "n", "features": {"text": [1] * 6}}]},
                 {"route": "recommend", "history": {self.first: items[:2]}, "domains": [self.first],
                  "only_items": {self.first: ["n"]}}]
        done = programs.run(PROGRAM, "serve", f"--run_dir={self.world.run_dir}", "--stdin",
                            f"--log={self.world.folder / 'lines.log'}",
                            input="".join(json.dumps(line) + "\n" for line in lines))
        listed = json.loads(done.stdout.splitlines()[1])["lists"][0]["items"]
        self.assertEqual([one["item"] for one in listed], ["n"], done)

    def test_files_of_what_came_later_are_served_as_recommend_serves_them(self):
        items, user = self.domains[self.first]["items"], self.domains[self.first]["users"][3]
        met = [("later 1", "brand new 0"), ("later 1", items[8]), (user, "brand new 2"), (user, items[2])]
        told = [("later 2", "brand new 0"), ("later 2", "brand new 3")]
        new, _, files = self.write_new_items("files", met)
        more = self.write_new_items("files_and_told", met + told)[2]
        people = {"later 9": [new[3], items[5]], "later 8": items[7:9]}

        def of_dataset(flags):
            rows = csv.DictReader(io.StringIO(run(PROGRAM, "recommend", f"--run_dir={self.world.run_dir}", "--k=9",
                                                  f"--users={user},later 1", *flags)))
            return [tuple(row[name] for name in ("domain", "rank", "item_id", "score", "basis")) for row in rows]

        def check(server, flags):
            wanted = self.history_lists(people, *flags)
            for who, history in people.items():
                answer = server.ask("/recommend", {"history": {self.first: history}, "k": 9})[1]
                self.assertEqual(as_recommend_writes(answer["lists"]), wanted[who])
            lists = [as_recommend_writes([one]) for who in (user, "later 1")
                     for one in server.ask("/recommend", {"user": who, "k": 9})[1]["lists"]]
            self.assertEqual(sorted(sum(lists, [])), sorted(of_dataset(flags)))

        log = self.world.folder / "files.log"
        with Server(self.world, f"--log={log}", *files) as server:
            check(server, files)
            events = [{"domain": self.first, "user": who, "item": item} for who, item in told]
            self.assertEqual(server.ask("/observe", {"events": events})[1]["added"], 2)
            while "with 4 new items now" not in "".join(server.said):
                self.assertIsNone(server.process.poll(), server.said)
                time.sleep(0.02)
            check(server, more)
            server.kill()
        with Server(self.world, f"--log={log}", *files) as server:
            check(server, more)

    def test_pages_and_states(self):
        for path in ("/health", "/ready"):
            self.assertEqual(self.server.ask(path)[0], 200)
        self.assertEqual(self.server.ask("/openapi.json")[1]["openapi"], "3.1.0")
        status, page = self.server.ask("/")
        self.assertTrue(status == 200 and page.startswith("<!doctype html>"))
        self.assertNotIn("http://", page)
        self.assertNotIn("https://", page)
        model = self.server.ask("/model")[1]
        self.assertEqual([one["domain"] for one in model["domains"]], list(self.domains))
        self.server.ask("/items?domain=nowhere")
        self.server.ask("/no/such/place")
        status, metrics = self.server.ask("/metrics")
        self.assertEqual(status, 200)
        for line in ('micrec_requests_total{route="/items",status="422"}', 'micrec_requests_total{route="none",status="404"}',
                     'micrec_request_seconds_bucket{route="/model",le="+Inf"}', "micrec_people_known ", "micrec_log_bytes "):
            self.assertIn(line, metrics)
        for line in metrics.splitlines():
            self.assertRegex(line, r'^(# (HELP|TYPE) \w+ .*|\w+(\{\w+="[^"]*"(,\w+="[^"]*")*\})? [-+0-9.e]+)$')
        found = self.server.ask(f"/items?domain={self.first}&q={self.domains[self.first]['items'][3]}&k=3")[1]
        self.assertIn(self.domains[self.first]["items"][3], [item["item"] for item in found["lists"][0]["items"]])
        self.assertEqual(self.raw(b"HEAD /health HTTP/1.0\r\n\r\n").split(b"\r\n\r\n", 1)[1], b"")

    def test_refusals(self):
        ask = self.server.ask
        self.refused(ask("/nothing"), 404)
        self.refused(ask("/recommend"), 405)
        self.refused(ask("/model", {}), 405)
        self.refused(ask("/recommend", {}, method="PUT"), 405)
        self.refused(ask("/recommend", {}, method="DELETE"), 405)
        self.refused(ask("/recommend", "{}", headers={"Content-Type": "text/plain"}), 415)
        self.refused(ask("/recommend", "{}", headers={"Content-Type": "multipart/form-data; boundary=x"}), 415)
        self.refused(ask("/recommend", "{}", headers={"Content-Encoding": "rot13"}), 415)
        self.refused(ask("/recommend", "{"), 400)
        self.refused(ask("/recommend", b"\xff\xfe"), 400)
        self.refused(ask("/recommend", "[" * 100000), 400)
        self.refused(ask("/recommend", {"k": 100000}), 422)
        self.refused(ask("/recommend", {"domains": ["nowhere"]}), 422)
        self.refused(ask("/recommend", " " * (2 << 20)), 413)
        self.refused(ask("/model", headers={"Host": "example.com"}), 421)
        self.refused(ask("/items?domain=x" + "y" * 9000), 414)
        answer = ask("/model", headers={"Range": "bytes=0-4"})
        self.assertEqual(answer[0], 200)
        self.assertIn("checkpoint", answer[1])

    def test_bytes_that_are_no_request(self):
        head = b"POST /recommend HTTP/1.1\r\nHost: localhost\r\nContent-Type: application/json\r\n"
        for request, status in [(b"hello\r\n\r\n", 400), (b"\x00\xff\x80\r\n\r\n", 400),
                                (b"GET /health HTTP/9.9\r\n\r\n", 400),
                                (head + b"Content-Length: -4\r\n\r\n{}", 400),
                                (head + b"Content-Length: 2\r\nContent-Length: 3\r\n\r\n{}", 400),
                                (head + b"Content-Length: 2\r\nTransfer-Encoding: chunked\r\n\r\n{}", 400),
                                (head + b"Transfer-Encoding: chunked\r\n\r\nzz\r\n", 400),
                                (head + b"Content-Length: 99999999999\r\n\r\n{}", 413),
                                (b"GET / HTTP/1.1\r\n" + b"X: " + b"y" * 100000 + b"\r\n\r\n", 400)]:
            answer = self.raw(request)
            self.assertTrue(answer.startswith(b"HTTP/1.1 %d " % status), (request[:60], answer[:200]))
            self.assertIn(b'{"error":', answer)
        many = b"GET / HTTP/1.1\r\n" + b"".join(b"X%d: y\r\n" % n for n in range(20000)) + b"\r\n"
        self.assertNotIn(b"200 OK", self.raw(many))
        chunked = head + b"Transfer-Encoding: chunked\r\n\r\n" + b"".join(
            b"10000\r\n" + b" " * 65536 + b"\r\n" for _ in range(40)) + b"0\r\n\r\n"
        self.assertTrue(self.raw(chunked).startswith(b"HTTP/1.1 413"))
        self.assertTrue(self.raw(head + b"Transfer-Encoding: chunked\r\n\r\n2\r\n{}\r\n0\r\n\r\n").startswith(b"HTTP/1.1 200"))
        self.assertEqual(self.server.ask("/health")[0], 200)

    def test_what_follows_a_refused_body_is_a_request_of_its_own(self):
        body = b"POST /observe HTTP/1.1\r\nHost: localhost\r\n\r\n"
        for path, kind in ((b"/nothing", b"application/json"), (b"/recommend", b"text/plain")):
            request = (b"POST %s HTTP/1.1\r\nHost: localhost\r\nContent-Type: %s\r\nContent-Length: %d\r\n\r\n%s"
                       b"GET /ready HTTP/1.1\r\nConnection: close\r\n\r\n" % (path, kind, len(body), body))
            answer = self.raw(request)
            self.assertEqual(answer.count(b"HTTP/1.1 "), 2, answer)
            self.assertTrue(answer.endswith(b'{"status":"ready"}'), answer)
        request = b"GET /health HTTP/1.1\r\nContent-Length: 5\r\n\r\nHELLOGET /ready HTTP/1.1\r\nConnection: close\r\n\r\n"
        self.assertTrue(self.raw(request).endswith(b'{"status":"ready"}'))

    def test_a_request_that_takes_too_long_ends(self):
        with Server(self.world, "--timeout=0.5", f"--log={self.world.folder / 'slow.log'}") as server:
            drip = [b"GET /health HTTP/1.1\r\n"] + [b"X: y\r\n"] * 40
            begin = time.monotonic()
            try:
                answer = self.raw(drip, server.port, pause=0.1)
            except OSError:  # the other side is gone while this one still writes
                answer = b""
            self.assertNotIn(b"200 OK", answer)
            self.assertEqual(server.ask("/health")[0], 200)
            self.assertGreater(time.monotonic() - begin, 0.4)

    def test_a_token_is_asked_for(self):
        path = self.world.folder / "token"
        path.write_text(TOKEN + "\n")
        with Server(self.world, "--host=0.0.0.0", f"--token_file={path}", "--rate=5",
                    f"--log={self.world.folder / 'token.log'}", token=TOKEN) as server:
            self.assertEqual(server.ask("/model")[0], 200)
            for header in (None, "", "Bearer", "Bearer " + TOKEN[:-1], "Bearer " + TOKEN + "x", "Basic " + TOKEN):
                self.refused(server.ask("/model", headers={"Authorization": header or "none"}), 401)
            self.assertEqual(server.ask("/health", headers={"Authorization": "none"})[0], 200)
            answers = [server.ask("/model") for _ in range(30)]
            self.refused(answers[-1], 429)
            self.assertEqual({status for status, _ in answers}, {200, 429})

    def test_starts_only_where_it_may(self):
        short = self.world.folder / "short"
        short.write_text("secret")
        for words, code, part in [(["--host=0.0.0.0"], 2, "--token_file"), ([f"--token_file={short}"], 2, "at least 16"),
                                  (["--token_file=/no/such"], 4, "/no/such"),
                                  ([f"--titles={self.first}"], 2, "DOMAIN=FILE"),
                                  (["--titles=nowhere=" + str(self.world.folder / "titles.csv")], 2, "nowhere"),
                                  ([f"--port={self.server.port}"], 4, "Address already in use"),
                                  ([f"--log={self.world.folder / 'titles.csv'}"], 3, "no log of observed events"),
                                  (["--run_dir=/no/such"], 6, "/no/such")]:
            (self.world.folder / "titles.csv").write_text("item_id,title\nx,y\n")
            done = programs.run(PROGRAM, "serve", f"--run_dir={self.world.run_dir}", "--port=0", *words, expect=code)
            self.assertIn(part, done.stderr)

    def test_one_connection_too_many_is_told(self):
        with Server(self.world, "--connections=2", f"--log={self.world.folder / 'few.log'}") as server:
            clients = [server.client() for _ in range(2)]
            for client in clients:
                self.assertEqual(client.ask("/health")[0], 200)
            self.refused(server.ask("/health"), 503)
            for client in clients:
                self.assertEqual(client.ask("/health")[0], 200)
                client.close()

    def test_sigterm_lets_what_was_begun_end(self):
        with Server(self.world, f"--log={self.world.folder / 'end.log'}") as server:
            idle = server.client()
            self.assertEqual(idle.ask("/health")[0], 200)
            body = json.dumps({"history": {self.first: self.domains[self.first]["items"][:3]}}).encode()
            with socket.create_connection(("127.0.0.1", server.port), timeout=60) as begun:
                begun.sendall(b"POST /recommend HTTP/1.1\r\nHost: localhost\r\nContent-Type: application/json\r\n"
                              b"Content-Length: %d\r\n\r\n" % len(body) + body[:5])
                time.sleep(0.2)
                server.process.send_signal(signal.SIGTERM)
                while not any("asked to end" in line for line in server.said):
                    time.sleep(0.01)
                begun.sendall(body[5:])
                answer = b""
                while piece := begun.recv(65536):
                    answer += piece
            self.assertTrue(answer.startswith(b"HTTP/1.1 200"), answer)
            self.assertIn(b"Connection: close", answer)
            self.assertEqual(server.process.wait(timeout=SECONDS), 0)

    def test_sighup_loads_the_newest_checkpoint_without_a_dropped_request(self):
        with tempfile.TemporaryDirectory() as folder:
            run_dir = Path(folder) / "run"
            train = [PROGRAM, "train", f"--dataset={self.world.dataset}", f"--run_dir={run_dir}", "--dim=8", "--layers=1",
                     "--threads=1", "--validate_every=0", "--patience=0"]
            run(*train, "--max_steps=2")
            with Server(self.world, "--checkpoint=newest", run_dir=run_dir) as server:
                first = server.ask("/model")[1]["checkpoint"]
                run(*train[:2], f"--run_dir={run_dir}", "--resume", "--max_steps=4", "--threads=1")
                seen, wrong, ends = set(), [], threading.Event()

                def load():
                    client = server.client()
                    while not ends.is_set():
                        status, answer = client.ask("/recommend", {"user": "somebody", "k": 3})
                        if status != 200:
                            wrong.append(answer)
                        seen.add(answer.get("checkpoint"))
                    client.close()

                threads = [threading.Thread(target=load) for _ in range(4)]
                for thread in threads:
                    thread.start()
                server.process.send_signal(signal.SIGHUP)
                while server.ask("/model")[1]["checkpoint"] == first and server.process.poll() is None:
                    time.sleep(0.02)
                ends.set()
                for thread in threads:
                    thread.join()
                self.assertEqual(wrong, [])
                self.assertEqual(len(seen), 2, seen)
                self.assertEqual(server.end(), 0)

    def test_observed_events_are_used_and_stay(self):
        log = self.world.folder / "kept.log"
        items = self.domains[self.first]["items"][4:7]
        events = [{"domain": self.first, "user": "newcomer", "item": item} for item in items]
        wanted = self.history_lists({"newcomer": items})["newcomer"]
        with Server(self.world, f"--log={log}") as server:
            self.assertEqual(server.ask("/recommend", {"user": "newcomer"})[1]["lists"][0]["basis"], "popular")
            self.assertEqual(server.ask("/observe", {"events": events})[1]["added"], 3)
            self.assertEqual(server.ask("/observe", {"events": events})[1], {
                "added": 0, "known": 3, "added_items": 0, "known_items": 0, "unknown_items": {}})
            answer = server.ask("/recommend", {"user": "newcomer", "k": 9})[1]
            self.assertEqual(as_recommend_writes(answer["lists"]), wanted)
            self.assertEqual(server.end(), 0)
        with Server(self.world, f"--log={log}") as server:
            answer = server.ask("/recommend", {"user": "newcomer", "k": 9})[1]
            self.assertEqual(as_recommend_writes(answer["lists"]), wanted)
            self.assertEqual(server.ask("/model")[1]["observed_events"], 3)


if __name__ == "__main__":
    PROGRAM = str(Path(sys.argv.pop(1)).resolve())
    unittest.main(verbosity=2)
