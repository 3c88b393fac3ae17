"""A program that asks a collection all the time, through `pipesched.reader`; its stdin says when to stop.

Arguments: the store, the collection, the rows it must have, the row to search for with its vector as JSON. Prints a JSON line
when it has asked once, and another one at the end.
"""

import json
import select
import sys
import time


def main(storage_path: str, name: str, rows: int, wanted: str, vector: list[float]) -> None:
    from pipesched.reader import open_collection

    with open_collection(storage_path, name) as posts:
        asked, wrong, slowest, generations, changes = 0, [], 0.0, [posts.generation], {posts.changed}
        posts.query(query_embeddings=[vector], n_results=1)
        print(json.dumps({"model": posts.model, "query_prefix": posts.query_prefix}), flush=True)
        while not select.select([sys.stdin], [], [], 0)[0]:
            begun = time.monotonic()
            try:
                count = posts.count()
                found = posts.query(query_embeddings=[vector], n_results=1)["ids"][0]
                there = posts.get(ids=[wanted])["ids"]
                if (count, found, there) != (rows, [wanted], [wanted]):
                    wrong.append(f"{count} {found} {there}")
            except Exception as error:  # noqa: BLE001  any of them is what the test is about
                wrong.append(f"{type(error).__name__}: {error}")
            slowest = max(slowest, time.monotonic() - begun)
            if posts.generation != generations[-1]:
                generations.append(posts.generation)
            changes.add(posts.changed)
            asked += 1
    answer = {
        "asked": asked, "wrong": wrong[:5], "slowest": slowest, "generations": generations, "changes": len(changes)
    }  # fmt: skip
    print(json.dumps(answer), flush=True)


if __name__ == "__main__":
    main(sys.argv[1], sys.argv[2], int(sys.argv[3]), sys.argv[4], json.loads(sys.argv[5]))
