from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from pathattr.errors import InvalidInput, MissingExtra
from pathattr.pictures.image_model import ImageModel, prepare
from pathattr.pictures.preprocessing import Preprocessing
from pathattr.pictures.reading import read_picture

RAMP16 = np.linspace(0, 65535, 48).round().astype(np.uint16).reshape(6, 8)
COLOURS = np.random.default_rng(0).integers(0, 256, (6, 8, 3), dtype=np.uint8)


def saved(tmp_path: Path, image: Image.Image, name: str, **options: object) -> Path:
    path = tmp_path / name
    image.save(path, **options)
    return path


def test_rgb_is_read_exactly(tmp_path: Path) -> None:
    picture = read_picture(str(saved(tmp_path, Image.fromarray(COLOURS), "a.png")))
    assert picture.dtype == np.float64
    np.testing.assert_array_equal(picture, COLOURS / 255)


@pytest.mark.parametrize(
    ("mode", "name"),
    [
        ("1", "a.png"),
        ("L", "a.png"),
        ("P", "a.png"),
        ("CMYK", "a.tif"),
        ("YCbCr", "a.jpg"),
        ("LAB", "a.tif"),
        ("L", "a.jpg"),
        ("CMYK", "a.jpg"),
    ],
)
def test_every_common_mode_comes_out_as_rgb(tmp_path: Path, mode: str, name: str) -> None:
    flat = Image.new("RGB", (8, 6), (255, 255, 255))
    image = Image.new("LAB", (8, 6), (255, 128, 128)) if mode == "LAB" else flat.convert(mode)
    picture = read_picture(saved(tmp_path, image, name))
    assert picture.shape == (6, 8, 3)
    np.testing.assert_allclose(picture, 1.0, atol=0.02)


def test_palette_keeps_its_colours(tmp_path: Path) -> None:
    image = Image.new("P", (2, 1))
    image.putpalette([255, 0, 0, 0, 0, 255])
    image.putdata([0, 1])
    np.testing.assert_array_equal(read_picture(saved(tmp_path, image, "a.png")), [[[1.0, 0.0, 0.0], [0.0, 0.0, 1.0]]])


def test_transparency_is_laid_on_white(tmp_path: Path) -> None:
    rgba = np.array([[[255, 0, 0, 255], [0, 0, 0, 0], [0, 0, 0, 51]]], dtype=np.uint8)
    picture = read_picture(saved(tmp_path, Image.fromarray(rgba), "rgba.png"))
    np.testing.assert_allclose(picture[0], [[1, 0, 0], [1, 1, 1], [0.8, 0.8, 0.8]])

    grey = np.array([[[0, 255], [0, 0]]], dtype=np.uint8)
    picture = read_picture(saved(tmp_path, Image.fromarray(grey), "la.png"))
    np.testing.assert_array_equal(picture[0, :, 0], [0, 1])

    palette = Image.new("P", (2, 1))
    palette.putpalette([0, 0, 0, 9, 9, 9])
    palette.putdata([0, 1])
    picture = read_picture(saved(tmp_path, palette, "p.png", transparency=1))
    np.testing.assert_array_equal(picture[0, :, 0], [0, 1])

    plain = Image.fromarray(np.array([[[1, 2, 3], [4, 5, 6]]], dtype=np.uint8))
    picture = read_picture(saved(tmp_path, plain, "rgb.png", transparency=(1, 2, 3)))
    np.testing.assert_array_equal(picture[0], [[1, 1, 1], [4 / 255, 5 / 255, 6 / 255]])


@pytest.mark.parametrize("name", ["a.png", "a.tif"])
def test_sixteen_bit_ramp_keeps_its_values(tmp_path: Path, name: str) -> None:
    picture = read_picture(saved(tmp_path, Image.fromarray(RAMP16), name))
    for channel in range(3):
        np.testing.assert_array_equal(picture[..., channel], RAMP16 / 65535)


