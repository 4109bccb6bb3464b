"""What kinds of picture there are, and how their files begin, for words.

Which file is taken, Pillow decides by its content alone.
"""

TAKEN = ("JPEG", "PNG", "WEBP", "TIFF", "BMP", "GIF", "AVIF", "JPEG2000")  # as Pillow calls them
NAMES = "JPEG, PNG, WebP, TIFF, BMP, GIF, AVIF or JPEG 2000"
HEAD = 512  # bytes that tell the kind
# (bytes, where, kind): the kinds above, whose name means a damaged file, and others
SIGNATURES = (
    (b"\xff\xd8\xff", 0, "JPEG"),
    (b"\x89PNG\r\n\x1a\n", 0, "PNG"),
    (b"WEBP", 8, "WebP"),
    (b"CR", 8, "Canon raw"),
    (b"II*\0", 0, "TIFF"),
    (b"MM\0*", 0, "TIFF"),
    (b"GIF8", 0, "GIF"),
    (b"ftypavi", 4, "AVIF"),
    (b"\0\0\0\x0cjP  ", 0, "JPEG 2000"),
    (b"\xff\x4f\xff\x51", 0, "JPEG 2000"),
    (b"ftyphe", 4, "HEIC"),
    (b"ftypmif1", 4, "HEIC"),
    (b"ftypcrx", 4, "Canon raw"),
    (b"FUJIFILM", 0, "Fuji raw"),
    (b"\0\0\0\x0cJXL ", 0, "JPEG XL"),
    (b"\xff\x0a", 0, "JPEG XL"),
    (b"DICM", 128, "DICOM"),
    (b"8BPS", 0, "Photoshop"),
    (b"v/1\x01", 0, "OpenEXR"),
    (b"#?", 0, "Radiance HDR"),
    (b"%!PS", 0, "PostScript"),
    (b"%PDF", 0, "PDF"),
    (b"\0\0\1\0", 0, "icon"),
    (b"<svg", 0, "SVG"),
    (b"<?xml", 0, "SVG or other XML"),
    (b"<!doctype", 0, "web page"),
    (b"<html", 0, "web page"),
    *((b"P%d" % number, 0, "Netpbm") for number in range(1, 8)),
    (b"BM", 0, "BMP"),
)


def kind(head: bytes) -> str | None:
    """What a file is that begins so."""
    low = head.lower()
    found = (
        name
        for start, at, name in SIGNATURES
        if start in (head[at:][: len(start)], low[: len(start)])
    )
    return next(found, None)


def refusal(head: bytes) -> str:
    """Why a file that begins so, and that Pillow cannot open, is not taken."""
    name = kind(head)
    if name is None:
        return f"no {NAMES} picture"
    if name in NAMES:
        return f"damaged ({name}, but its header cannot be read)"
    if name == "HEIC":
        return "HEIC, which is taken where the package pi-heif is installed; or save it as JPEG"
    return f"{name}, which is not taken; save it as {NAMES}"


def without_text(content: bytes) -> bytes:
    """A PNG without its texts and its colour profile: Pillow refuses one where they are large."""
    kept, at = [content[:8]], 8
    while at + 8 <= len(content):
        end = at + 12 + int.from_bytes(content[at : at + 4])
        if content[at + 4 : at + 8] not in (b"tEXt", b"zTXt", b"iTXt", b"iCCP"):
            kept.append(content[at:end])
        at = end
    return b"".join(kept)
