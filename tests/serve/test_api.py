"""What the routes answer, and how they refuse, asked over HTTP of a server that is a process of its own."""

from __future__ import annotations

import base64
import io
import re
import shutil
import signal
import socket
import subprocess
import sys
import time
from concurrent.futures import ThreadPoolExecutor

import numpy as np
import pytest
from PIL import Image
from rich.console import Console

from adverb.errors import UserError
from adverb.pipelines import load
from adverb.pipelines.draw import draw_to
from adverb.pipelines.predict import answers
from adverb.pipelines.stream import Row
from adverb.serve.server import serve

TEXT = "the good cat saw a small red house, and was it big?"
ANIMALS = {"candidates": ["cat", "dog"]}
LONG = "the cat sat " * 40


def rows(*texts: str, pair: str | None = None) -> list[Row]:
    return [Row(text, pair, line) for line, text in enumerate(texts, 1)]


def same(found, expected, to: float = 1e-5) -> bool:
    """Equal, numbers to 1e-5: the sixth digit is rounded, and sums depend on what else is in a batch."""
    if isinstance(expected, dict):
        return found.keys() == expected.keys() and all(same(found[key], expected[key], to) for key in expected)
    if isinstance(expected, list):
        return len(found) == len(expected) and all(same(*both, to) for both in zip(found, expected, strict=True))
    if isinstance(expected, float):
        return abs(found - expected) <= to
    return found == expected


# -- answers


@pytest.mark.parametrize(
    ("path", "model", "body", "asked", "options"),
    [
        ("/classify", "classes", {"texts": [TEXT, "a bad film"]}, rows(TEXT, "a bad film"), {}),
        ("/classify", "classes", {"texts": "a cat", "pairs": "a dog"}, rows("a cat", pair="a dog"), {}),
        ("/classify", "classes", {"texts": LONG, "truncate": True}, rows(LONG), {}),
        ("/entities", "tags", {"texts": [TEXT, LONG]}, rows(TEXT, LONG), {}),
        ("/answer", "answers", {"questions": "who?", "contexts": LONG}, rows("who?", pair=LONG), {}),
        ("/answer", "answers", {"questions": "a", "contexts": "b c", "top_k": 2}, rows("a", pair="b c"), {"top_k": 2}),
        ("/fill-mask", "fill", {"texts": "[MASK] cat [MASK].", "top_k": 2}, rows("[MASK] cat [MASK]."), {"top_k": 2}),
        ("/fill-mask", "fill", {"texts": "a [MASK]."} | ANIMALS, rows("a [MASK]."), ANIMALS),
        ("/embed", "vectors", {"texts": [TEXT, "a cat"]}, rows(TEXT, "a cat"), {}),
    ],
)  # fmt: skip
def test_answers_are_those_of_predict(server, small, in_float32, path, model, body, asked, options):
    expected = answers(load(small[model]), asked, **options)
    for named in ({"model": model}, {}):  # there is one model for each route
        status, said, _ = server.ask(path, body | named)
        assert (status, said["model"]) == (200, model)
        assert same(said["answers"], expected)


def test_the_small_models_say_something(server):
    """The comparison above is worth something only if answers are not empty."""
    assert server.ask("/entities", {"texts": LONG})[1]["answers"][0]["entities"]
    assert len({one["label"] for one in server.ask("/classify", {"texts": TEXT.split()})[1]["answers"]}) > 1


def test_embeddings_in_the_shape_of_openai(server, small):
    body = {"input": [TEXT, "a cat"], "model": "vectors"}
    _, said, _ = server.ask("/v1/embeddings", body | {"user": "someone"})
    _, packed, _ = server.ask("/v1/embeddings", body | {"encoding_format": "base64"})
    assert said["object"] == "list" and [one["index"] for one in said["data"]] == [0, 1]
    vectors = np.array([one["embedding"] for one in said["data"]])
    unpacked = [np.frombuffer(base64.b64decode(one["embedding"]), "<f4") for one in packed["data"]]
    np.testing.assert_allclose(vectors, unpacked, atol=1e-7)
    np.testing.assert_allclose(vectors, load(small["vectors"]).embed([TEXT, "a cat"]), atol=2e-6)
    tokens = sum(len(load(small["vectors"]).tokenizer.encode(text)) for text in (TEXT, "a cat"))
    assert said["usage"] == {"prompt_tokens": tokens, "total_tokens": tokens}


