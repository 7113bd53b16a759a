"""The page in a real browser: Chromium without a window, where there is one."""

from __future__ import annotations

import json
import shutil

import pytest

from adverb.data.grid import save_grid
from adverb.pipelines import load

webdriver = pytest.importorskip("selenium.webdriver")
from selenium.webdriver.common.by import By  # noqa: E402
from selenium.webdriver.common.keys import Keys  # noqa: E402
from selenium.webdriver.support.ui import WebDriverWait  # noqa: E402

FIELD_SIZES = """[...document.querySelectorAll("input:not([type=range]), textarea, select")]
    .map((field) => parseFloat(getComputedStyle(field).fontSize))"""
ARGUMENTS = ("--headless=new", "--no-sandbox", "--disable-gpu", "--disable-dev-shm-usage", "--no-first-run")


class Page:
    """One tab, with what a person does and sees."""

    def __init__(self, driver, url: str):
        self.driver, self.url = driver, url

    def open(self, fragment: str) -> None:
        self.driver.get("about:blank")
        self.driver.get(f"{self.url}/#{fragment}")
        self.wait(lambda: self.all("main h2"))

    def all(self, css: str) -> list:
        return self.driver.find_elements(By.CSS_SELECTOR, css)

    def texts(self, css: str) -> list[str]:
        return [element.text for element in self.all(css)]

    def wait(self, seen, seconds: float = 60):
        return WebDriverWait(self.driver, seconds, ignored_exceptions=[Exception]).until(lambda _: seen())

    def write(self, name: str, text: str) -> None:
        """Into a field, as if typed, and wait for the answer."""
        field = self.driver.find_element(By.ID, f"field-{name}")
        field.clear()
        field.send_keys(text, Keys.CONTROL, Keys.ENTER)
        self.wait(lambda: not self.all("[aria-busy]"))

    def size(self, width: int, height: int, dark: bool = False) -> None:
        metrics = {"width": width, "height": height, "deviceScaleFactor": 1, "mobile": width < 600}
        self.driver.execute_cdp_cmd("Emulation.setDeviceMetricsOverride", metrics)
        scheme = {"name": "prefers-color-scheme", "value": "dark" if dark else "light"}
        self.driver.execute_cdp_cmd("Emulation.setEmulatedMedia", {"features": [scheme]})

    def js(self, code: str, *arguments):
        return self.driver.execute_script(f"return {code}", *arguments)


@pytest.fixture(scope="module")
def driver():
    browser = next(filter(None, map(shutil.which, ("chromium", "chromium-browser", "google-chrome"))), None)
    chromedriver = shutil.which("chromedriver")
    if browser is None or chromedriver is None:
        pytest.skip("needs chromium and chromedriver: apt-get install chromium chromium-driver")
    options = webdriver.ChromeOptions()
    options.binary_location = browser
    for argument in ARGUMENTS:
        options.add_argument(argument)
    options.set_capability("goog:loggingPrefs", {"browser": "ALL"})
    made = webdriver.Chrome(options=options, service=webdriver.ChromeService(chromedriver))
    yield made
    made.quit()


@pytest.fixture(scope="module")
def run_folder(small, tmp_path_factory):
    """A run that trains: a generator, curves, two pictures."""
    folder = tmp_path_factory.mktemp("runs") / "a-run"
    shutil.copytree(small["draws"], folder / "model")
    (folder / "samples").mkdir()
    (folder / "recipe.yaml").write_text("name: image-gan\ndescription: draws\nobjective: gan\n")
    rows = [
        {"step": i, "progress": i / 50, "seconds": 90.0 * i, "d_loss": 1 / i, "g_loss": i / 9} for i in range(1, 21)
    ]
    rows.append({"step": 20, "progress": 0.4, "seconds": 1800.0, "health/word": "collapsing"})
    (folder / "metrics.jsonl").write_text("".join(json.dumps(row) + "\n" for row in rows))
    for step in (10, 20):
        save_grid(load(small["draws"]).generate(16, seed=step), folder / f"samples/step-{step:07d}.png")
    return folder


@pytest.fixture(scope="module")
def stars(small, tmp_path_factory):
    """A classifier whose labels are whole numbers, which an object of JavaScript puts into an order of its own."""
    folder = tmp_path_factory.mktemp("numbered") / "stars"
    shutil.copytree(small["classes"], folder)
    config = json.loads((folder / "config.json").read_text())
    config |= {"id2label": {"0": "3", "1": "2", "2": "1"}, "label2id": {"3": 0, "2": 1, "1": 2}}
    (folder / "config.json").write_text(json.dumps(config))
    return folder


