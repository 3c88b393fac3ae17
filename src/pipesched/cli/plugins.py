"""pydantic without its search for plugins, which reads what all installed packages say of themselves: a tenth of `list`."""

from __future__ import annotations

import sys
from importlib import import_module
from types import ModuleType
from typing import Any, Final

LOADER: Final = "pydantic.plugin._loader"


class NoPlugins(ModuleType):
    """In the place of pydantic's loader of plugins; anything but `get_plugins` is asked of the real one."""

    @staticmethod
    def get_plugins() -> tuple[()]:
        return ()

    def __getattr__(self, name: str) -> Any:
        if name.startswith("__"):
            raise AttributeError(name)
        sys.modules.pop(LOADER, None)
        return getattr(import_module(LOADER), name)


def look_for_none() -> None:
    """To be called before pydantic makes its first model."""
    sys.modules.setdefault(LOADER, NoPlugins(LOADER))
