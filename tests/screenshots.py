"""Makes pictures of each screen: `python -m tests.screenshots --save FOLDER`.

With `--tutorial` it makes those of the tutorial alone: `--tutorial --save docs/pictures`.
"""

import argparse
import tempfile
from contextlib import ExitStack
from pathlib import Path
from typing import Any

from tests.support.browsing import DESKTOP, PHONE, Reader, chromium, page_service, seed
from tests.support.tutorial import follow
from tests.support.wholepage import OPERATOR, OWNER, WholePage, whole_page

SCREENS = {
    "subscriptions": "",
    "new": "subscriptions/new?jsonpath=%24.data",
    "workbench": "workbench?jsonpath=%24.data%5B*%5D%5B%3F(%40.destinationTable+%3D+%22Files%22+"
    "and+%40.mimetype+%3D+%22text%2Fplain%22)%5D",
}


def main() -> None:
    """Save the pictures, light and dark, for a desktop and for a phone."""
    parser = argparse.ArgumentParser("python -m tests.screenshots", description=__doc__)
    parser.add_argument("--save", type=Path, required=True, help="the folder of the pictures")
    parser.add_argument("--tutorial", action="store_true", help="those of the tutorial alone")
    arguments = parser.parse_args()
    folder = arguments.save
    folder.mkdir(parents=True, exist_ok=True)
    if arguments.tutorial:
        _save_tutorial(folder)
    else:
        _save_screens(folder)


def _save_tutorial(folder: Path) -> None:
    with (
        tempfile.TemporaryDirectory() as kept,
        whole_page(Path(kept)) as whole,
        chromium() as browser,
        ExitStack() as windows,
    ):

        def reads(user: str, **options: Any) -> Reader:
            return windows.enter_context(Reader(whole.service, browser, user, options))

        follow(whole, reads, lambda name, made: _write(folder / f"{name}.png", made))


def _write(file: Path, picture: bytes) -> None:
    file.write_bytes(picture)
    print(f"{file} {len(picture)}")


def _save_screens(folder: Path) -> None:
    with (
        tempfile.TemporaryDirectory() as kept,
        page_service(Path(kept) / "service") as service,
        chromium() as browser,
    ):
        user = "ann"
        seed(service, user)
        for scheme in ("light", "dark"):
            for kind, size in (("desktop", DESKTOP), ("phone", PHONE)):
                options = {"viewport": size, "color_scheme": scheme}
                with Reader(service, browser, user, options) as reader:
                    for name, path in SCREENS.items():
                        reader.opens(path)
                        file = folder / f"{name}-{kind}-{scheme}.png"
                        reader.page.screenshot(path=str(file), full_page=True)
                        print(file)
        with whole_page(Path(kept) / "whole") as whole:
            _save_whole(whole, browser, folder)


def _save_whole(whole: WholePage, browser: Any, folder: Path) -> None:
    """Save the screens on which something must have happened."""
    kinds = (("desktop", DESKTOP), ("phone", PHONE))
    windows = [(scheme, *kind) for scheme in ("light", "dark") for kind in kinds]
    for scheme, kind, size in windows:
        for user in (OWNER, OPERATOR):
            options = {"viewport": size, "color_scheme": scheme}
            with Reader(whole.service, browser, user, options) as reader:
                for name, (path, who) in whole.screens().items():
                    if who == user:
                        reader.opens(path)
                        file = folder / f"{name}-{kind}-{scheme}.png"
                        reader.page.screenshot(path=str(file), full_page=True)
                        print(file)


if __name__ == "__main__":
    main()
