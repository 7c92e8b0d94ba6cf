"""Follows the clicks of docs/mlflow.md through MLflow's pages in a real browser, and takes their pictures.

`python -m tests.ui --tracking-uri sqlite:////.../runs/mlflow.db --study phases --out docs/mlflow` needs Debian's
packages chromium and chromium-driver, or others of these names.
"""

from __future__ import annotations

import argparse
import os
import shlex
import shutil
import signal
import socket
import subprocess
import tempfile
import time
import urllib.request
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from mlflow import MlflowClient
from mlflow.entities import Run
from PIL import Image
from selenium import webdriver
from selenium.common.exceptions import ElementClickInterceptedException
from selenium.webdriver.chrome.options import Options
from selenium.webdriver.chrome.service import Service
from selenium.webdriver.common.by import By
from selenium.webdriver.remote.webdriver import WebDriver
from selenium.webdriver.remote.webelement import WebElement
from selenium.webdriver.support.ui import WebDriverWait

from gada_ray.tracking.runs import where_to_look

BROWSER, DRIVER = shutil.which("chromium"), shutil.which("chromedriver")
PATIENCE_S = 60
"""For a page to show what it should; busy machines are slow."""
MLFLOW_PARAMETERS = 3
"""That its comparison draws at first."""
ASSISTANT = "//button[@data-component-id='mlflow.assistant.chat_panel.close']"
"""Closes the assistant."""
WIDTH, HEIGHT = 1600, 900
FLAGS = (
    "--headless=new --no-sandbox --disable-gpu --disable-quic --no-first-run --disable-background-networking "
    "--disable-component-update --disable-sync --disable-dev-shm-usage --hide-scrollbars "
    f"--window-size={WIDTH},{HEIGHT}"
)


@contextmanager
def served(uri: str) -> Iterator[str]:
    """MLflow's pages on a sqlite file, started by the command that a study prints; their address."""
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        port = free.getsockname()[1]
    command = [*shlex.split(where_to_look(uri)), "--port", str(port)]
    environment = os.environ | {"MLFLOW_DISABLE_TELEMETRY": "true"}
    with tempfile.TemporaryFile() as log:
        server = subprocess.Popen(command, env=environment, stdout=log, stderr=log, start_new_session=True)
        try:
            _wait_for(f"http://127.0.0.1:{port}/health", server)
            yield f"http://127.0.0.1:{port}"
        finally:
            os.killpg(server.pid, signal.SIGTERM)
            server.wait(30)


def _wait_for(address: str, server: subprocess.Popen[bytes]) -> None:
    until = time.monotonic() + PATIENCE_S
    while time.monotonic() < until and server.poll() is None:
        try:
            urllib.request.urlopen(address, timeout=5).close()
        except OSError:
            time.sleep(0.5)
        else:
            return
    raise AssertionError(f"{address} does not answer; the server's exit code is {server.poll()}")


class Pages:
    """A browser on a study's pages."""

    def __init__(self, driver: WebDriver, address: str, study: str) -> None:
        self.driver, self.address, self.study = driver, address, study

    def start(self) -> None:
        """MLflow's first page, as a browser shows it that was never there, and from it the study: two clicks."""
        self.driver.get(f"{self.address}/health")
        self.driver.execute_script("localStorage.clear(); sessionStorage.clear()")
        self.driver.get(f"{self.address}/")
        self._press(self.find("//*[text()='Model training']"))
        self.click(self.study)

    def find(self, path: str, anywhere: bool = False) -> WebElement:
        """The first element of an XPath, as soon as there is one; `anywhere` takes one out of view as well."""

        def first(driver: WebDriver) -> WebElement | None:
            return next((one for one in driver.find_elements(By.XPATH, path) if anywhere or one.is_displayed()), None)

        found = WebDriverWait(self.driver, PATIENCE_S, ignored_exceptions=(Exception,)).until(
            first, f"no {path} at {self.driver.current_url}"
        )
        assert found is not None
        return found

    def click(self, text: str) -> None:
        """Click a link by its text."""
        link = self.find(f"//a[normalize-space(.)={_quoted(text)}]")
        self.driver.execute_script("arguments[0].scrollIntoView({block: 'center'})", link)
        time.sleep(0.5)
        self._press(link)
        # Links in descriptions open a page of their own.
        time.sleep(1)
        self.driver.switch_to.window(self.driver.window_handles[-1])

    def show_more(self) -> None:
        """Unfold a description, of which MLflow shows the first lines."""
        self._press(self.find("//button[normalize-space(.)='Show more']"))

    def _press(self, element: WebElement) -> None:
        """Click an element as soon as nothing that is being drawn lies over it."""

        def pressed(driver: WebDriver) -> bool:
            element.click()
            return True

        WebDriverWait(self.driver, PATIENCE_S, ignored_exceptions=(ElementClickInterceptedException,)).until(pressed)

    def see(self, text: str) -> WebElement:
        """An element with a text, brought into view."""
        found = self.find(f"//*[text()[normalize-space(.)={_quoted(text)}]]", anywhere=True)
        self.driver.execute_script("arguments[0].scrollIntoView({block: 'center', inline: 'nearest'})", found)
        return found

    def take(self, path: Path | None) -> None:
        """A picture of what is seen, in few colours, which makes it small."""
        if path is None:
            return
        time.sleep(2)
        # MLflow's assistant takes a third of every new page.
        for button in self.driver.find_elements(By.XPATH, ASSISTANT):
            self._press(button)
        time.sleep(1)
        path.parent.mkdir(parents=True, exist_ok=True)
        self.driver.save_screenshot(str(path))
        with Image.open(path) as picture:
            picture.convert("RGB").quantize(128, dither=Image.Dither.NONE).save(path, optimize=True)


