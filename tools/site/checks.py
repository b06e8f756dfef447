"""The site in a real browser: `make test-site` builds it in build/site/ and then runs this file with pytest.

Pictures of the pages at three widths, light and dark, are left in build/screenshots/ for a person to look at.
"""

import base64
import functools
import gzip
import html.parser
import http.server
import json
import os
import pathlib
import re
import threading
import urllib.parse

import keras
import numpy as np
import pytest
from playwright.sync_api import sync_playwright

from tools import links
from tools.site import chromium, library, npm
from tools.site import explorer as explorer_models
from tools.site.build import SITE

ROOT = links.ROOT
PICTURES = ROOT / "build" / "screenshots"
PAGES = sorted(path.relative_to(SITE).as_posix() for path in SITE.rglob("*.html") if "_static" not in path.parts)
READ = [page for page in PAGES if not page.startswith("_modules/")]  # the rest is source code
LESSONS = [page for page in PAGES if page.startswith("notebooks/")]
# Pages that are looked at, one of each kind.
SHOWN = [
    "index.html",
    "explorer.html",
    "which.html",
    "cluster.html",
    "glossary.html",
    "library/index.html",
    "library/plots.html",
    "benchmarks/README.html",
    *LESSONS,
]
WIDTHS = (400, 900, 1400)
MAX_BYTES = 1_500_000  # compressed, as a server sends it, without figures and the explorer's models

# What Chromium must not do by itself: look up its maker's hosts, which is refused where there is no network.
FLAGS = [
    "--no-sandbox",
    "--disable-gpu",
    "--disable-quic",
    "--no-first-run",
    "--disable-background-networking",
    "--disable-component-update",
    "--disable-sync",
]


# ---- a server and a browser


class QuietHandler(http.server.SimpleHTTPRequestHandler):
    def log_message(self, *arguments):
        pass


@pytest.fixture(scope="session")
def origin():
    """The address of a server that shows the site on the loopback interface."""
    handler = functools.partial(QuietHandler, directory=SITE)
    with http.server.ThreadingHTTPServer(("127.0.0.1", 0), handler) as server:
        threading.Thread(target=server.serve_forever, daemon=True).start()
        yield f"http://127.0.0.1:{server.server_port}/"
        server.shutdown()


@pytest.fixture(scope="session")
def browser():
    with sync_playwright() as playwright:
        browser = playwright.chromium.launch(executable_path=chromium.find(), args=FLAGS)
        yield browser
        browser.close()


class Watched:
    """A page that remembers what it asked for and what went wrong."""

    def __init__(self, browser, origin, **context):
        self.context = browser.new_context(**context)
        self.page = self.context.new_page()
        self.foreign, self.errors, self.sizes = [], [], {}
        self.origin = origin
        self.page.on("request", self._requested)
        self.page.on("console", lambda message: message.type == "error" and self.errors.append(message.text))
        self.page.on("pageerror", lambda error: self.errors.append(str(error)))
        self.page.on("requestfailed", lambda request: self.errors.append(f"failed: {request.url}"))

    def _requested(self, request):
        if not request.url.startswith((self.origin, "data:", "blob:", "file:")):
            self.foreign.append(request.url)

    def open(self, name):
        self.page.goto(self.origin + name, wait_until="load")
        self.page.wait_for_function("!window.MathJax || !MathJax.startup || MathJax.startup.promise !== undefined")
        self.page.evaluate("window.MathJax && MathJax.startup && MathJax.startup.promise.then(() => null)")
        return self.page


@pytest.fixture
def watched(browser, origin):
    made = []

    def make(**context):
        made.append(Watched(browser, origin, **context))
        return made[-1]

    yield make
    for each in made:
        each.context.close()


# ---- what the files say


class Links(html.parser.HTMLParser):
    """Collects a page's ids, and the addresses that it leads to or loads."""

    def __init__(self, text):
        super().__init__()
        self.ids, self.targets = set(), []
        self.feed(text)

    def handle_starttag(self, tag, attributes):
        attributes = dict(attributes)
        self.ids |= {attributes[name] for name in ("id", "name") if attributes.get(name)}
        self.targets += [attributes[name] for name in ("href", "src") if attributes.get(name) is not None]


@functools.cache
def parsed(name):
    return Links((SITE / name).read_text(encoding="utf-8"))