@pytest.fixture(scope="module")
def page(driver, start, small, stars, captioned, writer, run_folder):
    page = Page(driver, start(*small.values(), stars, captioned, writer, run_folder).url)
    page.size(1200, 900)
    return page


@pytest.fixture(autouse=True)
def nothing_from_elsewhere_and_no_errors(page):
    yield
    addresses = page.js("performance.getEntriesByType('resource').map((entry) => entry.name)")
    assert all(address.startswith((page.url, "data:", "blob:")) for address in addresses)
    assert [line["message"] for line in page.driver.get_log("browser") if "422" not in line["message"]] == []


def test_masks_are_filled(page, small):
    page.open("fill")
    page.write("text", "the [MASK] sat")
    fills = load(small["fill"]).fill_mask("the [MASK] sat", 8)
    assert page.texts(".bars .name") == [fill.tokens[0] for fill in fills]
    page.all(".bars button")[1].click()
    assert page.js("document.querySelector('textarea').value") == fills[1].text
    page.write("text", "no mask here")
    assert not page.texts(".result")[0]


def test_classes_and_the_words_that_carried_them(page):
    page.open("classes")
    page.write("text", "🙂 the good cat saw a house")
    page.wait(lambda: page.all(".why mark"))
    assert sorted(page.texts(".bars .name")) == ["bad", "good", "so-so"]
    assert page.texts(".why .text") == ["🙂 the good cat saw a house"]
    assert page.texts(".why mark") == "the good cat saw a house".split()  # also behind a character of two units


def test_the_end_of_a_text_that_is_too_long_is_grey(page):
    page.open("classes")
    page.write("text", "the good cat " * 40)
    page.wait(lambda: page.all(".why mark"))
    read, rest = len(page.texts(".why mark")), page.texts(".why .text .dim")[0]
    assert 30 < read < 120 and len(rest.split()) == 120 - read
    page.write("text", "the good cat")
    page.wait(lambda: len(page.all(".why mark")) == 3)
    assert not page.all(".why .text .dim")


def test_classes_that_are_numbers_are_in_order_of_probability(page, stars):
    page.open("stars")
    orders = set()
    for text in ("a good film", "a dog ran", "big", "what was it"):
        page.write("text", text)
        orders.add(tuple(page.texts(".bars .name")))
        assert page.texts(".bars .name") == [label for label, _ in load(stars).classify(text)]
    assert orders != {("1", "2", "3")}


def test_the_first_link_leads_past_the_list_of_models(page):
    page.open("vectors")
    page.all(".skip")[0].send_keys(Keys.ENTER)
    assert page.js("document.activeElement.id") == "main"
    assert page.js("location.hash") == "#vectors" and page.texts("main h2") == ["vectors"]


def test_entities_are_marked_in_the_text(page, server):
    text = "the cat sat on the mat, and the dog ran " * 3
    page.open("tags")
    page.write("text", text.strip())
    found = server.ask("/entities", {"texts": text.strip()})[1]["answers"][0]["entities"]
    assert found and page.js("[...document.querySelectorAll('.entity')].map((e) => e.firstChild.data)") == [
        e["text"] for e in found
    ]


def test_the_answer_is_marked_in_the_document(page):
    page.open("answers")
    page.write("context", "the cat saw a dog in the house")
    page.write("question", "what was in the house?")
    names = page.texts(".bars .name")
    assert len(names) > 1 and page.texts(".found") == names[:1]
    page.all(".bars button")[1].send_keys(Keys.ENTER)
    assert page.texts(".found") == names[1:2]
    assert page.js("document.activeElement === document.querySelectorAll('.bars button')[1]")


def test_texts_are_ordered_by_likeness(page):
    page.open("vectors")
    page.write("texts", "the small house\na dog ran\nthe big cat sat")
    page.write("query", "a dog ran")
    values = list(map(float, page.texts(".bars .value")))
    assert page.texts(".bars .name")[0] == "a dog ran" and values[0] == 1 and values == sorted(values, reverse=True)