def test_a_grid_is_the_file_that_generate_writes(server, small, tmp_path):
    draw_to(load(small["draws"]), tmp_path / "grid.png", n=9, seed=3, label="two")
    status, found, headers = server.ask("/generate", {"n": 9, "seed": 3, "label": "two"})
    assert status == 200 and headers["content-type"] == "image/png"
    assert found == (tmp_path / "grid.png").read_bytes()


def test_images_one_by_one_and_the_way_between_them(server, small):
    asked = {"n": 5, "seed": 2, "truncation": 0.7}
    _, said, _ = server.ask("/generate", asked | {"format": "json"})
    expected, labels = load(small["draws"]).generate(**asked, with_labels=True)
    np.testing.assert_array_equal([pixels(image) for image in said["images"]], expected)
    assert said["labels"] == [["zero", "one", "two"][label] for label in labels]
    _, walk, _ = server.ask("/walk", asked | {"first": 1, "second": 4, "frames": 6})
    assert len(walk["images"]) == 6 and len(set(walk["images"])) > 2
    assert (walk["images"][0], walk["images"][-1]) == (said["images"][1], said["images"][4])
    assert (walk["labels"][0], walk["labels"][-1]) == (said["labels"][1], said["labels"][4])


def test_captions_are_drawn(start, captioned):
    server = start(captioned)
    (facts,) = server.ask("/models")[1]["models"]
    assert facts["captions"][0] == "the big cat" and facts["labels"] == []
    model, asked = load(captioned), {"n": 5, "seed": 2, "truncation": 0.7}
    for text in ("a red house", None):  # None: captions of the training, each image its own
        _, said, _ = server.ask("/generate", asked | {"text": text, "format": "json"})
        np.testing.assert_array_equal(
            [pixels(image) for image in said["images"]], model.generate(**asked, text=text)[..., 0]
        )
        assert said["labels"] == (model.titles(5, 2, None) if text is None else [text] * 5)
    _, walk, _ = server.ask("/walk", asked | {"first": 1, "second": 4, "frames": 6})
    assert (walk["images"][0], walk["images"][-1]) == (said["images"][1], said["images"][4])
    assert walk["labels"] == [said["labels"][1]] * 3 + [said["labels"][4]] * 3
    assert len(set(walk["images"])) == 6
    strong = {"text": "a red house", "strength": 2.0}
    _, said, _ = server.ask("/generate", asked | strong | {"format": "json"})
    expected = model.with_strength(2.0).generate(**asked, text="a red house")[..., 0]
    np.testing.assert_array_equal([pixels(image) for image in said["images"]], expected)
    assert not np.array_equal(expected, model.generate(**asked, text="a red house")[..., 0])
    _, walk, _ = server.ask("/walk", asked | strong | {"first": 1, "second": 4, "frames": 6})
    assert (walk["images"][0], walk["images"][-1]) == (said["images"][1], said["images"][4])
    for body, status, sentence in (
        ({"label": "cat"}, 422, "the model 'drawer' draws captions: say what in text"),
        ({"text": "the cat sat " * 40}, 413, "text has 122 tokens, of which 'drawer' reads 48: shorten it"),
        ({"text": "a" * 1001}, 413, "text has more than 1,000 characters: send a part of it"),
        ({"text": " "}, 422, "text is empty"),
    ):
        found, said, _ = server.ask("/generate", body)
        assert (found, said["error"]) == (status, sentence)


def test_texts_are_written(start, writer):
    server = start(writer)
    (facts,) = server.ask("/models")[1]["models"]
    assert facts["verb"] == "write"
    asked = {"n": 5, "seed": 2, "temperature": 0.7}
    expected = load(writer).generate(**asked)
    assert len(set(expected)) > 1
    assert server.ask("/write", asked)[1] == {"model": "writes", "texts": expected}
    for path, body, status, sentence in (
        ("/write", {"n": 257}, 422, "n: input should be less than or equal to 256"),
        ("/write", {"temperature": 0}, 422, "temperature: input should be greater than or equal to 0.1"),
        ("/fill-mask", {"texts": "[MASK]"}, 422, "the model 'writes' writes texts: ask /write"),
    ):
        found, said, _ = server.ask(path, body)
        assert (found, said["error"]) == (status, sentence)


def pixels(image: str) -> np.ndarray:
    return np.asarray(Image.open(io.BytesIO(base64.b64decode(image))))


def test_words_are_explained_by_leaving_them_out(server, small, in_float32):
    _, said, _ = server.ask("/explain", {"text": TEXT})
    reader = load(small["classes"])
    whole = dict(reader.classify(TEXT))
    assert said["label"] == max(whole, key=whole.get)
    words = [TEXT[word["start"] : word["end"]] for word in said["words"]]
    assert words == TEXT.replace(",", "").replace("?", "").split()
    for word in said["words"]:
        without = dict(reader.classify((TEXT[: word["start"]] + TEXT[word["end"] :]).strip()))
        assert word["change"] == pytest.approx(whole[said["label"]] - without[said["label"]], abs=4e-6)
    assert max(abs(word["change"]) for word in said["words"]) > 0.01