@pytest.mark.parametrize("page", PAGES)
def test_links_and_anchors_inside_resolve(page):
    for target in parsed(page).targets:
        address = urllib.parse.urlsplit(target)
        if address.scheme or address.netloc:
            continue
        path = urllib.parse.unquote(address.path)
        other = os.path.normpath(pathlib.PurePosixPath(page).parent / path) if path else page
        assert (SITE / other).is_file(), target
        if address.fragment and other.endswith(".html"):
            assert urllib.parse.unquote(address.fragment) in parsed(other).ids, target


def test_links_to_the_repository_lead_to_files_of_it():
    repo, found = re.escape(links.repository()), set()
    kinds = (
        rf"https://colab\.research\.google\.com/github/{repo}/blob/{links.BRANCH}/([^?#]+)",
        rf"https://mybinder\.org/v2/gh/{repo}/{links.BRANCH}\?urlpath=(?:lab/)?tree/([^?#]+)",
        rf"https://github\.com/{repo}/(?:blob|tree)/{links.BRANCH}/([^?#]+)",
    )
    for page in PAGES:
        for target in parsed(page).targets:
            if re.match(r"https://(colab|mybinder)", target):
                assert any(re.match(kind, target) for kind in kinds), f"{page}: {target}"
            for kind in kinds:
                if match := re.match(kind, target):
                    assert (ROOT / urllib.parse.unquote(match[1])).exists(), f"{page}: {target}"
                    found.add((kinds.index(kind), match[1]))
    lessons = {f"notebooks/{pathlib.Path(page).stem}.ipynb" for page in LESSONS}
    for number in (0, 1):
        assert {path for kind, path in found if kind == number} == lessons


def test_each_public_name_is_documented_with_its_example():
    for module, names in library.modules():
        page = f"library/{module.removeprefix('aelib.')}.html"
        text = (SITE / page).read_text(encoding="utf-8")
        for name, _ in names:
            assert f"{module}.{name}" in parsed(page).ids, name
        assert text.count("&gt;&gt;&gt; ") >= len(names)


def test_site_map_and_descriptions():
    site_map = (SITE / "sitemap.xml").read_text(encoding="utf-8")
    for page in LESSONS:
        assert f"/{page}</loc>" in site_map
        text = (SITE / page).read_text(encoding="utf-8")
        assert re.search(r'<meta (?:name="description"|property="og:description") content="[^"]{40,}', text)


# ---- what a browser shows


@pytest.mark.parametrize("page", READ)
def test_page_is_whole(watched, page):
    """Nothing comes from elsewhere or fails, formulas are drawn, no accessibility fault is serious, and it fits.

    A page does not scroll sideways at any width; what is wider than it, such as a table, scrolls by itself.
    """
    view = watched(viewport={"width": WIDTHS[-1], "height": 1000})
    opened = view.open(page)
    start_views(opened)
    formulas = opened.locator(".math").count()
    assert opened.locator("mjx-container svg").count() >= formulas
    assert opened.locator("mjx-merror, [data-mjx-error]").count() == 0
    opened.add_script_tag(path=npm.install("axe", npm.FOLDER) / "axe.min.js")
    faults = []
    for theme in ("light", "dark"):
        opened.evaluate(f"document.documentElement.dataset.theme = '{theme}'")
        for fault in opened.evaluate("axe.run({resultTypes: ['violations']})")["violations"]:
            if fault["impact"] in ("serious", "critical"):
                faults += [f"{theme}: {fault['id']}: {node['html'][:200]}" for node in fault["nodes"]]
    for width, theme in zip(WIDTHS, ("light", "dark", "light"), strict=True):
        opened.set_viewport_size({"width": width, "height": 1000})
        opened.evaluate(f"document.documentElement.dataset.theme = '{theme}'")
        if opened.evaluate("document.documentElement.scrollWidth") > width:
            faults.append(f"scrolls sideways at a width of {width}")
        if page in SHOWN:
            PICTURES.mkdir(parents=True, exist_ok=True)
            name = f"{page.replace('/', '-').removesuffix('.html')}-{width}.png"
            opened.screenshot(path=PICTURES / name, full_page=True)
    assert not faults, "\n".join(faults)
    assert view.foreign == []
    assert view.errors == []


@pytest.mark.parametrize("page", READ)
def test_page_is_small(page):
    """Without figures, and without the explorer's models, which come when it is used."""
    loaded = {page}
    for target in parsed(page).targets:
        path = os.path.normpath(pathlib.PurePosixPath(page).parent / urllib.parse.urlsplit(target).path)
        if path.endswith((".js", ".css", ".woff2")):
            loaded.add(path)
    assert sum(len(gzip.compress((SITE / path).read_bytes())) for path in loaded) < MAX_BYTES


