"""The command line, the connection, and what is wrong with it."""

import argparse
import os

import redis
from redis.backoff import NoBackoff
from redis.retry import Retry

from .sample import Server
from .text import printable


def arguments():
    parser = argparse.ArgumentParser(
        prog="wb-top", add_help=False,
        description="Shows what the module writebehind of a Redis or Valkey server does, live.",
    )  # fmt: skip
    add = parser.add_argument
    add("--help", action="help", help="show this help and exit")
    add("-h", "--host", default="127.0.0.1", metavar="HOST", help="127.0.0.1 by default")
    add("-p", "--port", default=6379, type=int, metavar="PORT", help="6379 by default")
    add("-s", "--socket", metavar="PATH", help="a Unix socket, in place of host and port")
    add("-n", "--database", type=int, metavar="DB", help="only the prefixes of this logical database")
    add("--user", metavar="NAME", help="the ACL user")
    add("-a", "--pass", dest="password", default=os.environ.get("REDISCLI_AUTH"), metavar="PASSWORD",
        help="the environment variable REDISCLI_AUTH is safer")  # fmt: skip
    add("--tls", action="store_true", help="connect with TLS")
    add("--cacert", metavar="FILE", help="the certificates of the authorities to trust")
    add("--cert", metavar="FILE", help="the client's certificate")
    add("--key", metavar="FILE", help="the key of the client's certificate")
    add("--insecure", action="store_true", help="accept any certificate of the server")
    add("--interval", default=1.0, type=float, metavar="SECONDS", help="between two refreshes, 1 by default")
    add("--once", action="store_true", help="print one snapshot and exit")
    options = parser.parse_args()
    if not 0.1 <= options.interval <= 3600:
        parser.error("--interval must be between 0.1 and 3600")
    return options


def connect(options) -> Server:
    if options.socket:
        place = {"unix_socket_path": options.socket}
    else:
        place = {"host": options.host, "port": options.port}
    if options.tls:
        for file in filter(None, [options.cacert, options.cert, options.key]):
            open(file).close()  # its error names the file
        place.update(ssl=True, ssl_ca_certs=options.cacert, ssl_certfile=options.cert, ssl_keyfile=options.key,
                     ssl_cert_reqs="none" if options.insecure else "required",
                     ssl_check_hostname=not options.insecure)  # fmt: skip
    client = redis.Redis(
        **place, db=options.database or 0, username=options.user, password=options.password,
        socket_timeout=3, socket_connect_timeout=3, retry=Retry(NoBackoff(), 0),
    )  # fmt: skip
    return Server(client, options.database or 0, options.database is not None)


def reason(error: Exception, address: str) -> str:
    """One sentence for any error of a sample."""
    text = printable(str(error), 300).replace("\\x0a", " ")
    if isinstance(error, redis.exceptions.AuthenticationError) or text.startswith(("NOAUTH", "WRONGPASS")):
        return f"{address} requires a user and password that it accepts (--user, REDISCLI_AUTH): {text}"
    if isinstance(error, redis.exceptions.NoPermissionError) or text.startswith("NOPERM"):
        return f"the user lacks a permission: {text}"
    if "unknown command" in text.lower():
        return f"{address} has not loaded the module writebehind: {text}"
    if isinstance(error, redis.exceptions.TimeoutError):
        return f"no reply from {address} within 3 s"
    cause = error.__cause__ or error.__context__
    if isinstance(error, redis.exceptions.ConnectionError) and isinstance(cause, OSError):
        return f"cannot connect to {address}: {cause.strerror or text}"
    return f"{address}: {text}"
