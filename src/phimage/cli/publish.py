"""`phimage image publish` and `phimage image wait`: from a file or a URL to an image that machines can run."""

from __future__ import annotations

import time
from hashlib import sha256
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click
import msgspec
from click.core import ParameterSource

from phimage.cli.exit_codes import file_errors
from phimage.cli.output import echo, json_option, note, print_json
from phimage.cli.profile import Session, signed
from phimage.cli.progress import Progress
from phimage.client import Client
from phimage.errors import ClientError, NotPermitted, PhimageError, Refused, Unreachable

if TYPE_CHECKING:
    from phimage.sources.source import LocalFile

_MIN_PAUSE, _MAX_PAUSE = 0.1, 1.0
"""Seconds between two questions about a publication: a twentieth of the time since the first one, within these."""
_RETRY_SECONDS = 0.3
_MAX_BY_CHUNKS = 200 << 30
"""Bytes of the largest disk that is sent by chunks: their list must fit into one request."""
AWAY_SECONDS = 60.0
"""Time that a server has to restart before a call fails."""
PHASES = {
    "": "waiting",
    "capture": "capturing",
    "fetch": "fetching",
    "unpack": "unpacking",
    "examine": "examining",
    "convert": "converting",
    "store": "storing",
}


class PublishFailed(ClientError):
    """The image was refused, or its source failed."""

    exit_code = 65


def many(ctx: click.Context, param: click.Parameter, value: tuple[str, ...]) -> tuple[str, ...]:
    """The values of an option that may be repeated and may contain commas."""
    return tuple(part.strip() for text in value for part in text.split(",") if part.strip())


@click.command(short_help="Publish a disk image.")
@click.argument("source", metavar="FILE|URL|-")
@click.option("--name", required=True, help="Name of the image, for people.")
@click.option("--os-type", required=True, help="Distribution family: Debian, Ubuntu, CentOS, Windows, ...")
@click.option("--os-name", required=True, help="The operating system, for people: Debian 12 64bit.")
@click.option("--version", default="", help="Version, as any text.")
@click.option("--family", default="", help="Name that all versions of the image share: debian-12.")
@click.option("--description", default="", help="Description, for people.")
@click.option("--label", "labels", multiple=True, metavar="KEY=VALUE", help="A label, for filters; may be repeated.")
@click.option("--zone", "zones", multiple=True, required=True, callback=many, metavar="ZONE,...", help="Zones of the image.")
@click.option(
    "--support",
    multiple=True,
    required=True,
    callback=many,
    metavar="TYPE[:CLUSTER],...",
    help="Machine types to run it.",
)
@click.option(
    "--type",
    "type_",
    type=click.Choice(["base", "custom"], case_sensitive=False),
    required=True,
    help="base: everyone sees the image; operators only. custom: one project sees it.",
)
@click.option(
    "--project", envvar="PHIMAGE_PROJECT", help="Project of a custom image; required for operators and for a sub-user."
)
@click.option("--digest", metavar="sha256:HEX", default="", help="Expected digest of the file.")
@click.option(
    "--checksum-file", type=click.Path(exists=True, dir_okay=False, path_type=Path), help="Checksum file that lists it."
)
@click.option("--checksum-url", metavar="URL", default="", help="URL of such a file, fetched by the server.")
@click.option("--trust-first-use", is_flag=True, help="Publish without an expected digest, and record the computed one.")
@click.option(
    "--format", "format_", default="", metavar="NAME", help="Format of the file: raw, qcow2, ...  [default: detected]"
)
@click.option(
    "--override", "overrides", multiple=True, callback=many, metavar="ID,...", help="Findings to accept; operators only."
)
@click.option("--detach", is_flag=True, help="Do not wait for the publication.")
@json_option
@signed
def publish(
    session: Session,
    source: str,
    checksum_file: Path | None,
    detach: bool,
    as_json: bool,
    **given: Any,
) -> None:
    """Publish a disk image: raw, qcow2, VMDK, VHD, VHDX or ISO, also compressed as .gz, .xz, .zst or .bz2.

    A custom image is for one project, whose editors publish it; operators publish custom images for every project, and base
    images for everyone. The command says who will see the image before it sends anything.

    A file or standard input (-) is uploaded, a URL is fetched by the server. One of --digest, --checksum-file, --checksum-url
    or --trust-first-use is required. The image is Making until its bytes are complete and verified. After an interruption, run
    the same command again to resume. Of a raw disk only the data is sent that neither a base image nor the project has.

    \b
    Examples:
      phimage image publish disk.raw --type custom --trust-first-use --name Web --os-type Debian --os-name "Debian 12 64bit" \\
        --zone cn-bj2-02 --support DB-2
      phimage image publish debian-12.qcow2 --type base --name "Debian 12" --os-type Debian --os-name "Debian 12 64bit" \\
        --version 12.7 --family debian-12 --zone cn-bj2-02 --support DB-2,Base-SSD-V5 --checksum-file SHA512SUMS
      phimage image publish https://images.example/debian-12.raw.xz --type base --digest sha256:9f86d0... --name ...
      zstdcat disk.raw.zst | phimage image publish - --type custom --trust-first-use --name ...
    """
    client = session.client
    is_url = source.startswith(("http://", "https://"))
    if not is_url and "://" in source:
        raise click.UsageError(f"{source.partition('://')[0]}:// is not supported; give a file, an http(s) URL or -")
    params = _params(given, source, is_url, checksum_file)
    params["ProjectId"] = _project(session, given)
    with Progress(quiet=as_json) as progress:
        if is_url:
            begun = _begin(client, params, Url=source, Token=_token(client, params, source))
        else:
            begun = _upload(client, source, params, progress)
        image = begun["ImageId"]
        if not detach:
            ended = follow(client, image, progress, params["ProjectId"])
    if detach:
        ended = begun
    if as_json:
        print_json({name: value for name, value in ended.items() if name not in ("RetCode", "Action", "UploadUrl")})
    else:
        for remark in ended.get("Findings", ()):
            note(f"remark: {remark}")
        echo(image)
        note(f"to wait for it: phimage image wait {image}" if detach else f"published as {image}")