def test_pages_read_without_javascript(watched):
    view = watched(java_script_enabled=False)
    view.page.goto(view.origin + "notebooks/01_basic_autoencoder.html")
    assert view.page.get_by_role("heading", name="Intuition").is_visible()
    assert view.page.locator("article img").first.is_visible()
    assert view.foreign == []


def test_search_finds_a_term(watched):
    view = watched()
    opened = view.open("search.html?q=reparameterization")
    opened.locator("#search-results li").first.wait_for()
    assert view.errors == [] and view.foreign == []


# ---- the explorer


@pytest.fixture
def explorer(watched):
    """The explorer's page with its three views started."""
    view = watched(viewport={"width": 1400, "height": 1000}, has_touch=True)
    view.open("explorer.html")
    start_views(view.page)
    yield view.page
    assert view.errors == [] and view.foreign == []


def start_views(page):
    for number in range(page.locator(".aelib-explorer").count()):
        page.locator(".aelib-explorer").nth(number).scroll_into_view_if_needed()
        page.locator(".aelib-explorer").nth(number).and_(page.locator("[data-ready]")).wait_for()


def stored_model(name):
    """A model's facts, and Keras networks with its weights, read here without the page's help."""
    source = (ROOT / "docs" / "_static" / "explorer" / f"{name}.js").read_text(encoding="utf-8")
    facts = json.loads(source.removeprefix("AelibExplorer.add(").removesuffix(");\n"))
    weights = np.frombuffer(base64.b64decode(facts["weights"]), "<f2").astype("float32")
    parts, at = {"encoder": keras.Sequential(), "decoder": keras.Sequential()}, 0
    for part, inputs, outputs, activation in facts["layers"]:
        layer = keras.layers.Dense(outputs, activation)
        parts[part].add(layer)
        layer.build((None, inputs))
        end = at + inputs * outputs
        layer.set_weights([weights[at:end].reshape(inputs, outputs), weights[end : end + outputs]])
        at = end + outputs
    assert at == weights.size
    return facts, parts["encoder"], parts["decoder"]


STROKES = """strokes => strokes.map(points => {
    const canvas = document.createElement("canvas");
    canvas.width = canvas.height = 280;
    const context = canvas.getContext("2d");
    Object.assign(context, {lineWidth: 24, lineCap: "round", lineJoin: "round"});
    points.forEach(point => context.lineTo(...point));
    context.stroke();
    return AelibExplorer.centred(canvas);
})"""


@pytest.mark.parametrize("name", explorer_models.MODELS)
def test_explorer_computes_what_keras_computes(explorer, name):
    facts, encoder, decoder = stored_model(name)
    rng = np.random.default_rng(0)
    low, high = np.array(facts["spread"])[:, [0, 4]].T
    codes = rng.uniform(low, high, size=(20, len(low)))
    drawn = np.array(explorer.evaluate(STROKES, rng.uniform(20, 260, size=(20, 4, 2)).tolist()))
    assert drawn.shape == (20, 784) and drawn.min() == 0 and 0.9 < drawn.max() <= 1
    for function, network, rows in (("decode", decoder, codes), ("encode", encoder, drawn)):
        found = explorer.evaluate(f"rows => AelibExplorer.{function}('{name}', rows)", rows.tolist())
        difference = np.abs(np.array(found) - network(rows.astype("float32")).numpy()).max()
        print(f"{name}, {function}: largest difference to Keras {difference:.1e}")
        assert difference < 1e-4


def test_drawings_are_centred_and_scaled_as_mnist_was(explorer):
    """The ink fills 20 pixels in one direction, and its centre of mass is in the middle, to half a pixel."""
    [image] = np.array(explorer.evaluate(STROKES, [[[40, 30], [60, 30], [60, 120]]])).reshape(-1, 28, 28)
    rows, columns = np.flatnonzero(image.max(axis=1) > 0.1), np.flatnonzero(image.max(axis=0) > 0.1)
    assert max(np.ptp(rows), np.ptp(columns)) + 1 in (20, 21)
    centre = (np.indices((28, 28)) + 0.5).reshape(2, -1) @ image.ravel() / image.sum()
    np.testing.assert_allclose(centre, 14, atol=0.55)


