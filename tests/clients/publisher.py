"""The Python SDK as a backend: carries out the calls given on stdin, answers each with a line of JSON.

Input is a JSON object: `connect` holds the arguments of pusher.Pusher, `calls` is a list of
[method, keyword arguments].
"""

import json
import sys

import pusher


def main() -> None:
    work = json.load(sys.stdin)
    client = pusher.Pusher(**work["connect"])
    for method, arguments in work["calls"]:
        print(json.dumps(getattr(client, method)(**arguments)))


main()