@contextmanager
def browser() -> Iterator[WebDriver]:
    """A browser with an empty profile that keeps what pages log and fetch."""
    assert BROWSER and DRIVER, "chromium and chromedriver are needed"
    options = Options()
    options.binary_location = BROWSER
    options.set_capability("goog:loggingPrefs", {"browser": "ALL", "performance": "ALL"})
    for flag in FLAGS.split():
        options.add_argument(flag)
    driver = webdriver.Chrome(options=options, service=Service(DRIVER))
    try:
        yield driver
    finally:
        driver.quit()


@contextmanager
def browsing(address: str, study: str) -> Iterator[Pages]:
    """A browser on a study."""
    with browser() as driver:
        yield Pages(driver, address, study)


def banner(pages: Pages, verdict: str, picture: Path | None = None) -> None:
    """The study's page shows its verdict above the runs."""
    pages.start()
    pages.find(f"//*[contains(normalize-space(.), {_quoted(verdict)})]")
    pages.take(picture)


def variants_side_by_side(pages: Pages, variants: list[Run], picture: Path | None = None) -> None:
    """The link above the runs: bars of SROCC, the best first, of the variants alone."""
    pages.start()
    pages.click("All variants side by side")
    pages.find(f"//*[normalize-space(.)='{len(variants)} matching runs']")
    for variant in variants:
        pages.see(variant.info.run_name)
        pages.find(f"//*[local-name()='svg']//*[text()={_quoted(shown(variant.data.metrics['srocc_mean']))}]")
    titles = [
        title.text
        for title in pages.driver.find_elements(
            By.XPATH, "//*[@data-testid='experiment-view-compare-runs-card-drag-handle']/.."
        )
    ]
    assert not titles or titles[0].startswith("srocc_mean"), titles
    pages.find("//*[text()='srocc_mean']")
    assert not pages.driver.find_elements(By.XPATH, "//*[text()='plcc_mean']")
    pages.take(picture)


def table_of_variants(pages: Pages, variants: list[Run], picture: Path | None = None) -> None:
    """The link above the runs: a table of the variants' scores, the best SROCC first."""
    pages.start()
    pages.click("Table of variants")
    pages.find(f"//*[normalize-space(.)='{len(variants)} matching runs']")
    for name in ("srocc_mean", "srocc_sd", "plcc_mean"):
        pages.see(name)
    best = sorted(variants, key=lambda run: -run.data.metrics["srocc_mean"])
    rows = [pages.find(f"//a[normalize-space(.)={_quoted(run.info.run_name)}]") for run in best]
    heights = [row.location["y"] for row in rows]
    assert heights == sorted(heights), heights
    pages.take(picture)


def without_saved_view(pages: Pages, study: Run, variants: list[Run]) -> None:
    """The study's run links to the same bars by an address that needs no saved view."""
    pages.start()
    pages.click(study.info.run_name)
    pages.click("without the saved view")
    pages.find(f"//*[normalize-space(.)='{len(variants)} matching runs']")


