"""A worker of a node: ``python -m benchmarks.nodes.worker URL STORE_ID`` waits for a line on stdin, and then prints the
seconds until the dataset is whole, checked and a file of the node, and the processor time that it took.
"""

from __future__ import annotations

import sys
import time

from benchmarks.nodes.admin import TOKEN
from rafiki.store_location import StoreLocation
from rafiki.stores import open_data_store


def main(url: str, store_id: str) -> None:
    store = open_data_store(StoreLocation(url=url, credential=TOKEN))
    print("ready", flush=True)
    sys.stdin.readline()
    started, used = time.perf_counter(), time.process_time()
    path = store.get_path(store_id)
    print(time.perf_counter() - started, time.process_time() - used, path.stat().st_size, flush=True)
    sys.stdin.readline()
    store.close()


if __name__ == "__main__":
    main(*sys.argv[1:])
