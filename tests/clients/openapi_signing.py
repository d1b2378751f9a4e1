"""Lets schemathesis in: signs each request as it goes on the wire, or adds the user's token.

Loaded by schemathesis as its hooks. GEMA_KEY and GEMA_SECRET are the app's, GEMA_TOKEN is a user's JWT.
"""

import hashlib
import hmac
import os
import time
from urllib.parse import parse_qsl, urlencode, urlsplit, urlunsplit

import requests
import schemathesis

KEY, SECRET, TOKEN = (os.environ[name] for name in ("GEMA_KEY", "GEMA_SECRET", "GEMA_TOKEN"))


class Signature(requests.auth.AuthBase):
    """Runs last before sending: method, path and body are what the server will see."""

    def __call__(self, request: requests.PreparedRequest) -> requests.PreparedRequest:
        url = urlsplit(request.url)
        if not url.path.startswith("/apps/"):
            request.headers["Authorization"] = f"Bearer {TOKEN}"
            return request

        body = request.body or b""
        body = body.encode() if isinstance(body, str) else body
        signing = {
            "auth_key": KEY,
            "auth_timestamp": str(int(time.time())),
            "auth_version": "1.0",
            "body_md5": hashlib.md5(body).hexdigest(),
        }
        generated = [
            (name, value)
            for name, value in parse_qsl(url.query, keep_blank_values=True)
            if name.lower() not in {*signing, "auth_signature"}
        ]
        query = [*generated, *signing.items()]
        text = "&".join(f"{name}={value}" for name, value in sorted(query, key=lambda pair: pair[0]))
        signed = f"{request.method}\n{url.path}\n{text}".encode()
        query.append(("auth_signature", hmac.new(SECRET.encode(), signed, hashlib.sha256).hexdigest()))
        request.url = urlunsplit(url._replace(query=urlencode(query)))
        return request


schemathesis.auth.set_from_requests(Signature())