def pixels(locator):
    return locator.evaluate("canvas => canvas.toDataURL()")


def test_a_drawn_stroke_gives_a_reconstruction(explorer):
    view = explorer.locator("[data-view=draw]")
    view.get_by_role("button", name="clear").click()
    image = view.locator(".ae-panel .ae-image").first
    blank = pixels(image)
    box = view.locator(".ae-pad").bounding_box()
    explorer.mouse.move(box["x"] + 100, box["y"] + 40)
    explorer.mouse.down()
    explorer.mouse.move(box["x"] + 120, box["y"] + 200, steps=5)
    explorer.mouse.up()
    assert pixels(image) != blank
    assert re.match(r"squared error [\d.]+, larger than that of", view.locator(".ae-panel .ae-note").first.inner_text())
    whole = pixels(image)
    view.get_by_label("damage", exact=True).select_option("masked pixels")
    assert pixels(image) != whole
    assert "to the undamaged drawing" in view.locator(".ae-panel .ae-note").first.inner_text()


def test_everything_works_by_keyboard(explorer):
    chart = explorer.locator("[data-view=map] .ae-map").first
    panel = explorer.locator("[data-view=map] .ae-panel").first.locator("canvas")
    now, path = panel.nth(1), panel.nth(2)
    before = pixels(now), pixels(path)
    chart.focus()
    for key in ("Shift+ArrowRight", "Shift+ArrowUp", "Enter", "Shift+ArrowLeft", "Shift+ArrowLeft", "Enter"):
        explorer.keyboard.press(key)
    assert pixels(now) != before[0] and pixels(path) != before[1]

    draw = explorer.locator("[data-view=draw]")
    draw.get_by_role("button", name="clear").press("Enter")
    draw.locator(".ae-pad").focus()
    explorer.keyboard.press(" ")
    for _ in range(5):
        explorer.keyboard.press("ArrowDown")
    assert "squared error" in draw.locator(".ae-panel .ae-note").first.inner_text()
    draw.get_by_role("button", name="test digit 7").press("Enter")
    assert "squared error" in draw.locator(".ae-panel .ae-note").first.inner_text()

    code = explorer.locator("[data-view=code]")
    image, before = code.locator(".ae-large"), pixels(code.locator(".ae-large"))
    code.get_by_label("number 1 of the code", exact=True).focus()
    for _ in range(30):
        explorer.keyboard.press("ArrowRight")
    assert pixels(image) != before
    code.get_by_role("button", name="reset").press("Enter")
    assert pixels(image) == before
    for name in ("random", "walk"):
        code.get_by_role("button", name=name).press("Enter")
        explorer.wait_for_timeout(200)
        assert pixels(image) != before


def test_touch_moves_the_pointer(explorer):
    now = explorer.locator("[data-view=map] .ae-pair .ae-image").first
    chart = explorer.locator("[data-view=map] .ae-map").first
    chart.scroll_into_view_if_needed()
    before, box = pixels(now), chart.bounding_box()
    explorer.touchscreen.tap(box["x"] + 20, box["y"] + 20)
    explorer.wait_for_timeout(100)
    assert pixels(now) != before


def test_explorer_opens_from_a_file(watched):
    view = watched()
    view.page.goto((SITE / "explorer.html").as_uri())
    start_views(view.page)
    assert view.errors == [] and view.foreign == []


def test_explorer_says_so_without_javascript(watched):
    view = watched(java_script_enabled=False)
    view.page.goto(view.origin + "explorer.html")
    assert "if JavaScript is on" in view.page.locator(".aelib-explorer").first.inner_text()
    assert view.page.locator(".aelib-explorer img").first.is_visible()


def test_first_image_is_decoded_within_a_second(watched):
    """Of opening the home page, on a machine whose cores are free; where they are not, it waits for its turn."""
    times = []
    for _ in range(3):
        view = watched(viewport={"width": 1400, "height": 1000})
        view.open("index.html")
        view.page.locator(".aelib-explorer[data-ready]").wait_for()
        times.append(view.page.evaluate("AelibExplorer.firstDecode"))
    print(f"first decode after {min(times):.0f} ms")
    assert min(times) < 1_000 * max(1, os.getloadavg()[0] / os.cpu_count())


def test_explorer_files_are_small():
    for path in (ROOT / "docs" / "_static" / "explorer").glob("*.js"):
        assert path.stat().st_size <= 600_000, path.name
