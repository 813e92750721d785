"""`phimage console`: a link into the console of a server."""

from __future__ import annotations

import click

from phimage.cli.output import echo, json_option, note, print_json
from phimage.cli.profile import Session, signed
from phimage.errors import ClientError


@click.command(short_help="Sign in to the console in a browser.")
@click.option("--open", "open_browser", is_flag=True, help="Open the link in the browser of this machine.")
@json_option
@signed
def console(session: Session, open_browser: bool, as_json: bool) -> None:
    """Print a link that signs a browser in to the console, with the rights of the key. It works once, within a minute.

    \b
    Examples:
      phimage console
      phimage console --open
    """
    fields = session.client.call("CreateConsoleLogin").fields
    url = fields["LoginUrl"]
    if as_json:
        print_json({"LoginUrl": url, "ExpireTime": fields["ExpireTime"]})
    elif not open_browser:
        echo(url)
        note("open it within a minute; it works once")
    if open_browser:
        import webbrowser

        if not webbrowser.open(url):
            raise ClientError("this machine has no browser that can be opened: run the command without --open")