def report(pages: Pages, text: str) -> None:
    """The link above the runs shows the report."""
    pages.start()
    pages.click("Report")
    pages.driver.switch_to.frame(pages.find("//iframe"))
    pages.find(f"//*[contains(text(), {_quoted(text)})]")
    pages.driver.switch_to.default_content()


def parallel_coordinates(
    pages: Pages, study: Run, variant: str, candidates: list[Run], picture: Path | None = None
) -> None:
    """The study's run, then the link of a variant's search."""
    pages.start()
    pages.click(study.info.run_name)
    pages.show_more()
    pages.click(f"What was searched for {variant}, in parallel coordinates")
    pages.see(f"Comparing {len(candidates)} Runs from 1 Experiment")
    names = {name for name in candidates[0].data.params if len({one.data.params[name] for one in candidates}) > 1}
    for name in [*sorted(names)[:MLFLOW_PARAMETERS], "srocc_mean"]:
        pages.find(f"//*[local-name()='svg']//*[text()={_quoted(name)}]")
    pages.see("Parallel Coordinates Plot")
    pages.take(picture)


def learning_curves(pages: Pages, variant: Run, splits: list[Run], picture: Path | None = None) -> None:
    """A variant's run, then its link."""
    pages.start()
    pages.click(variant.info.run_name)
    pages.click("Learning curves of the splits")
    for split in splits:
        pages.find(f"//*[contains(text(), {_quoted(split.info.run_name)})]")
    pages.find("//*[local-name()='svg']//*[contains(@class, 'scatterlayer')]//*[contains(@class, 'js-line')]")
    pages.take(picture)


def predictions(pages: Pages, variant: Run, split: Run, image: str, picture: Path | None = None) -> None:
    """A variant's run, then the number of one of its splits."""
    pages.start()
    pages.click(variant.info.run_name)
    pages.click(split.data.tags["split"])
    pages.see("prediction")
    pages.see(image)
    pages.take(picture)


def shown(value: float) -> str:
    """A number as MLflow writes it on a bar."""
    return f"{value:.2f}"


def _quoted(text: str) -> str:
    return f"'{text}'" if "'" not in text else f'"{text}"'


def main() -> None:
    """Take the pictures of the documentation from a finished study."""
    parser = argparse.ArgumentParser(description=main.__doc__)
    parser.add_argument("--tracking-uri", required=True)
    parser.add_argument("--study", required=True)
    parser.add_argument("--out", type=Path, required=True)
    chosen = parser.parse_args()
    client = MlflowClient(chosen.tracking_uri)
    experiment = client.get_experiment_by_name(chosen.study)
    assert experiment is not None, f"no study {chosen.study} at {chosen.tracking_uri}"
    place = experiment.experiment_id
    (study, *_) = client.search_runs([place], "tags.kind = 'study'")
    variants = client.search_runs([place], "tags.kind = 'configuration' and tags.stage = 'test'")
    candidates = client.search_runs([place], "tags.kind = 'configuration' and tags.stage = 'search'")
    best = max(variants, key=lambda run: run.data.metrics["srocc_mean"])
    splits = client.search_runs([place], f"tags.`mlflow.parentRunId` = '{best.info.run_id}'")
    split = min(splits, key=lambda run: int(run.data.tags["split"]))
    folder = client.download_artifacts(split.info.run_id, "predictions.csv")
    image = Path(folder).read_text().splitlines()[1].split(",")[0]
    with served(chosen.tracking_uri) as address, browsing(address, chosen.study) as pages:
        pages.start()
        pages.see(study.info.run_name)
        pages.take(chosen.out / f"{chosen.study}-runs.png")
        variants_side_by_side(pages, variants, chosen.out / f"{chosen.study}-variants.png")
        table_of_variants(pages, variants, chosen.out / f"{chosen.study}-table.png")
        if candidates:
            variant = candidates[0].data.tags["variant"]
            parallel_coordinates(pages, study, variant, candidates, chosen.out / f"{chosen.study}-parallel.png")
        learning_curves(pages, best, splits, chosen.out / f"{chosen.study}-curves.png")
        predictions(pages, best, split, image, chosen.out / f"{chosen.study}-predictions.png")
    for path in sorted(chosen.out.glob(f"{chosen.study}-*.png")):
        print(f"{path} {path.stat().st_size / 1000:.0f} kB")


if __name__ == "__main__":
    main()