def test_words_that_are_not_read_are_not_explained(server, small, in_float32):
    _, said, _ = server.ask("/explain", {"text": LONG, "truncate": True})
    reader = load(small["classes"])
    assert said["probability"] == pytest.approx(dict(reader.classify(LONG))[said["label"]], abs=2e-6)
    assert [LONG[word["start"] : word["end"]] for word in said["words"]] == LONG.split()[:46]
    assert LONG[: said["read"]].split() == LONG.split()[:46]
    read = " ".join(LONG.split()[1:46])  # no word comes in for the one left out
    without = dict(reader.classify(read))[said["label"]]
    assert said["words"][0]["change"] == pytest.approx(said["probability"] - without, abs=4e-6)


def test_minilm_embeds_as_predict_does(start, minilm):
    server = start(f"minilm={minilm}")
    texts = ["The capital of France is Paris.", "A cat sleeps in the sun."]
    assert same(server.ask("/embed", {"texts": texts})[1]["answers"], answers(load(minilm), rows(*texts)))
    status, refused, _ = server.ask("/embed", {"texts": ["fine", "word " * 300]})
    assert status == 413 and "texts[1] has 302 tokens, of which 'minilm' reads 256" in refused["error"]


# -- refusals


@pytest.mark.parametrize(
    ("path", "body", "status", "sentence"),
    [
        ("/classify", {"model": "classes", "texts": LONG}, 413, "texts[0] has 122 tokens, of which 'classes' reads 48"),
        ("/classify", {"texts": "a" * 100_001}, 413, "texts[0] has more than 100,000 characters"),
        ("/classify", {"texts": ["a"] * 257}, 413, "texts has more than 256 entries"),
        ("/classify", b'{"texts": "' + b"a" * (9 << 20) + b'"}', 413, "larger than 8,388,608 bytes"),
        ("/explain", {"text": LONG}, 413, "text has 122 tokens, of which 'classes' reads 48: shorten it, or send "),
        ("/explain", {"text": "a", "pair": LONG}, 413, "text has 124 tokens, of which 'classes' reads 48"),
        (
            "/answer",
            {"questions": ["a", LONG], "contexts": "a"},
            413,
            "questions[1] has 120 tokens, of which",
        ),
        ("/fill-mask", {"texts": "[MASK] " * 17}, 413, "17 masks, of which 16 can be filled"),
        ("/fill-mask", {"texts": "[MASK] " + LONG}, 413, "texts[0] has 123 tokens"),
        ("/fill-mask", {"texts": ["a [MASK]", "a cat"]}, 422, "texts[1]: There is no [MASK]"),
        ("/fill-mask", {"texts": "a [MASK]", "candidates": ["xylophone"]}, 422, "'xylophone' is not one token"),
        ("/v1/embeddings", {"input": ["a", LONG]}, 413, "input[1] has 122 tokens, of which 'vectors' reads 48"),
        ("/classify", b"{", 422, "the body is not JSON"),
        ("/classify", b"\xff\xfe{}", 422, "the body is not JSON"),
        ("/classify", b"[" * 100_000, 422, "the body is not JSON"),
        ("/classify", b"", 422, "the body must be a JSON object"),
        ("/classify", [], 422, "must be a JSON object"),
        ("/classify", {}, 422, "'texts' is missing"),
        ("/classify", {"text": "a"}, 422, "unknown key 'text': did you mean 'texts'?"),
        ("/classify", {"texts": []}, 422, "texts is empty"),
        ("/classify", {"texts": ["a", "  \n"]}, 422, "texts[1] is empty"),
        ("/classify", {"texts": ["a", 7]}, 422, "texts[1]: input should be a valid string"),
        ("/classify", b'{"texts": "\\ud800"}', 422, "texts[0] holds half of a character"),
        ("/classify", {"texts": ["a", "b"], "pairs": ["c"]}, 422, "2 texts, but 1 pairs"),
        ("/answer", {"questions": ["a", "b", "c"], "contexts": ["a", "b"]}, 422, "3 questions, but 2 contexts"),
        ("/classify", {"model": "fill", "texts": "a"}, 422, "the model 'fill' fills in masked words: ask /fill-mask"),
        ("/classify", {"model": "nothing", "texts": "a"}, 404, "there is no model 'nothing': there are "),
        ("/generate", {"label": "three"}, 422, "unknown label 'three'"),
        ("/generate", {"text": "a cat"}, 422, "the model 'draws' was trained without captions: leave text out"),
        ("/walk", {"strength": 2}, 422, "the model 'draws' was trained without captions: leave strength out"),
        ("/generate", {"strength": 0}, 422, "strength: input should be greater than or equal to 0.1"),
        ("/generate", {"n": 257}, 422, "n: input should be less than or equal to 256"),
        ("/generate", {"truncation": 1e-9}, 422, "truncation: input should be greater than or equal to 0.1"),
        ("/generate", b'{"truncation": NaN}', 422, "truncation"),
        ("/walk", {"n": 2, "second": 2}, 422, "numbers of the n = 2 images"),
        ("/nothing", {}, 404, "there is nothing at /nothing"),
        ("/models", {}, 405, "/models does not take POST"),
        ("/runs/classes", None, 404, "'classes' is a model, not a run folder"),
    ],
)
def test_each_refusal_is_one_sentence(server, path, body, status, sentence):
    found, said, _ = server.ask(path, body)
    assert found == status and set(said) == {"error"} and sentence in said["error"] and "\n" not in said["error"]
    assert "--" not in said["error"]  # the words of the command line


