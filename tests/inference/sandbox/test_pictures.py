"""Pictures of strangers become inputs, or a refusal in words."""

import io

import numpy as np
import pytest
from PIL import Image

from explorer.errors import UsageError
from explorer.inference.sandbox.pictures import MAX_FILE_BYTES, decode_picture

RGB = np.random.default_rng(0).integers(0, 256, (12, 20, 3), dtype=np.uint8)


def saved(pixels, kind="PNG", **options):
    file = io.BytesIO()
    Image.fromarray(pixels).save(file, kind, **options)
    return file.getvalue()


def test_a_picture_of_the_right_size_comes_bit_for_bit():
    found = decode_picture(saved(RGB), 3, 12, 20, "crop", False)
    assert found["size"] == [12, 20]
    assert found["format"] == "PNG"
    assert np.array_equal(np.rint(found["picture"] * 255).astype(np.uint8), RGB.transpose(2, 0, 1))


def test_black_and_white_are_swapped_on_demand():
    plain, swapped = (decode_picture(saved(RGB), 1, 12, 20, "crop", way)["picture"] for way in (False, True))
    assert np.allclose(plain + swapped, 1)
    assert plain.shape == (1, 12, 20)


@pytest.mark.parametrize(("fit", "corner", "middle"), [("crop", 1, 1), ("pad", 0, 1), ("stretch", 1, 1)])
def test_a_wide_picture_is_fitted_into_a_square(fit, corner, middle):
    found = decode_picture(saved(np.full((10, 40, 3), 255, np.uint8)), 1, 8, 8, fit, False)["picture"]
    assert found.shape == (1, 8, 8)
    assert found[0, 0, 0] == corner
    assert found[0, 4, 4] == middle


def test_shrinking_takes_the_mean_of_the_area():
    found = decode_picture(saved(RGB), 3, 6, 10, "stretch", False)["picture"]
    mean = RGB.reshape(6, 2, 10, 2, 3).mean(axis=(1, 3)).transpose(2, 0, 1) / 255
    assert np.abs(found - mean).max() <= 1.5 / 255


def test_what_is_transparent_is_black_and_16_bits_are_read():
    clear = np.dstack([RGB, np.zeros((12, 20), np.uint8)])
    assert decode_picture(saved(clear), 3, 12, 20, "crop", False)["picture"].max() == 0
    deep = np.full((4, 4), 65_535, np.uint16)
    assert decode_picture(saved(deep), 1, 4, 4, "crop", False)["picture"].min() == 1


def test_a_jpeg_is_turned_as_it_says():
    exif = Image.Exif()
    exif[0x0112] = 6  # turned by a quarter
    assert decode_picture(saved(RGB, "JPEG", exif=exif), 3, 20, 12, "crop", False)["size"] == [20, 12]


def bomb():
    """A PNG that says it has 60,000 x 60,000 pixels."""
    data = bytearray(saved(RGB))
    data[16:24] = (60_000).to_bytes(4, "big") * 2
    return bytes(data)


@pytest.mark.parametrize(
    ("file", "words"),
    [
        (b"", "whole PNG or JPEG"),
        (b"GIF89a" + bytes(100), "whole PNG or JPEG"),
        (saved(RGB)[:-40], "whole PNG or JPEG"),
        (saved(RGB, "JPEG")[:200], "whole PNG or JPEG"),
        (saved(RGB, "BMP"), "whole PNG or JPEG"),
        (bomb(), "PNG or JPEG|at most 40,000,000 pixels"),
        (bytes(MAX_FILE_BYTES + 1), "at most 20 MiB"),
    ],
    ids=["empty", "gif", "cut", "cut jpeg", "bmp", "bomb", "large"],
)
def test_what_is_no_picture_is_refused(file, words):
    with pytest.raises(UsageError, match=words):
        decode_picture(file, 3, 8, 8, "crop", False)
