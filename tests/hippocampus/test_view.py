"""A view as an object of the process."""

from __future__ import annotations

import gc
import weakref

from hippomem.hippocampus.view import View


def test_a_view_lets_go_of_its_files_as_soon_as_nobody_holds_it() -> None:
    gc.disable()  # a process with many views, as a server has, would run out of file handles between two collections
    try:
        view = View()
        held = weakref.ref(view)
        del view
        assert held() is None
    finally:
        gc.enable()
