"""Runs in processes of their own, with the real store and the model that costs nothing; to be killed.

Each line of stdin asks for one: {"home", "log", "fault", "options", "rebuild", "hours" to come}; `home/posts` is the folder, and every text that
is embedded is logged in `log`. Answers with two lines: the process's id, and how it ended. Each run is a fork of a process
that has imported all it needs and opened nothing, which saves a second a run.
"""

import json
import os
import sys
import traceback
from datetime import timedelta
from pathlib import Path
from typing import Any


def run(request: dict[str, Any]) -> None:
    from pipesched.pipeline import faults
    from support.indexing import Index, Model

    if request["fault"]:
        os.environ[faults.VARIABLE] = request["fault"]
    index = Index(Path(request["home"]), model=Model(log=Path(request["log"])), real_store=True)
    index.now += timedelta(hours=request["hours"])
    outcome = index.run(rebuild=request["rebuild"], **request["options"])
    Path(request["log"]).with_suffix(".outcome").write_text(f"{outcome.status}: {outcome.message}")


def serve() -> None:
    import chromadb  # noqa: F401
    import numpy as np  # noqa: F401

    import support.indexing  # noqa: F401

    for line in sys.stdin:
        request = json.loads(line)
        pid = os.fork()
        if pid == 0:
            try:
                run(request)
            except BaseException:  # noqa: BLE001  a fork must not go on as the server
                traceback.print_exc()
                os._exit(1)
            os._exit(0)
        print(pid, flush=True)
        _, status = os.waitpid(pid, 0)
        print(os.waitstatus_to_exitcode(status), flush=True)


if __name__ == "__main__":
    sys.path.insert(0, str(Path(__file__).parents[1]))
    serve()
