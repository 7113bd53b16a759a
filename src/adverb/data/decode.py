"""One encoded image to uint8 pixels: palettes, 16 bits, CMYK, transparency and EXIF orientation made plain."""

from __future__ import annotations

import io
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from PIL import Image, ImageOps

FORMATS = ("PNG", "JPEG", "WEBP", "BMP", "GIF", "TIFF", "PPM", "AVIF")  # nothing that starts a program
MAX_PIXELS = 89_478_485  # Pillow's own limit against decompression bombs
Image.init()  # registers every format: Image.open with `formats` knows only those that are
_ORIENTATION = 0x0112
_16_BITS = ("I;16", "I;16L", "I;16B", "I;16N", "I")
_GREY = ("1", "L", "LA", "La", "F", *_16_BITS)


class Unreadable(Exception):
    """This image can't be used; the message says why in a few words."""


@dataclass(frozen=True)
class Header:
    """What is known before decoding. height, width: as displayed, after the EXIF orientation."""

    height: int
    width: int
    mode: str  # Pillow's
    grey: bool
    alpha: bool  # may be transparent


def read_header(data: bytes | Path | None) -> Header:
    """Size and mode of an encoded image, without decoding it. Raises Unreadable."""
    with _opened(data) as image:
        width, height = image.size
        if _orientation(image) >= 5:  # turned by 90 degrees
            width, height = height, width
        return Header(height, width, image.mode, _is_grey(image), _has_alpha(image))


def is_transparent(data: bytes | Path | None) -> bool:
    """Whether any pixel of the image is less than opaque. Raises Unreadable."""
    with _opened(data) as image:
        return _has_alpha(image) and np.asarray(_loaded(image).convert("RGBA").getchannel("A")).min() < 255


def decode(data: bytes | Path | None, size: tuple[int, int], channels: int) -> np.ndarray:
    """An encoded image (its first frame) as uint8 [H, W, C].

    size: (H, W). An image of another aspect is cropped around its centre; one of another size is resampled with
    an antialiasing Lanczos filter (with premultiplied alpha).
    channels: 1 grey, 3 RGB, 4 RGBA; transparent pixels go on white where C < 4.
    Raises Unreadable.
    """
    height, width = size
    with _opened(data) as image:
        if image.format == "JPEG" and image.mode in ("L", "RGB"):
            side = 2 * max(height, width)  # the decoder itself may halve down to this, without loss to the resampling
            image.draft(image.mode, (side, side))
        image = _oriented(_loaded(image))
        image = _as_channels(image, channels)
        if image.size != (width, height):
            image = image.resize((width, height), Image.Resampling.LANCZOS, box=_centre(image.size, width / height))
        return np.asarray(image, dtype=np.uint8).reshape(height, width, channels)


def _opened(data: bytes | Path | None) -> Image.Image:
    if data is None:
        raise Unreadable("no image data")
    try:
        empty = not data if isinstance(data, bytes) else data.stat().st_size == 0
        if empty:
            raise Unreadable("empty file")
        image = Image.open(io.BytesIO(data) if isinstance(data, bytes) else data, formats=FORMATS)
    except Image.UnidentifiedImageError:
        raise Unreadable("not an image that Pillow can read") from None
    except Image.DecompressionBombError:
        raise Unreadable(f"more than {MAX_PIXELS // 10**6} million pixels") from None
    except Unreadable:
        raise
    except Exception as error:  # a broken header raises whatever the format's reader stumbles on
        raise Unreadable(_reason(error)) from None
    if image.width * image.height > MAX_PIXELS:
        raise Unreadable(f"more than {MAX_PIXELS // 10**6} million pixels ({image.height}×{image.width})")
    if image.width < 1 or image.height < 1:
        raise Unreadable("no pixels")
    return image


def _loaded(image: Image.Image) -> Image.Image:
    try:
        image.load()
    except Exception as error:
        raise Unreadable(_reason(error)) from None
    return image


def _reason(error: Exception) -> str:
    text = str(error).splitlines()[0] if str(error) else type(error).__name__
    if isinstance(error, FileNotFoundError):
        return "the file is gone"
    if isinstance(error, PermissionError):
        return "no permission to read it"
    return f"truncated: {text}" if "truncated" in text and not text.startswith("truncated") else text[:100]


def _orientation(image: Image.Image) -> int:
    # Asking a PNG without EXIF would decode it; TIFF is turned by Pillow itself.
    if "exif" not in image.info or image.format == "TIFF":
        return 1
    try:
        return int(image.getexif().get(_ORIENTATION, 1))
    except Exception:  # broken EXIF data is no reason to lose the image
        return 1


def _oriented(image: Image.Image) -> Image.Image:
    return ImageOps.exif_transpose(image) if 2 <= _orientation(image) <= 8 else image


def _has_alpha(image: Image.Image) -> bool:
    return image.mode in ("RGBA", "LA", "PA", "RGBa", "La") or "transparency" in image.info


def _is_grey(image: Image.Image) -> bool:
    if image.mode == "P" and image.palette is not None:
        palette = np.frombuffer(bytes(image.getpalette("RGB") or b""), dtype=np.uint8).reshape(-1, 3)
        return bool((palette == palette[:, :1]).all())
    return image.mode in _GREY


def _as_channels(image: Image.Image, channels: int) -> Image.Image:
    """The image in Pillow's mode L, RGB or RGBA."""
    if image.mode in _16_BITS:  # convert("L") would clip at 255
        values = np.asarray(image).astype(np.int64)
        if values.min() < 0 or values.max() > 65535:
            raise Unreadable("grey values beyond 16 bits")
        image = Image.fromarray(((values * 255 + 32767) // 65535).astype(np.uint8))
    if image.mode == "F":
        raise Unreadable("floating-point pixels, of unknown range")
    if channels == 4:
        return image if image.mode == "RGBA" else image.convert("RGBA")
    if _has_alpha(image):
        image = image.convert("RGBA")
        image = Image.alpha_composite(Image.new("RGBA", image.size, "white"), image)
    mode = "L" if channels == 1 else "RGB"
    return image if image.mode == mode else image.convert(mode)


def _centre(size: tuple[int, int], aspect: float) -> tuple[float, float, float, float]:
    """The largest box (left, top, right, bottom) of an aspect (width over height) in the middle of an image."""
    width, height = size
    box_width, box_height = min(width, height * aspect), min(height, width / aspect)
    left, top = (width - box_width) / 2, (height - box_height) / 2
    return left, top, left + box_width, top + box_height
