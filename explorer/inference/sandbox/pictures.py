"""Pictures of strangers: PNG and JPEG decoded in the child, whose memory and time are limited, to an input's shape."""

from __future__ import annotations

import io
import warnings
from typing import Any, Final

import numpy as np
from numpy.typing import NDArray
from PIL import Image, ImageOps

from explorer.errors import UsageError

FORMATS: Final = ("PNG", "JPEG")
FITS: Final = ("crop", "pad", "stretch")
MAX_FILE_BYTES: Final = 20 << 20
MAX_PIXELS: Final = 40_000_000
MAX_SIDE: Final = 4_096


def decode_picture(file: bytes, channels: int, height: int, width: int, fit: str, invert: bool) -> dict[str, Any]:
    """Decode a picture and bring it to a size, by area where it shrinks and bilinear where it grows.

    Args:
        file: a PNG or JPEG; of one with several frames the first; turned as its EXIF says; transparent parts are black.
        channels: 1 is grey (ITU-R 601 luma), 3 is red, green, blue.
        height: wanted, in pixels.
        width: wanted, in pixels.
        fit: `crop` keeps the middle, `pad` keeps all of it with black at the sides, `stretch` changes its proportions.
        invert: whether bright becomes dark.

    Returns:
        picture: float32[channels, height, width] from 0 to 1; size: [height, width] of the file; format.

    Raises:
        UsageError: it is no PNG or JPEG, damaged, too large, or an argument is out of range.
    """
    if len(file) > MAX_FILE_BYTES:
        raise UsageError(f"a picture should have at most {MAX_FILE_BYTES >> 20} MiB; found {len(file) / 2**20:.1f} MiB")
    if channels not in (1, 3) or not (1 <= height <= MAX_SIDE and 1 <= width <= MAX_SIDE) or fit not in FITS:
        raise UsageError(
            f"a picture should become 1 or 3 channels of at most {MAX_SIDE} pixels a side by one of {', '.join(FITS)}; "
            f"found {channels} x {height} x {width} by {fit[:20]!r}"
        )
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")  # of sizes, which are checked here, and of odd metadata
            image = Image.open(io.BytesIO(file), formats=FORMATS)
            size = (image.height, image.width)
            if size[0] * size[1] > MAX_PIXELS:
                raise UsageError(
                    f"a picture should have at most {MAX_PIXELS:,} pixels; found {size[0]:,} x {size[1]:,}"
                )
            kind = image.format
            plain = _on_black(ImageOps.exif_transpose(image)).convert("L" if channels == 1 else "RGB")
    except UsageError:
        raise
    except Exception as error:  # the decoder's failures on foreign bytes are of many types
        raise UsageError(f"the file should be a whole PNG or JPEG; it cannot be read ({error})"[:300]) from error
    fitted = _fitted(plain, height, width, fit)
    values = np.asarray(fitted, dtype=np.float32).reshape(height, width, channels) / 255
    found: NDArray[np.float32] = np.ascontiguousarray((1 - values if invert else values).transpose(2, 0, 1))
    return {"picture": found, "size": [plain.height, plain.width], "format": str(kind)}


def _on_black(image: Image.Image) -> Image.Image:
    """Without transparency; 16 bits become 8."""
    if image.mode.startswith("I"):
        deep = np.asarray(image, dtype=np.float64)
        return Image.fromarray((deep / (257 if deep.max(initial=0) > 255 else 1)).astype(np.uint8))
    if image.mode in ("RGBA", "LA", "PA") or "transparency" in image.info:
        whole = image.convert("RGBA")
        return Image.alpha_composite(Image.new("RGBA", whole.size, (0, 0, 0, 255)), whole)
    return image


def _fitted(image: Image.Image, height: int, width: int, fit: str) -> Image.Image:
    if fit == "stretch":
        return image.resize((width, height), _method(image, height, width))
    share = max if fit == "crop" else min
    scale = share(width / image.width, height / image.height)
    inner = (max(1, round(image.width * scale)), max(1, round(image.height * scale)))
    smaller = image.resize(inner, _method(image, inner[1], inner[0]))
    result = Image.new(image.mode, (width, height))
    result.paste(smaller, ((width - inner[0]) // 2, (height - inner[1]) // 2))
    return result


def _method(image: Image.Image, height: int, width: int) -> Image.Resampling:
    shrinks = height * width < image.height * image.width
    return Image.Resampling.BOX if shrinks else Image.Resampling.BILINEAR