def test_drawing_with_the_keyboard_and_walking(page):
    page.open("draws")
    page.wait(lambda: len(page.all(".stage img")) == 24)
    assert len(page.all(".grid img")) == 16 and page.texts("#label option")[1:] == ["zero", "one", "two"]
    before = page.js("document.querySelector('.grid img').src")
    page.all(".grid button")[0].send_keys(Keys.ARROW_DOWN, Keys.ARROW_RIGHT, Keys.ENTER)
    ends = page.js("[...document.querySelectorAll('.grid button')].map((b) => b.dataset.end ?? '').join()")
    assert ends == ",A,,,,B" + "," * 10
    slider = page.driver.find_element(By.ID, "walk")
    page.wait(
        lambda: page.js(
            "document.querySelectorAll('.stage img')[23].src === document.querySelectorAll('.grid img')[5].src"
        )
    )
    slider.send_keys(Keys.END)
    assert page.js("[...document.querySelectorAll('.stage img')].findIndex((image) => !image.hidden)") == 23
    seed = page.driver.find_element(By.ID, "seed")
    seed.clear()
    seed.send_keys("7")
    page.wait(lambda: page.js("document.querySelector('.grid img').src") != before)


def test_drawing_what_is_asked_for_in_words(page, captioned):
    page.open("drawer")
    page.wait(lambda: len(page.all(".stage img")) == 24)
    titles = load(captioned).titles(16, 1, None)  # nothing is asked for: captions of the training
    assert page.js("[...document.querySelectorAll('.grid button')].map((cell) => cell.title)") == titles
    assert page.texts(".title") == titles[:1] and not page.all("#label")
    page.driver.find_element(By.ID, "walk").send_keys(Keys.END)
    assert page.texts(".title") == titles[1:2]
    before = page.js("document.querySelector('.grid img').src")
    page.driver.find_element(By.ID, "text").send_keys("a blue house", Keys.ENTER)
    page.wait(lambda: page.texts(".title") == ["a blue house"])
    assert page.js("document.querySelector('.grid img').src") != before
    page.all("form .chip")[1].click()
    page.wait(lambda: page.texts(".title") == [page.texts("form .chip")[1]])


def test_texts_are_written(page, writer):
    page.open("writes")
    page.wait(lambda: page.texts(".lines li") == load(writer).generate(10, seed=1))
    page.driver.find_element(By.ID, "temperature").send_keys(Keys.HOME)
    page.wait(lambda: page.texts(".lines li") == load(writer).generate(10, seed=1, temperature=0.3))
    assert page.texts("output") == ["0.30"]


def test_a_run_is_watched(page, run_folder):
    page.open("a-run/run")
    page.wait(lambda: len(page.all("figure polyline")) == 2)
    assert page.texts(".word") == ["collapsing"] and "40%" in page.texts(".facts")[0]
    assert page.texts(".sheet h3") == ["Samples at step 20"]
    with open(run_folder / "metrics.jsonl", "a") as file:
        file.write(json.dumps({"step": 30, "progress": 0.6, "seconds": 2700.0, "d_loss": 0.1}) + "\n")
    page.wait(lambda: "60%" in page.texts(".facts")[0])
    page.all(".tabs a")[0].click()
    page.wait(lambda: page.all(".grid img"))


@pytest.mark.parametrize("dark", [False, True])
def test_a_phone_shows_all_of_it(page, small, dark):
    page.size(360, 740, dark)
    for name in (*small, "drawer", "writes", "a-run", "a-run/run"):
        page.open(name)
        page.wait(lambda: page.all(".bars, .entity, .grid img, .lines li, figure, .result p"))
        assert page.js("document.documentElement.scrollWidth") == 360, name
        assert min(page.js(FIELD_SIZES), default=16) >= 16  # a phone would zoom into a smaller one
    red, green, blue = page.js("getComputedStyle(document.body).backgroundColor.match(/\\d+/g).map(Number)")
    assert (red + green + blue < 120) == dark
    page.size(1200, 900)


def test_a_key_is_asked_for_once(driver, locked):
    page = Page(driver, locked.url)
    driver.get(locked.url)
    page.wait(lambda: page.all("dialog[open]"))
    driver.find_element(By.ID, "secret").send_keys("s3cret", Keys.ENTER)
    page.wait(lambda: page.all(".bars"))
    driver.refresh()
    page.wait(lambda: page.all(".bars"))
    assert not page.all("dialog[open]")
    driver.get_log("browser")  # the refusal before the key was given
    driver.get("about:blank")
