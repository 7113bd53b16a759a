"""A server under load: thousands of requests of every kind at once, some malformed, some given up."""

from __future__ import annotations

import http.client
import json
import random
import socket
import threading
import time
from collections import Counter

from test_api import rows, same

from adverb.pipelines import load
from adverb.pipelines.predict import answers

CLIENTS, EACH = 12, 200
WORDS = "the cat dog sat ran on in a mat house saw big small red blue good bad film".split()


def cases(small) -> list[tuple[str, bytes, int, object]]:
    """(path, body, status, answers) of requests, those of a model computed here."""
    random.seed(0)
    models = {name: load(path) for name, path in small.items() if name != "draws"}

    def text(longest: int = 30) -> str:
        return " ".join(random.choices(WORDS, k=random.randint(1, longest)))

    def said(model, *texts, pair=None, **options):
        return answers(models[model], rows(*texts, pair=pair), **options)

    made = []
    for _ in range(12):
        for path, model in (("/classify", "classes"), ("/entities", "tags"), ("/embed", "vectors")):
            for count in (1, 1, random.randint(2, 20)):
                texts = [text() for _ in range(count)]
                made.append((path, {"texts": texts}, 200, said(model, *texts)))
        question, context, masked = text(5), text(90), f"{text(8)} [MASK] {text(8)}"
        made.append(
            ("/answer", {"questions": question, "contexts": context}, 200, said("answers", question, pair=context))
        )
        top = random.randint(1, 9)
        made.append(("/fill-mask", {"texts": masked, "top_k": top}, 200, said("fill", masked, top_k=top)))
        made.append(("/generate", {"n": random.randint(1, 9), "seed": random.randint(0, 99)}, 200, None))
    wrong = [
        ("/classify", {"texts": 7}, 422), ("/embed", {"texts": ["the " * 60]}, 413), ("/classify", {"text": "a"}, 422),
        ("/fill-mask", {"texts": ["a [MASK]", "no mask"]}, 422), ("/entities", {"model": "nobody", "texts": "a"}, 404),
        ("/answer", {"questions": "a"}, 422), ("/nowhere", {}, 404), ("/generate", {"label": "nine"}, 422),
    ]  # fmt: skip
    made = [(path, json.dumps(body).encode(), status, expected) for path, body, status, expected in made]
    made += [(path, json.dumps(body).encode(), status, None) for path, body, status in wrong]
    return made + [("/classify", body, 422, None) for body in (b"", b"{", b"\x00\xff", b'{"texts": ["a"')]


def test_thousands_of_mixed_requests(server, small, in_float32):
    asked = cases(small)
    images, problems, counts = {}, [], Counter()
    lock = threading.Lock()

    def client(number: int) -> None:
        choose = random.Random(number)
        connection = server.connect()
        for _ in range(EACH):
            path, body, status, expected = choose.choice(asked)
            if choose.random() < 0.06:
                give_up(server.port, path, body, choose.random() * 0.01)
                with lock:
                    counts["given up"] += 1
                continue
            connection.request("POST", path, body, {"Content-Type": "application/json"})
            response = connection.getresponse()
            found = response.read()
            with lock:
                counts[response.status] += 1
                if response.status != status:
                    problems.append((path, body, status, response.status, found[:200]))
                elif expected is not None and not same(json.loads(found)["answers"], expected):
                    problems.append((path, body, expected, found[:500]))
                elif status == 200 and expected is None:
                    images.setdefault(body, set()).add(found)
        connection.close()

    def careful(number: int) -> None:
        try:
            client(number)
        except (OSError, http.client.HTTPException) as error:
            problems.append((number, repr(error)))

    threads = [threading.Thread(target=careful, args=(number,)) for number in range(CLIENTS)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()

    assert not problems, problems[:3]
    assert sum(counts.values()) == CLIENTS * EACH and counts["given up"] > 50 and counts[200] > 1500
    assert images and all(len(found) == 1 for found in images.values())  # one seed, one image
    assert server.process.poll() is None
    deadline = time.monotonic() + 10
    while b"adverb_queue_tokens 0.0" not in (metrics := server.ask("/metrics")[1]):
        assert time.monotonic() < deadline
        time.sleep(0.05)
    assert b"adverb_requests_running 1.0" in metrics  # the one that asks
    batches = sum(float(line.split()[-1]) for line in metrics.decode().splitlines() if "batch_rows_count{" in line)
    assert 0 < batches < counts[200]  # requests do share batches


def give_up(port: int, path: str, body: bytes, after: float) -> None:
    """Send a request, or a part of it, and hang up."""
    with socket.create_connection(("127.0.0.1", port), timeout=10) as connection:
        size = f"Content-Length: {len(body)}"
        head = f"POST {path} HTTP/1.1\r\nHost: localhost\r\nContent-Type: application/json\r\n{size}\r\n\r\n"
        whole = head.encode() + body
        connection.sendall(whole if after > 0.003 else whole[: len(whole) // 2])
        time.sleep(after)
