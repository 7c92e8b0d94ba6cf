"""What the repository promises: one pinned environment, no addresses in it, and imports that point one way."""

import ast
import re
import shlex
import sys
import tomllib
from collections.abc import Iterator
from pathlib import Path

import pytest
import yaml
from packaging.requirements import Requirement
from packaging.specifiers import SpecifierSet
from packaging.utils import canonicalize_name
from packaging.version import Version

import tune
from gada_ray import RECIPES
from tests import cli_page

ROOT = Path(__file__).parent.parent
PROJECT = tomllib.loads((ROOT / "pyproject.toml").read_text())["project"]
EXTRAS = PROJECT["optional-dependencies"]
DECLARED = [Requirement(line) for line in sum(EXTRAS.values(), PROJECT["dependencies"])]
LOCK = (ROOT / "requirements.txt").read_text()
PYTHONS = [f"3.{minor}" for minor in range(11, 15)]

LAYERS = (
    {"errors", "system"},
    {"config"},
    {"data", "model", "recipes"},
    {"evaluation", "training"},
    {"trials"},
    {"inference"},
    {"study"},
    {"tracking"},
    {"running"},
    {"commands"},
    {"__main__"},
)
"""Modules and packages of gada_ray; each imports only from its own layer's line and the lines above it."""

ONLY_IN = {
    "ray": "gada_ray/running/",
    "mlflow": "gada_ray/tracking/",
}
"""Libraries that one room of gada_ray keeps to itself."""

CODE = sorted(
    path for folder in ("gada_ray", "studies", "analysis", "benchmarks") for path in (ROOT / folder).rglob("*.py")
)
CODE += [path for path in [ROOT / "tune.py"] if path.exists()]


def entries() -> list[tuple[Requirement, str]]:
    """Every entry of the lock: its requirement and its text with hashes."""
    texts = re.split(r"\n(?=[^\s#])", LOCK)[1:]
    return [(Requirement(text.split(" \\\n")[0].strip()), text) for text in texts]


def name_of(path: Path) -> str:
    return path.relative_to(ROOT).as_posix()


def imports(path: Path) -> Iterator[tuple[str, tuple[str, ...]]]:
    """Every import of a file, wherever it stands: the module, and the names taken from it."""
    for node in ast.walk(ast.parse(path.read_text())):
        if isinstance(node, ast.Import):
            yield from ((alias.name, ()) for alias in node.names)
        elif isinstance(node, ast.ImportFrom):
            assert node.level == 0, f"{name_of(path)} line {node.lineno}: imports are absolute"
            yield node.module or "", tuple(alias.name for alias in node.names)


def libraries(path: Path) -> set[str]:
    return {module.split(".")[0] for module, _ in imports(path)}


def parts(path: Path) -> Iterator[str]:
    """Modules and packages directly below gada_ray that a file imports."""
    for module, names in imports(path):
        if module == "gada_ray":
            yield from names
        elif module.startswith("gada_ray."):
            yield module.split(".")[1]


@pytest.mark.parametrize("python", PYTHONS)
def test_every_declared_dependency_is_locked_at_a_version_that_it_allows(python: str) -> None:
    environment = {"python_version": python, "python_full_version": f"{python}.0", "extra": ""}
    locked = {
        canonicalize_name(entry.name): Version(next(iter(entry.specifier)).version)
        for entry, _ in entries()
        if entry.marker is None or entry.marker.evaluate(environment)
    }
    for requirement in DECLARED:
        name = canonicalize_name(requirement.name)
        assert name in locked, f"{requirement} is not in requirements.txt; run make lock"
        assert locked[name] in requirement.specifier, f"{requirement}, but {locked[name]} is locked; run make lock"


def test_every_entry_of_the_lock_is_one_exact_version_with_hashes() -> None:
    assert len(entries()) > 100
    for requirement, text in entries():
        assert [clause.operator for clause in requirement.specifier] == ["=="], requirement
        assert "--hash=sha256:" in text, requirement


