"""Sheets of images to look at: samples of a GAN while it trains, samples of a data set, and animations of both."""

from __future__ import annotations

import os
from collections.abc import Callable, Iterable, Sequence
from pathlib import Path
from typing import Any

import numpy as np
from PIL import Image, ImageDraw, ImageFont

from adverb.errors import UserError

GAP = 2  # pixels between images
PAPER = (245, 245, 245)  # neither the black of digits nor the white of icons
VISIBLE = 64  # images with a smaller longer side are enlarged to about this
TEXT = 12  # pixels of a line of text
CHECKS = (255, 224)  # grey values of the checkerboard behind transparent pixels


def as_pixels(images: Any) -> np.ndarray:
    """Images as uint8 [N, H, W, C].

    images: uint8 [N, H, W, C] (a data set's), or floating point [N, C, H, W] in [-1, 1] (a network's); arrays or
    tensors. Values outside are clipped, NaN becomes mid-grey. A network's RGBA has its colours multiplied by the
    opacity (see `adverb.metrics.images`); they leave straight, as files have them.
    """
    if hasattr(images, "detach"):  # a tensor; torch is not imported for arrays
        images = images.detach().cpu()
        images = images.float().numpy() if images.is_floating_point() else images.numpy()
    array = np.asarray(images)
    if array.ndim != 4:
        raise ValueError(f"expected a batch of images in 4 dimensions, got {array.shape}")
    if np.issubdtype(array.dtype, np.floating):
        array = np.nan_to_num(array.astype(np.float32), nan=0.0)
        array = ((np.clip(array, -1, 1) + 1) * 127.5).transpose(0, 2, 3, 1)  # [N, C, H, W] -> [N, H, W, C]
        if array.shape[-1] == 4:
            alpha = np.rint(array[..., 3:])
            colour = np.minimum(array[..., :3], alpha) * 255 / np.maximum(alpha, 1)
            array = np.concatenate([colour, alpha], axis=-1)
        array = np.rint(array).astype(np.uint8)
    if array.dtype != np.uint8 or array.shape[-1] not in (1, 3, 4):
        got = f"{array.dtype} {array.shape}"
        raise ValueError(f"expected uint8 [N, H, W, C] or float [N, C, H, W] with 1, 3 or 4 channels, got {got}")
    return array


