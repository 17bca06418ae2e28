"""The explorer as a server that answers this machine alone."""

import logging
import socket
from collections.abc import Callable
from html import escape
from importlib.resources import files
from socketserver import BaseServer
from typing import TYPE_CHECKING

from dash import Dash
from flask import Response, abort, request
from werkzeug.serving import BaseWSGIServer, make_server

from forecaster.errors import UsageError
from forecaster.explorer import callbacks
from forecaster.explorer.page import layout
from forecaster.explorer.subject import Subject

if TYPE_CHECKING:
    from forecaster.explorer.heads import Network

HOST = "127.0.0.1"
POLICY = (
    "default-src 'self'; script-src 'self' 'unsafe-inline'; style-src 'self' 'unsafe-inline';"
    " img-src 'self' data: blob:; connect-src 'self'; frame-ancestors 'none'"
)


def build_app(subject: Subject, network: "Network | None" = None) -> Dash:
    """The page and its callbacks. Nothing is asked of another place, and nothing is written."""
    own, report = files("forecaster.explorer"), files("forecaster.report")
    page = (own / "index.html").read_text("utf-8")
    for mark, place in (("@report@", report), ("@own@", own)):
        page = page.replace(mark, (place / "page.css").read_text("utf-8"))
    app = Dash(
        "forecaster.explorer",
        title="forecaster explore",
        update_title="",
        index_string=page,
        serve_locally=True,
        assets_folder="",
        include_assets_files=False,
        enable_mcp=False,
    )
    callbacks.connect(app, subject)
    if network is None:
        app.layout = layout(subject, None)
    else:
        from forecaster.explorer import attending  # torch: seconds that a plain explorer saves

        app.layout = layout(subject, attending.section(network))
        attending.connect(app, subject, network)
    app.server.before_request(_refuse_strangers)
    app.server.after_request(_restricted)
    return app


def _refuse_strangers() -> None:
    """Another site's page must not read this one by a name of its own for this address."""
    if request.host.partition(":")[0] not in {HOST, "localhost"}:
        abort(400, f"host {escape(request.host)}: wanted {HOST}")


def _restricted(response: Response) -> Response:
    response.headers["Content-Security-Policy"] = POLICY
    response.headers["X-Content-Type-Options"] = "nosniff"
    return response


def server(app: Dash, port: int) -> BaseWSGIServer:
    """A server of the app, listening; port 0 is any. Raises UsageError for one it cannot have."""
    logging.getLogger("werkzeug").setLevel(logging.ERROR)
    try:
        bound = socket.create_server((HOST, port))
    except OSError as error:  # werkzeug itself would exit
        why = (error.strerror or str(error)).lower()
        raise UsageError(f"port {port}: {why}; choose another --port, or 0 for any") from None
    with bound:  # werkzeug has its own copy
        return make_server(HOST, port, app.server, threaded=True, fd=bound.fileno())


def serve(made: BaseWSGIServer, open_browser: Callable[[str], object] | None) -> None:
    """Answer until Ctrl-C; another signal's interruption goes on as what it is."""
    if open_browser is not None:
        open_browser(f"http://{HOST}:{made.port}/")
    try:
        BaseServer.serve_forever(made)  # werkzeug's own would hide how it was stopped
    except KeyboardInterrupt as stopped:
        if type(stopped) is not KeyboardInterrupt:
            raise
    finally:
        made.server_close()
