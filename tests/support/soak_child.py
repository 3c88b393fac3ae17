"""A daemon's day in a process of its own, whose memory is the daemon's alone. Argument: the folder. Prints what it was as JSON."""

import dataclasses
import json
import logging
import signal
import sys
from pathlib import Path

sys.path.insert(0, str(Path(__file__).parents[1]))

from support.soak import Soak


def main(folder: Path) -> None:
    logging.disable(logging.CRITICAL)
    before = signal.getsignal(signal.SIGTERM)
    soak = Soak(folder)
    status = soak.live()
    answer = {
        "status": status,
        "handler_is_back": signal.getsignal(signal.SIGTERM) is before,
        "samples": [dataclasses.asdict(sample) for sample in soak.samples],
    }
    print(json.dumps(answer))


if __name__ == "__main__":
    main(Path(sys.argv[1]))