def test_json_must_be_called_json(server):
    """A page elsewhere can make a browser send a form here, not JSON."""
    status, said, _ = server.ask("/classify", {"texts": "a"}, **{"Content-Type": "text/plain"})
    assert status == 422 and "Content-Type: application/json" in said["error"]


def test_a_key_is_asked_for(locked):
    assert locked.ask("/classify", {"texts": "a"})[0] == 200
    for wrong in ("Bearer s3cre", "Bearer s3cret2", "Bearer", "s3cret", "Basic s3cret", ""):
        status, said, headers = locked.ask("/classify", {"texts": "a"}, Authorization=wrong)
        assert status == 401 and "API key" in said["error"] and headers["www-authenticate"] == "Bearer"
    for path, status in (("/metrics", 401), ("/models", 401), ("/openapi.json", 401), ("/healthz", 200), ("/", 200)):
        assert locked.ask(path, Authorization="")[0] == status, path


def test_a_key_with_blanks_around_it_is_that_key(start, small):
    server = start(small["classes"], key=" s3cret ")
    for given, status in (("Bearer s3cret", 200), ("Bearer  s3cret ", 200), ("Bearer s3 cret", 401)):
        assert server.ask("/models", Authorization=given)[0] == status


def test_a_name_of_elsewhere_that_leads_here_gets_nothing(server, locked):
    for host in ("localhost", f"127.0.0.1:{server.port}", "[::1]:80", "LocalHost:8000"):
        assert server.ask("/models", Host=host)[0] == server.ask("/", Host=host)[0] == 200
    for host in ("evil.example", f"evil.example:{server.port}", "localhost.evil.example", "127.0.0.1.evil.example", ""):
        for path in ("/", "/models", "/page/main.js"):
            status, said, _ = server.ask(path, Host=host)
            assert status == 403 and said["error"].startswith(f"this server is not '{host}': ask it as localhost")
    assert server.ask("/classify", {"texts": "a cat"}, Host="evil.example")[0] == 403
    assert locked.ask("/models", Host="models.example")[0] == 200  # a proxy's name, and the key


def test_pages_may_not_load_from_elsewhere(server):
    status, page, headers = server.ask("/")
    policy = headers["content-security-policy"]
    assert status == 200 and "default-src 'none'" in policy and "unsafe" not in policy
    assert b"http://" not in page and b"https://" not in page


def test_the_server_itself_needs_no_torch():
    code = "import sys, adverb.serve.app, adverb.serve.server; sys.exit('torch' in sys.modules)"
    assert subprocess.run([sys.executable, "-c", code]).returncode == 0


# -- load, time, the end

SLOW = """
import time
from adverb.pipelines.reader import Reader
classify = Reader.classify
def slowly(self, texts, *rest):
    if "slow" in " ".join(texts):
        time.sleep(float(texts[0].split()[-1]))
    return classify(self, texts, *rest)
Reader.classify = slowly
"""


@pytest.fixture(scope="module")
def slow(start, small):
    """A server that sleeps for as many seconds as a text says behind "slow", with a short queue and short patience."""
    return start(small["classes"], limits={"queue": 40, "batch": 4, "answer": 2.5, "upload": 0.5}, code=SLOW)