def test_sixteen_bit_ramp_in_a_pgm_keeps_its_values(tmp_path: Path) -> None:
    (tmp_path / "a.pgm").write_bytes(b"P5 8 6 65535\n" + RAMP16.astype(">u2").tobytes())
    np.testing.assert_array_equal(read_picture(tmp_path / "a.pgm")[..., 0], RAMP16 / 65535)


def test_thirty_two_bit_greyscale_is_scaled_to_its_white(tmp_path: Path) -> None:
    signed = (RAMP16.astype(np.int64) * 32768).astype(np.int32)
    picture = read_picture(saved(tmp_path, Image.fromarray(signed), "a.tif"))
    np.testing.assert_allclose(picture[..., 0], signed / (2**31 - 1))

    small = RAMP16.astype(np.int32)
    picture = read_picture(saved(tmp_path, Image.fromarray(small), "b.tif"))
    np.testing.assert_array_equal(picture[..., 0], RAMP16 / 65535)

    with pytest.raises(InvalidInput, match="rescale"):
        read_picture(saved(tmp_path, Image.fromarray(small - 1), "c.tif"))


def test_unsigned_thirty_two_bit_tiff_is_not_taken_for_negative(tmp_path: Path) -> None:
    unsigned = (RAMP16.astype(np.int64) * 65537).astype(np.uint32)
    path = saved(tmp_path, Image.fromarray(unsigned.view(np.int32)), "a.tif")
    data = bytearray(path.read_bytes())
    # The entry of tag 339 (SampleFormat, one short) says 2, signed: make it 1, unsigned.
    entry = data.index(b"\x53\x01\x03\x00\x01\x00\x00\x00\x02\x00")
    data[entry + 8] = 1
    path.write_bytes(bytes(data))
    np.testing.assert_allclose(read_picture(path)[..., 0], unsigned / (2**32 - 1))


@pytest.mark.parametrize(("white", "factor"), [(1, 1.0), (255, 255.0), (65535, 65535.0)])
def test_float_greyscale_is_scaled_to_its_white(tmp_path: Path, white: int, factor: float) -> None:
    grey = (np.linspace(0, 1, 48).reshape(6, 8) * factor).astype(np.float32)
    picture = read_picture(saved(tmp_path, Image.fromarray(grey), "a.tif"))
    np.testing.assert_allclose(picture[..., 1], grey / white, rtol=1e-7)


@pytest.mark.parametrize("value", [1.5, -0.5, 1e6, np.nan])
def test_float_greyscale_of_unknown_range_is_refused(tmp_path: Path, value: float) -> None:
    grey = np.full((6, 8), 0.5, dtype=np.float32)
    grey[0, 0] = value
    with pytest.raises(InvalidInput, match=r"a\.tif.*rescale"):
        read_picture(saved(tmp_path, Image.fromarray(grey), "a.tif"))


@pytest.mark.parametrize("name", ["a.png", "a.tif", "a.webp"])
def test_exif_orientation_is_applied(tmp_path: Path, name: str) -> None:
    exif = Image.Exif()
    exif[0x0112] = 6  # the camera was turned: rotate by 90 degrees clockwise to view
    options = {"lossless": True} if name.endswith("webp") else {}
    picture = read_picture(saved(tmp_path, Image.fromarray(COLOURS), name, exif=exif, **options))
    np.testing.assert_array_equal(picture, np.rot90(COLOURS, -1) / 255)


def test_exif_orientation_of_sixteen_bits(tmp_path: Path) -> None:
    exif = Image.Exif()
    exif[0x0112] = 6
    picture = read_picture(saved(tmp_path, Image.fromarray(RAMP16), "a.png", exif=exif))
    np.testing.assert_array_equal(picture[..., 0], np.rot90(RAMP16, -1) / 65535)