def make_grid(
    images: Any, columns: int | None = None, scale: int | None = None, captions: Sequence[str] | None = None
) -> Image.Image:
    """Images in rows, left to right, as one RGB image.

    images: as `as_pixels` takes them. columns: default about square. scale: an integer factor, without smoothing;
    default: so that the images are visible. captions: N strings, one line below each image, cut to its width; or one
    for each row of images.
    """
    pixels = as_pixels(images)
    n, height, width, _ = pixels.shape
    columns = max(1, min(n, columns or round((n * height / width) ** 0.5)))
    rows, line = -(-n // columns), TEXT + 4 if captions is not None else 0
    if n < 1 or (captions is not None and len(captions) not in (n, rows)):
        raise ValueError(f"no grid of {n} images" + (f" with {len(captions)} captions" if captions else ""))
    scale = scale or max(1, round(VISIBLE / max(height, width)))
    of_each = columns if captions is not None and len(captions) < n else 1  # images that share a caption
    cell_width, cell_height = width * scale + GAP, height * scale + line + GAP
    sheet = Image.new("RGB", (columns * cell_width + GAP, rows * cell_height + GAP), PAPER)
    draw, font = ImageDraw.Draw(sheet), ImageFont.load_default(TEXT)
    for i, picture in enumerate(pixels):
        left, top = GAP + i % columns * cell_width, GAP + i // columns * cell_height
        sheet.paste(_picture(picture, scale), (left, top))
        if captions is not None and i % of_each == 0:
            room = of_each * cell_width - GAP
            text = _fitting(captions[i // of_each], lambda t: draw.textlength(t, font=font), room)
            draw.text((left, top + height * scale + 1), text, fill=(40, 40, 40), font=font)
    return sheet


def save_grid(
    images: Any,
    path: str | Path,
    columns: int | None = None,
    scale: int | None = None,
    captions: Sequence[str] | None = None,
) -> Path:
    """Write `make_grid(…)` as PNG, atomically. Raises UserError where it can't be written."""
    sheet = make_grid(images, columns, scale, captions)
    return _write(Path(path), lambda beside: sheet.save(beside, format="PNG", optimize=False))


def save_images(images: Any, folder: str | Path, again: bool = False) -> Path:
    """Write each image as a file, 00000.png and so on, transparent where it is, into a folder that is made.

    again: the folder holds what an earlier call wrote, of which files with higher numbers are removed.
    """
    folder, pixels = Path(folder), as_pixels(images)
    digits = max(5, len(str(len(pixels) - 1)))
    for file in folder.glob("*.png") if again else ():
        if len(file.stem) >= 5 and file.stem.isdecimal() and int(file.stem) >= len(pixels):
            file.unlink()
    for i, image in enumerate(pixels):
        picture = Image.fromarray(image[..., 0] if image.shape[2] == 1 else image)
        _write(folder / f"{i:0{digits}d}.png", lambda beside, picture=picture: picture.save(beside, format="PNG"))
    return folder


def save_gif(
    frames: Iterable[Any],
    path: str | Path,
    columns: int | None = None,
    scale: int | None = None,
    seconds: float = 0.1,
    hold: float = 1.0,
) -> Path:
    """Write an endless GIF with one grid a frame, each `seconds` long and the last one at least `hold`, atomically.

    frames: batches of images of one shape, each as `as_pixels` takes them. Raises UserError as `save_grid`.
    """
    grids = [make_grid(frame, columns, scale) for frame in frames]
    if not grids:
        raise ValueError("no frames")
    # One palette for all frames, made from eight of them, so that colours don't flicker.
    some = [grids[i] for i in np.unique(np.linspace(0, len(grids) - 1, 8).astype(int))]
    palette = Image.fromarray(np.concatenate([np.asarray(grid) for grid in some])).quantize(256)
    first, *others = [grid.quantize(palette=palette, dither=Image.Dither.NONE) for grid in grids]
    durations = [round(1000 * seconds)] * len(others) + [round(1000 * max(hold, seconds))]

    def write(beside: Path) -> None:
        first.save(beside, format="GIF", save_all=True, append_images=others, duration=durations, loop=0)

    return _write(Path(path), write)


def save_mp4(
    frames: Iterable[Any], path: str | Path, columns: int | None = None, scale: int | None = None, rate: int = 30
) -> Path:
    """Write a video (H.264, plays in browsers) with one grid a frame and `rate` frames a second, atomically.

    frames: as `save_gif` takes them, one at a time in memory. Raises UserError where PyAV isn't installed.
    """
    try:
        import av
    except ImportError:
        raise UserError(f"{path}: MP4 needs PyAV: pip install 'adverb[video]' (or write a .gif)") from None

    def write(beside: Path) -> None:
        with av.open(beside, "w", format="mp4", options={"movflags": "faststart"}) as file:
            stream = file.add_stream("h264", rate=rate, options={"crf": "16"})
            for i, frame in enumerate(frames):
                sheet = np.asarray(make_grid(frame, columns, scale))
                odd = [(0, side % 2) for side in sheet.shape[:2]]  # colours are stored for 2×2 pixels
                sheet = np.pad(sheet, [*odd, (0, 0)], mode="edge")
                if i == 0:
                    stream.height, stream.width = sheet.shape[:2]
                file.mux(stream.encode(av.VideoFrame.from_ndarray(sheet, format="rgb24")))
            file.mux(stream.encode())

    return _write(Path(path), write)


def _picture(pixels: np.ndarray, scale: int) -> Image.Image:
    """uint8 [H, W, C] enlarged, transparent pixels over a checkerboard."""
    large = pixels.repeat(scale, axis=0).repeat(scale, axis=1)
    height, width, channels = large.shape
    if channels == 4:
        y, x = np.indices((height, width)) // 8
        board = np.where((x + y) % 2, *CHECKS[::-1])[..., None].astype(np.float32)
        alpha = large[..., 3:].astype(np.float32) / 255
        large = np.rint(large[..., :3] * alpha + board * (1 - alpha)).astype(np.uint8)
    return Image.fromarray(large[..., 0] if channels == 1 else large)


def _fitting(text: str, length: Callable[[str], float], width: int) -> str:
    text = " ".join(text.split())
    if length(text) <= width:
        return text
    while text and length(text + "…") > width:
        text = text[:-1]
    return text + "…" if text else ""


def _write(path: Path, write: Callable[[Path], None]) -> Path:
    beside = path.with_name(f".{path.name}.{os.getpid()}")
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        write(beside)
        os.replace(beside, path)
    except OSError as error:
        if path.parent.is_dir():
            beside.unlink(missing_ok=True)
        raise UserError(f"can't write {path}: {error.strerror or error}") from None
    return path