@pytest.mark.parametrize("file", ["requirements.txt", "environment.yml", "pyproject.toml", "Makefile", ".ci/run"])
def test_files_that_make_the_environment_hold_no_address(file: str) -> None:
    text = (ROOT / file).read_text()
    assert "://" not in text
    assert not re.search(r"--(extra-)?index-url|--find-links|--trusted-host", text)


def test_conda_gives_a_python_that_the_project_allows_and_leaves_the_rest_to_the_lock() -> None:
    *from_conda, from_pip = yaml.safe_load((ROOT / "environment.yml").read_text())["dependencies"]
    assert [line.partition("=")[0] for line in from_conda] == ["python", "pip"]
    assert Version(from_conda[0].partition("=")[2]) in SpecifierSet(PROJECT["requires-python"])
    assert from_pip == {"pip": ["--requirement requirements.txt"]}


def test_the_pythons_of_the_project_are_those_that_the_makefile_accepts() -> None:
    allowed = SpecifierSet(PROJECT["requires-python"])
    assert [f"3.{minor}" for minor in range(5, 30) if f"3.{minor}" in allowed] == PYTHONS
    low, high = (version.replace(".", ", ") for version in (PYTHONS[0], PYTHONS[-1]))
    assert f"({low}) <= sys.version_info[:2] <= ({high})" in (ROOT / "Makefile").read_text()


def test_every_dependency_says_what_it_is_for() -> None:
    lines = (ROOT / "pyproject.toml").read_text().splitlines()
    for requirement in PROJECT["dependencies"]:
        (line,) = [line for line in lines if f'"{requirement}"' in line]
        assert re.search(r'",\s+# \w+', line), line


def test_code_imports_only_what_the_project_declares() -> None:
    modules = {"scikit-image": "skimage", "scikit-learn": "sklearn", "pillow": "PIL", "universal-pathlib": "upath"}
    names = [Requirement(line).name for line in PROJECT["dependencies"] + EXTRAS["s3"]]
    declared = {modules.get(name, name) for name in names}
    ours = {"gada_ray", "studies", "analysis", "benchmarks", "mpl_toolkits"}
    for path in CODE:
        unknown = libraries(path) - declared - ours - sys.stdlib_module_names
        assert not unknown, f"{name_of(path)} imports {unknown}, which pyproject.toml does not declare"


def test_the_library_knows_neither_studies_nor_analysis_nor_the_command() -> None:
    for path in (ROOT / "gada_ray").rglob("*.py"):
        assert not libraries(path) & {"studies", "analysis", "tune"}, name_of(path)


def test_inside_the_library_imports_point_from_configuration_to_running() -> None:
    rank = {part: number for number, layer in enumerate(LAYERS) for part in layer}
    for path in (ROOT / "gada_ray").rglob("*.py"):
        part = path.relative_to(ROOT / "gada_ray").parts[0].removesuffix(".py")
        if part == "__init__":
            continue
        assert part in rank, f"{name_of(path)}: give '{part}' its place in LAYERS"
        for imported in parts(path):
            assert rank[imported] <= rank[part], f"{name_of(path)} imports gada_ray.{imported} from a layer above it"
    assert not {"model", "training"} & {part for path in (ROOT / "gada_ray/data").glob("*.py") for part in parts(path)}
    assert "data" not in {part for path in (ROOT / "gada_ray/model").glob("*.py") for part in parts(path)}


@pytest.mark.parametrize("library", sorted(ONLY_IN))
def test_a_service_is_imported_in_one_room_of_the_library_only(library: str) -> None:
    users = {name_of(path) for path in (ROOT / "gada_ray").rglob("*.py") if library in libraries(path)}
    assert users and all(user.startswith(ONLY_IN[library]) for user in users), users


def test_studies_import_only_the_public_names_of_the_library() -> None:
    for path in (ROOT / "studies").rglob("*.py"):
        for module, _ in imports(path):
            inside = module.startswith("gada_ray.") or module.split(".")[0] in {"ray", "mlflow", "torch", "analysis"}
            assert not inside, f"{name_of(path)} imports {module}; studies take names from gada_ray itself"


def test_analysis_imports_neither_ray_nor_torch() -> None:
    for path in (ROOT / "analysis").rglob("*.py"):
        assert not libraries(path) & {"ray", "torch", "torchvision", "piq"}, name_of(path)


