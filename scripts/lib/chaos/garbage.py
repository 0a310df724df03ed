"""Heads and chunks that are not as they should be."""

LAST = "X-Last: {id}\r\n\r\n"
BEGIN = "POST {target} HTTP/1.1\r\nHost: chaos\r\nX-First: {id}\r\n"

# Two blocks of a body follow, which are a body or nothing.
FRAMED = (
    BEGIN + "Content-Length: 128\r\nContent-Length: 64\r\n" + LAST,
    BEGIN + "Content-Length: 128\r\nTransfer-Encoding: chunked\r\n" + LAST,
    BEGIN + "Transfer-Encoding: chunked\r\nContent-Length: 64\r\n" + LAST,
    BEGIN + "Transfer-Encoding: chunked, identity\r\n" + LAST,
    BEGIN + "Transfer-Encoding:\x0bchunked\r\n" + LAST,
    BEGIN + "Transfer-Encoding : chunked\r\nContent-Length: 128\r\n" + LAST,
    BEGIN + "Transfer_Encoding: chunked\r\nContent-Length: 128\r\n" + LAST,
    BEGIN + "X: a\r\n Transfer-Encoding: chunked\r\nContent-Length: 128\r\n" + LAST,
    BEGIN + "Content-Length: +128\r\n" + LAST,
    BEGIN + "Content-Length: -1\r\n" + LAST,
    BEGIN + "Content-Length: 128, 128\r\n" + LAST,
    BEGIN + "Content-Length: 99999999999999999999\r\n" + LAST,
    BEGIN + "Content-Length: 0x80\r\n" + LAST,
    BEGIN + "Content-Length: 128\r\nX: \0\r\n" + LAST,
    BEGIN + "Content-Length: 128\r\nno colon\r\n" + LAST,
    BEGIN + "Content-Length: 128\r\n: no name\r\n" + LAST,
    BEGIN + "Content-Length: 128\r\nX: {long}\r\n" + LAST,
    BEGIN + "Content-Length: 128\r\nHost: another\r\n" + LAST,
    BEGIN + "Content-Length: 128\r\nX: \xff\xfe\r\n" + LAST,
    BEGIN.replace("\r\n", "\n") + "Content-Length: 128\n" + LAST.replace("\r\n", "\n"),
    "POST {target} HTTP/1.0\r\nX-First: {id}\r\nTransfer-Encoding: chunked\r\nConnection: keep-alive\r\n" + LAST,
    "POST {target} HTTP/1.1\r\nX-First: {id}\r\nContent-Length: 128\r\n" + LAST,
    "POST http://chaos{target} HTTP/1.1\r\nHost: chaos\r\nX-First: {id}\r\nContent-Length: 128\r\n" + LAST,
    "POST {target} HTTP/3.9\r\nHost: chaos\r\nX-First: {id}\r\nContent-Length: 128\r\n" + LAST,
    "post {target} HTTP/1.1\r\nHost: chaos\r\nX-First: {id}\r\nContent-Length: 128\r\n" + LAST,
)

# Nothing follows.
UNFRAMED = (
    "POST {target}{long} HTTP/1.1\r\nHost: chaos\r\n" + LAST,
    "POST /%00{target} HTTP/1.1\r\nHost: chaos\r\n" + LAST,
    "POST /../..{target} HTTP/1.1\r\nHost: chaos\r\n" + LAST,
    "CONNECT chaos:80 HTTP/1.1\r\nHost: chaos\r\n" + LAST,
    "TRACE {target} HTTP/1.1\r\nHost: chaos\r\n" + LAST,
    "{target}\r\n\r\n",
    "\r\n\r\n\r\n\0\r\n",
    "PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n",
)

# A good chunk may come before, and more of the body behind. None of them ends a body: what is behind would be a request.
BROKEN_CHUNKS = (
    b"x\r\n", b"-1\r\n", b"+40\r\n", b"0x40\r\n", b"40", b"40\n", b"40 \r\n", b" 40\r\n", b"\r\n40\r\n", b"40\r\r\n", b"3f\r\n",
    b"80000\r\n", b"fffff\r\n", b"ffffffffffffffff\r\n", b"\0", b"",
)
