"""The Python SDK as a backend: carries out the calls given on stdin, answers each with a line of JSON.

Input is a JSON object: `connect` holds the arguments of pusher.Pusher, `calls` is a list of
[method, keyword arguments]. A call that the server refuses is answered {"error": "Class: text"}.
"""

import json
import sys

import pusher
from pusher.errors import PusherError


def main() -> None:
    work = json.load(sys.stdin)
    client = pusher.Pusher(**work["connect"])
    for method, arguments in work["calls"]:
        try:
            answer = getattr(client, method)(**arguments)
        except PusherError as error:
            answer = {"error": f"{type(error).__name__}: {error}"}
        # The shared secret of an encrypted channel comes as bytes.
        print(json.dumps(answer, default=bytes.decode))


main()