@click.command(short_help="Wait until an image is published.")
@click.argument("id")
@click.option("--project", envvar="PHIMAGE_PROJECT", help="Project of the image; required for a sub-user.")
@json_option
@signed
def wait(session: Session, id: str, project: str | None, as_json: bool) -> None:
    """Wait for the end of a publication. Exits with 65 and the reason if it failed.

    \b
    Example:
      phimage image wait pimg-os-xev4rz2k
    """
    with Progress(quiet=as_json) as progress:
        ended = follow(session.client, id, progress, session.given("project", project))
    if as_json:
        print_json({name: value for name, value in ended.items() if name not in ("RetCode", "Action")})
    else:
        echo(id)


def follow(client: Client, image: str, progress: Progress, project: str | None) -> dict[str, Any]:
    """Show the progress of a publication until its end, and return the job. Raises PublishFailed with the reason."""
    reason, begun = "", time.monotonic()
    try:
        while True:
            job = _call(client, "GetPHostImageJob", ImageId=image, ProjectId=project)
            if job["State"] == "Failed":
                raise PublishFailed(job["Error"])
            if job["State"] == "Done":
                return job
            if job["State"] == "Waiting" and not job.get("PHostId"):
                raise PublishFailed(f"{image} waits for its upload: run its `phimage image publish` again to resume")
            if job["State"] == "Queued" and job["Error"] not in ("", reason):
                reason = job["Error"]
                note(f"{image} waits and is retried: {reason}")
            progress.at(PHASES.get(job["Phase"], job["Phase"]), job["Done"], job["Total"] or None)
            time.sleep(max(_MIN_PAUSE, min((time.monotonic() - begun) / 20, _MAX_PAUSE)))
    except KeyboardInterrupt:
        note(
            f"\nthe server still publishes {image}: follow it with `phimage image wait {image}`, "
            f"stop it with `phimage image rm {image}`"
        )
        raise


def _call(client: Client, action: str, **params: Any) -> dict[str, Any]:
    """Call an Action that may be repeated, and retry while the server is away. Raises Unreachable after AWAY_SECONDS."""
    ends = time.monotonic() + AWAY_SECONDS
    while True:
        try:
            return client.call(action, **params).fields
        except Unreachable as away:
            if time.monotonic() > ends:
                raise Unreachable(f"{away}; then run the same command again to resume") from None
            time.sleep(_RETRY_SECONDS)


def _params(given: dict[str, Any], source: str, is_url: bool, checksum_file: Path | None) -> dict[str, Any]:
    """The parameters of PublishPHostImage, without the source."""
    from phimage.sources.checksums import find_digest

    name = source.rpartition("/")[2].partition("?")[0] if is_url else "-" if source == "-" else Path(source).name
    digest = given["digest"]
    if checksum_file is not None:
        if digest:
            raise click.UsageError("give --digest or --checksum-file, not both")
        with file_errors(checksum_file):
            text = checksum_file.read_text("utf-8", "replace")
        digest = str(find_digest(text, name if is_url or source == "-" else source, str(checksum_file)).digest)
    known = (digest, given["checksum_url"], given["trust_first_use"])
    if sum(map(bool, known)) != 1:
        raise click.UsageError("give exactly one of --digest, --checksum-file, --checksum-url, --trust-first-use")
    return {
        "Name": given["name"],
        "OsType": given["os_type"],
        "OsName": given["os_name"],
        "Version": given["version"] or None,
        "Family": given["family"] or None,
        "Label": given["labels"],
        "Description": given["description"] or None,
        "Zone": given["zones"],
        "Support": given["support"],
        "ImageType": given["type_"].capitalize(),
        "FileName": name,
        "Digest": digest or None,
        "ChecksumUrl": given["checksum_url"] or None,
        "TrustFirstUse": given["trust_first_use"] or None,
        "Format": given["format_"] or None,
        "Override": given["overrides"],
    }


def _project(session: Session, given: dict[str, Any]) -> str | None:
    """The project of a custom image: of the option, the variable or the profile. Raises UsageError for that of a base image."""
    if given["type_"] == "custom":
        return session.given("project", given["project"])
    if click.get_current_context().get_parameter_source("project") is ParameterSource.COMMANDLINE:
        raise click.UsageError("a base image is for everyone: leave --project out, or give --type custom")
    return None


