"""What a refused caller is told beside the body: when to come again, and how to say who one is."""

from __future__ import annotations

from counterclone.errors import Busy, LimitExceeded, RequestError, Unauthenticated
from counterclone.guard import asgi


def headers_of(error: RequestError) -> asgi.Headers:
    """The headers of an error of ours."""
    if isinstance(error, LimitExceeded):
        return _of_limit(error)
    if isinstance(error, Unauthenticated):
        return [(b"www-authenticate", b"Bearer")]
    return [(b"retry-after", b"1")] if isinstance(error, Busy) else []


def _of_limit(error: LimitExceeded) -> asgi.Headers:
    """`Retry-After` (RFC 9110) and the fields of the IETF draft on rate limit headers."""
    window = round(error.period_seconds)
    headers = [(b"ratelimit-policy", b'"%s";q=%d;w=%d' % (error.limit.encode(), error.quota, window))]
    if error.retry_after_seconds is None:
        return headers
    wait = b"%d" % max(1, -int(-error.retry_after_seconds // 1))
    return [*headers, (b"retry-after", wait), (b"ratelimit", b'"%s";r=0;t=%s' % (error.limit.encode(), wait))]