def anchors(page: Path) -> set[str]:
    """Anchors of a page's headings, as GitHub makes them."""
    text = re.sub(r"^```.*?^```", "", page.read_text(), flags=re.MULTILINE | re.DOTALL)
    headings = re.findall(r"^#+ (.+)$", text, re.MULTILINE)
    return {re.sub(r"[^\w\- ]", "", heading.lower()).replace(" ", "-") for heading in headings}


PAGES = [page for page in sorted(ROOT.glob("**/*.md")) if ".venv" not in page.parts]
DOCS = {page: page.read_text() for page in PAGES if page.name != "CHANGELOG.md"}


@pytest.mark.parametrize("page", PAGES, ids=lambda page: str(page.relative_to(ROOT)))
def test_links_of_the_docs_lead_somewhere(page: Path) -> None:
    for target in re.findall(r"\]\(\s*([^)\s]+)\s*\)", page.read_text()):
        path, _, anchor = target.partition("#")
        if "://" in target:
            continue
        there = (page.parent / path).resolve() if path else page
        assert there.exists(), f"{page.name} links to {target}"
        assert not anchor or anchor in anchors(there), f"{page.name} links to {target}; there are {anchors(there)}"


def shell_commands(text: str) -> Iterator[list[str]]:
    """The words of every command in a page's console blocks, up to a pipe or a redirection."""
    for block in re.findall(r"^```console\n(.*?)^```", text, flags=re.MULTILINE | re.DOTALL):
        for line in block.replace("\\\n", " ").splitlines():
            if line.startswith("$ "):
                words = shlex.split(line[2:], comments=True)
                ends = [place for place, word in enumerate(words) if word in ("|", ">", "&&")]
                for start, end in zip([0, *(place + 1 for place in ends)], [*ends, len(words)], strict=True):
                    yield words[start:end]


@pytest.mark.parametrize("page", list(DOCS), ids=lambda page: str(page.relative_to(ROOT)))
def test_commands_in_the_docs_are_accepted_by_the_parser_of_the_command(page: Path) -> None:
    for program, *words in filter(None, shell_commands(DOCS[page])):
        line = shlex.join([Path(program).name, *words])
        for name, command in cli_page.commands():
            if not f"{line} ".startswith(f"{name} "):
                continue
            params = command.make_context(name, words[len(name.split()) - 1 :]).params
            if name == "python tune.py" and params["study"]:
                study = tune.load_study(params["study"])
                variants = study.variants(study.base) if callable(study.variants) else study.variants
                assert set(params["variant"] or ()) <= set(variants), line
                assert params["preset"] in study.presets and params["recipe"] in (None, *RECIPES), line


def test_the_page_of_options_is_made_from_the_commands() -> None:
    assert cli_page.PAGE.read_text() == cli_page.page(), "run python -m tests.cli_page"


def test_every_option_of_the_command_is_explained_by_a_page_of_the_docs() -> None:
    text = "\n".join(text for page, text in DOCS.items() if page != cli_page.PAGE)
    options = [name for parameter in dict(cli_page.commands())["python tune.py"].params for name in parameter.opts]
    assert len(options) > 20
    assert [name for name in options if not re.search(rf"{name}(?![\w-])", text)] == []


def test_results_in_the_docs_are_small() -> None:
    assert sum(path.stat().st_size for path in (ROOT / "docs/results").rglob("*") if path.is_file()) < 6_000_000


def test_the_readme_is_short() -> None:
    assert len((ROOT / "README.md").read_text().splitlines()) <= 130


def test_changelog_citation_and_project_have_one_version() -> None:
    version = PROJECT["version"]
    released = re.findall(r"^## \[(.+?)\](?: - \d{4}-\d\d-\d\d)?$", (ROOT / "CHANGELOG.md").read_text(), re.MULTILINE)
    assert released[:2] == ["Unreleased", version]
    assert yaml.safe_load((ROOT / "CITATION.cff").read_text())["version"] == version


def test_the_readme_names_every_study() -> None:
    text = (ROOT / "README.md").read_text()
    assert [name for name in tune.study_names() if f"`{name}`" not in text] == []
