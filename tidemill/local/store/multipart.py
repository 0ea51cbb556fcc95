"""multipart/form-data (RFC 7578), as drivers send long queries, parameters and external tables. Pure."""

from __future__ import annotations

from email.message import Message
from typing import NamedTuple

from tidemill.local.store.faults import BAD_ARGUMENTS, refusal


class Part(NamedTuple):
    """One field; ``file`` says whether it came with a file name."""

    name: str
    file: bool
    content: bytes


def boundary_of(content_type: str) -> bytes | None:
    """The boundary of a multipart/form-data Content-Type, None for any other type. Raises StoreFault without one."""
    header = Message()
    header["content-type"] = content_type
    if header.get_content_type() != "multipart/form-data":
        return None
    boundary = header.get_boundary()
    if not boundary:
        raise refusal(BAD_ARGUMENTS, "multipart/form-data needs a boundary in its Content-Type")
    return boundary.encode()


def parts(body: bytes, boundary: bytes) -> list[Part]:
    """The fields of a body, in order. Raises StoreFault when the body is cut off or a field has no name."""
    fields = (b"\r\n" + body).split(b"\r\n--" + boundary)
    if len(fields) < 2 or not fields[-1].startswith(b"--"):
        raise refusal(BAD_ARGUMENTS, "The multipart body has no closing boundary: it was cut off")
    return [_part(field.removeprefix(b"\r\n")) for field in fields[1:-1]]


def _part(field: bytes) -> Part:
    head, _, content = field.partition(b"\r\n\r\n")
    message = Message()
    for line in head.split(b"\r\n"):
        name, _, value = line.decode("utf-8", "replace").partition(":")
        message[name.strip() or "x"] = value.strip()
    field_name = message.get_param("name", header="content-disposition")
    if not isinstance(field_name, str) or not field_name:
        raise refusal(BAD_ARGUMENTS, "A multipart field has no name")
    return Part(field_name, message.get_filename() is not None, content)