def _begin(client: Client, params: dict[str, Any], **more: Any) -> dict[str, Any]:
    """Begin a publication, and say on standard error who will see the image."""
    try:
        begun = client.call("PublishPHostImage", **params, **more).fields
    except Refused as refused:
        if refused.ret_code != NotPermitted.ret_code or params["ImageType"] != "Base":
            raise
        raise ClientError(f"{refused}: only operators publish base images; --type custom is for one project") from None
    project, zones = begun["ProjectId"], ", ".join(params["Zone"])
    note(f"{begun['ImageId']} is for {f'project {project} only' if project else f'everyone in {zones}'}")
    return begun


def _upload(client: Client, path: str, params: dict[str, Any], progress: Progress) -> dict[str, Any]:
    """Begin or resume an upload, and complete it."""
    from phimage.sources.digest import FIRST_USE, expected_digest
    from phimage.sources.errors import SourceError
    from phimage.sources.progress import TransferProgress as Sending
    from phimage.sources.source import open_source
    from phimage.upload_client import upload, upload_disk

    source = open_source(path)
    _check_head(source, path, params)
    token = _token(client, params, f"{source.name}\n{source.version}")
    begun = _begin(client, params, Size=source.size, Token=token)
    image, first = begun["ImageId"], begun["UploadUrl"]
    project = params["ProjectId"]
    if not first:  # an earlier run has completed the upload
        if not source.repeatable and begun["State"] == "Done":
            _require_same(client, source, image, project)
        return begun

    def open_url() -> str:
        nonlocal first
        url, first = first, ""
        return url or str(client.call("GetPHostImageUploadUrl", ImageId=image, ProjectId=project).fields["UploadUrl"])

    def tell(sending: Sending) -> None:
        progress.at("uploading", sending.done, sending.total)

    try:
        by_chunks = _as_disk(source)
        disk = upload_disk(by_chunks, open_url, on_progress=tell) if by_chunks else None
        if disk is None:
            expected = expected_digest(params["Digest"]) if params["Digest"] else FIRST_USE
            sent = upload(source, open_url, expected=expected, on_progress=tell)
            size, digest = sent.size, next(str(found) for name, found in sent.digests.items() if name == "sha256")
        else:
            size, digest = disk.size, ""
    except KeyboardInterrupt:
        note("\nwhat was sent is kept for an hour: run the same command again to resume")
        raise
    except SourceError as error:
        if error.exit_code != PublishFailed.exit_code:
            raise  # a temporary failure: the same command resumes
        raise PublishFailed(f"{image} was not published: {error}") from None
    _call(client, "CompletePHostImageUpload", ImageId=image, ProjectId=project, Size=size, Digest=digest)
    return begun


def _require_same(client: Client, source: Any, image: str, project: str | None) -> None:
    """Raises PublishFailed unless a pipe has the bytes of a published image: its token says nothing about its bytes."""
    from phimage.sources.digest import READ_SIZE, Hashes, expected_digest

    expected = expected_digest(client.call("GetPHostImage", ImageId=image, ProjectId=project).fields["Origin"]["Digest"])
    hashes = Hashes(expected)
    with source.open() as reader:
        while piece := reader.read(READ_SIZE):
            hashes.update(piece)
    if expected.digest not in hashes.digests().values():
        raise PublishFailed(f"{image} was published by the same command, from other bytes: give another --name or --version")


def _as_disk(source: Any) -> LocalFile | None:
    """A source that is a raw disk and can be sent by chunks. Other formats are examined as files, and sent in parts."""
    from phimage.publishing.original import is_plain, is_raw_disk
    from phimage.sources.source import LocalFile

    if not isinstance(source, LocalFile) or source.size > _MAX_BY_CHUNKS:
        return None
    return source if is_plain(source) and is_raw_disk(source.path) else None


def _check_head(source: Any, path: str, params: dict[str, Any]) -> None:
    """Refuse before the upload what the first MiB shows to be unacceptable. Raises PublishFailed."""
    from phimage.formats.limits import LIMITS
    from phimage.publishing.original import check_head
    from phimage.sources.sniff import HEAD
    from phimage.sources.sniff import check_head as check_page

    if not source.repeatable:
        return
    with source.open() as reader:
        head = reader.read(HEAD)
    if not head:
        raise PublishFailed(f"{path}: it is empty; give the file of an image")
    check_page(path, head)
    try:
        check_head(head, source.size, params["Format"] or "", frozenset(params["Override"]), LIMITS)
    except PhimageError as error:
        raise PublishFailed(f"{path}: {error}") from None


def _token(client: Client, params: dict[str, Any], source: str) -> str:
    """A token that depends on the key, the parameters and the source: the same command resumes its publication."""
    # docs/decisions.md#tokens-make-publishing-repeatable
    text = msgspec.json.encode([client.public_key, sorted((name, str(value)) for name, value in params.items()), source])
    return f"cli-{sha256(text).hexdigest()}"