def test_a_full_queue_and_a_late_answer(slow):
    with ThreadPoolExecutor(16) as pool:
        said = list(pool.map(lambda i: slow.ask("/classify", {"texts": "slow 1.0"}), range(16)))
    by_status = {status: [one for one in said if one[0] == status] for status in {one[0] for one in said}}
    assert by_status.keys() == {200, 429, 504}  # two in time, some in the queue, the rest refused
    assert all(int(headers["retry-after"]) >= 1 for _, _, headers in by_status[429])
    assert by_status[504][0][1]["error"] == "no answer within 2.5 s: send less at once, or try again later"
    deadline = time.monotonic() + 10
    while b"adverb_queue_tokens 0.0" not in slow.ask("/metrics")[1]:  # what was given up has left the queue
        assert time.monotonic() < deadline
        time.sleep(0.05)
    assert slow.ask("/classify", {"texts": "a cat"})[0] == 200


def test_a_request_that_does_not_arrive(slow):
    with socket.create_connection(("127.0.0.1", slow.port), timeout=10) as half:
        half.sendall(b"POST /classify HTTP/1.1\r\nHost: localhost\r\nContent-Length: 100\r\n\r\n{")
        assert half.recv(4096).startswith(b"HTTP/1.1 408")


def test_sigterm_drains(slow):
    """The last one to need it."""
    idle = slow.connect()
    idle.request("GET", "/readyz")
    assert idle.getresponse().read() == b'{"status":"ready"}'
    with ThreadPoolExecutor(2) as pool:
        running = [pool.submit(slow.ask, "/classify", {"texts": "slow 0.5"}) for _ in range(2)]
        time.sleep(0.2)
        slow.process.send_signal(signal.SIGTERM)
        time.sleep(0.3)
        with pytest.raises(OSError):
            slow.ask("/classify", {"texts": "a"})
        assert [one.result()[0] for one in running] == [200, 200]
    assert slow.process.wait(20) == 0
    assert "Traceback" not in slow.process.stdout.read()


@pytest.fixture
def pickled(small, tmp_path):
    (tmp_path / "pickled").mkdir()
    for name in ("config.json", "tokenizer.json"):
        (tmp_path / "pickled" / name).write_bytes((small["classes"] / name).read_bytes())
    (tmp_path / "pickled/pytorch_model.bin").write_bytes(b"cos\nsystem\n(S'touch run'\ntR.")
    return tmp_path / "pickled"


def test_pickles_are_not_opened(adverb, pickled, tmp_path):
    done = adverb("serve", pickled)
    assert done.returncode == 2 and "pytorch_model.bin is a pickle, which serve does not open" in done.stderr
    assert not (tmp_path / "run").exists()


@pytest.mark.parametrize(
    "beside", ["model.onnx", "openvino_model.xml", "adapter_model.safetensors", "model.safetensors.index.json"]
)
def test_nor_where_something_safe_is_beside_them(adverb, pickled, tmp_path, beside):
    (pickled / beside).write_text('{"weight_map": {"bert.embeddings.LayerNorm.bias": "pytorch_model.bin"}}')
    done = adverb("serve", pickled)
    assert done.returncode == 2 and "pytorch_model.bin is a pickle, which serve does not open" in done.stderr


def test_a_pickle_below_is_not_opened_either(adverb, captioned, pickled, tmp_path):
    shutil.copytree(captioned, tmp_path / "drawer")
    shutil.rmtree(tmp_path / "drawer/reader")
    shutil.copytree(pickled, tmp_path / "drawer/reader")
    done = adverb("serve", tmp_path / "drawer")
    assert done.returncode == 2 and "reader/pytorch_model.bin is a pickle" in done.stderr
    assert not (tmp_path / "run").exists()


def test_it_listens_on_this_machine_alone(server):
    with socket.create_connection(("127.0.0.1", server.port), timeout=10), pytest.raises(OSError):
        socket.create_connection(("127.0.0.2", server.port), timeout=1)  # where one on all addresses answers too


def test_what_cannot_be_served_is_said(small):
    model = str(small["classes"])
    with socket.create_server(("127.0.0.1", 0)) as taken:
        port = taken.getsockname()[1]
        for models, options, message in (
            ([model, model], {}, "two models are called 'classes': name them, as in classes-2="),
            (["nothing-here"], {}, "nothing-here"),
            ([model], {"key": " "}, "the API key is empty"),
            ([model], {"port": port}, f"can't listen on 127.0.0.1, port {port}: "),
        ):
            with pytest.raises(UserError, match=re.escape(message)):
                serve(models, console=Console(quiet=True), **options)
