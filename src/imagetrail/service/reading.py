"""The pictures of a request: a form's files, or the body alone."""

import sys

from starlette.datastructures import UploadFile
from starlette.exceptions import HTTPException
from starlette.formparsers import MultiPartException, MultiPartParser
from starlette.requests import Request

from imagetrail.service.answering import Sent

FIELDS = 8  # of a form beside its files, which are not looked at


class InMemory(MultiPartParser):
    """Writes nothing to the disk, which may be read-only: what a request may hold is bounded."""

    spool_max_size = sys.maxsize


async def pictures(request: Request, *, most: int) -> list[Sent]:
    """Name and content of each; raises HTTPException if there are none, or more than `most`."""
    if not request.headers.get("content-type", "").startswith("multipart/form-data"):
        content = await request.body()
        if not content:
            raise HTTPException(400, "send a picture as the body, or several as files of a form")
        return [("picture", content)]
    parser = InMemory(request.headers, request.stream(), max_files=most, max_fields=FIELDS)
    try:
        form = await parser.parse()
    except MultiPartException as error:
        raise HTTPException(400, error.message) from None
    files = [value for _, value in form.multi_items() if isinstance(value, UploadFile)]
    if not files:
        raise HTTPException(400, "the form has no file")
    return [(file.filename or "picture", await file.read()) for file in files]