def test_first_frame_of_an_animation(tmp_path: Path) -> None:
    frames = [Image.new("RGB", (4, 3), colour) for colour in ("red", "blue")]
    path = saved(tmp_path, frames[0], "a.gif", save_all=True, append_images=frames[1:])
    np.testing.assert_array_equal(read_picture(path), np.broadcast_to([1.0, 0.0, 0.0], (3, 4, 3)))


@pytest.mark.parametrize("name", ["a.png", "a.jpg", "a.tif", "a.gif", "a.webp"])
def test_a_file_cut_off_is_refused(tmp_path: Path, name: str) -> None:
    noise = np.random.default_rng(1).integers(0, 256, (64, 64, 3), dtype=np.uint8)
    path = saved(tmp_path, Image.fromarray(noise), name)
    path.write_bytes(path.read_bytes()[: path.stat().st_size // 2])
    with pytest.raises(InvalidInput, match=name):
        read_picture(path)


def test_what_is_no_picture_is_refused(tmp_path: Path) -> None:
    with pytest.raises(InvalidInput, match=r"missing\.png.*check the path"):
        read_picture(tmp_path / "missing.png")
    with pytest.raises(InvalidInput, match=r"it is a folder; name the pictures in it, such as .*\*\.png"):
        read_picture(tmp_path)
    with pytest.raises(InvalidInput, match="check the path"):
        read_picture("a\0b")
    (tmp_path / "text.png").write_text("no picture")
    with pytest.raises(InvalidInput, match=r"one of the formats PNG, JPEG, .*text\.png is none: convert it to PNG"):
        read_picture(tmp_path / "text.png")
    (tmp_path / "empty.png").touch()
    with pytest.raises(InvalidInput, match="empty file"):
        read_picture(tmp_path / "empty.png")


@pytest.mark.parametrize("limit", [40, 20])  # Pillow warns from the limit on and refuses from twice the limit on
def test_decompression_bombs_are_refused(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, limit: int) -> None:
    path = saved(tmp_path, Image.fromarray(COLOURS), "a.png")
    monkeypatch.setattr(Image, "MAX_IMAGE_PIXELS", limit)
    with pytest.raises(InvalidInput, match=f"at most {limit} pixels"):
        read_picture(path)


def test_without_pillow_the_extra_is_named(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "PIL", None)
    with pytest.raises(MissingExtra, match=r"pathattr\[cli\]"):
        read_picture("a.png")


def test_importing_takes_neither_pillow_nor_matplotlib() -> None:
    code = (
        "import sys, pathattr.pictures.reading, pathattr.results.figures, pathattr.common.files\n"
        "sys.exit(bool({'PIL', 'matplotlib'} & set(sys.modules)))"
    )
    assert subprocess.run([sys.executable, "-c", code], check=False).returncode == 0


@pytest.mark.parametrize("shape", [(300, 500), (500, 300), (7, 5), (224, 224), (1, 3000), (3000, 1), (1, 1)])
@pytest.mark.parametrize("size", [224, (64, 96), (33, 1)])
@pytest.mark.parametrize("crop", [1.0, 0.875])
def test_prepared_pictures_have_the_models_size(
    shape: tuple[int, int], size: int | tuple[int, int], crop: float
) -> None:
    picture = np.random.default_rng(0).random((*shape, 3))
    model = ImageModel(None, size, Preprocessing((0.5, 0.4, 0.3), (0.2, 0.3, 0.4)), crop=crop)
    shown, inputs = prepare(picture, model)
    height, width = (size, size) if isinstance(size, int) else size
    assert shown.shape == (height, width, 3)
    assert inputs.shape == (3, height, width)
    assert inputs.dtype == np.float64
    assert shown.min() >= 0
    assert shown.max() <= 1
    expected = (shown - [0.5, 0.4, 0.3]) / [0.2, 0.3, 0.4]
    np.testing.assert_allclose(inputs, expected.transpose(2, 0, 1))


@pytest.mark.parametrize("shape", [(301, 517), (517, 301), (100, 90)])
@pytest.mark.parametrize(("crop", "shorter"), [(0.875, 256), (0.95, 235)])
def test_resizing_and_cropping_agree_with_pillow(shape: tuple[int, int], crop: float, shorter: int) -> None:
    picture = np.random.default_rng(0).random((*shape, 3))
    shown, _ = prepare(picture, ImageModel(None, 224, crop=crop))
    sides = [shorter * side // min(shape) for side in shape]
    top, left = (round((side - 224) / 2) for side in sides)
    for channel in range(3):
        image = Image.fromarray(picture[..., channel].astype(np.float32))
        resized = np.asarray(image.resize((sides[1], sides[0]), Image.Resampling.BILINEAR))
        np.testing.assert_allclose(shown[..., channel], resized[top : top + 224, left : left + 224], atol=1e-5)


def test_a_picture_of_the_right_size_is_left_exactly_as_it_is() -> None:
    picture = np.random.default_rng(0).random((8, 6, 3))
    for size in (None, (8, 6)):
        shown, inputs = prepare(picture, ImageModel(None, size))
        np.testing.assert_array_equal(shown, picture)
        np.testing.assert_array_equal(inputs, picture.transpose(2, 0, 1))
        assert not np.shares_memory(shown, picture)
        assert not np.shares_memory(shown, inputs)


def test_a_flat_picture_stays_flat() -> None:
    shown, _ = prepare(np.full((301, 199, 3), 0.3), ImageModel(None, 224, crop=0.9))
    np.testing.assert_allclose(shown, 0.3, rtol=1e-14)


@pytest.mark.parametrize(
    "picture",
    [
        np.zeros((4, 4)),
        np.zeros((4, 4, 4)),
        np.zeros((0, 4, 3)),
        np.full((4, 4, 3), 255.0),
        np.full((4, 4, 3), -0.1),
        np.full((4, 4, 3), np.nan),
    ],
)
def test_prepare_refuses_what_is_no_picture(picture: np.ndarray) -> None:
    with pytest.raises(InvalidInput, match="expected a picture"):
        prepare(picture, ImageModel(None))


@pytest.mark.parametrize(
    "options",
    [
        {"size": 0},
        {"size": (224, 0)},
        {"size": (3, 224, 224)},
        {"size": 224.0},
        {"size": True},
        {"size": [224, 224]},
        {"size": 224, "crop": 0.0},
        {"size": 224, "crop": 1.1},
        {"size": 224, "crop": float("nan")},
        {"crop": 0.875},
        {"channel_axis": "last"},
        {"classes": "cat"},
    ],
)
def test_image_model_checks_itself(options: dict[str, object]) -> None:
    with pytest.raises(InvalidInput, match="ImageModel"):
        ImageModel(None, **options)  # type: ignore[arg-type]  # wrong on purpose


def test_postscript_under_another_name_starts_no_program(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    from PIL import EpsImagePlugin

    monkeypatch.setattr(EpsImagePlugin, "Ghostscript", lambda *args, **kwargs: pytest.fail("started Ghostscript"))
    path = tmp_path / "a.png"
    path.write_bytes(b"%!PS-Adobe-3.0 EPSF-3.0\n%%BoundingBox: 0 0 9 9\n%%EndComments\nshowpage\n")
    with pytest.raises(InvalidInput, match=r"a\.png is none: convert it to PNG"):
        read_picture(path)


def test_a_model_of_one_channel_gets_the_luma() -> None:
    picture = np.random.default_rng(0).random((6, 5, 3))
    shown, inputs = prepare(picture, ImageModel(None, channels=1, preprocessing=Preprocessing(0.5, 0.25)))
    grey = picture @ [0.299, 0.587, 0.114]
    np.testing.assert_allclose(inputs, (grey[None] - 0.5) / 0.25, rtol=1e-12)
    np.testing.assert_allclose(shown, np.repeat(grey[:, :, None], 3, axis=2), rtol=1e-12)
