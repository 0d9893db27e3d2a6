from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from rocketnpu import pictures
from rocketnpu.errors import InputError
from rocketnpu.graph import DType, Quantisation, Tensor
from rocketnpu.pictures import load_picture, picture_for, quantise_pixels

HENS = Path(__file__).parent.parent / "examples" / "hens.jpg"
EVERY_PIXEL = np.arange(256, dtype=np.uint8)


@pytest.fixture
def save(tmp_path):
    def save(array, name="picture.png", **options):
        path = tmp_path / name
        Image.fromarray(array).save(path, **options)
        return path

    return save


def gradient(height, width):
    rows, columns = np.indices((height, width))
    return np.stack([rows, columns, rows + columns], -1).astype(np.uint8)


def test_a_picture_of_the_right_size_is_itself(save):
    picture = gradient(20, 30)
    loaded = load_picture(save(picture), 20, 30)
    assert loaded.dtype == np.uint8
    np.testing.assert_array_equal(loaded, picture[None])


def test_the_whole_picture_is_resized_bilinearly(save):
    picture = gradient(40, 60)
    wanted = np.asarray(Image.fromarray(picture).resize((10, 20), Image.Resampling.BILINEAR))
    np.testing.assert_array_equal(load_picture(save(picture), 20, 10)[0], wanted)


def test_one_channel_is_grey(save):
    picture = np.zeros((2, 2, 3), np.uint8)
    picture[0, 1] = 255
    loaded = load_picture(save(picture), 2, 2, channels=1)
    assert loaded.shape == (1, 2, 2, 1)
    assert loaded[0, :, :, 0].tolist() == [[0, 255], [0, 0]]


@pytest.mark.parametrize("mode", ["1", "L", "LA", "P", "RGBA", "CMYK", "I;16"])
def test_any_mode_becomes_rgb(tmp_path, mode):
    path = tmp_path / "picture.tiff"
    if mode == "I;16":
        Image.fromarray(np.full((4, 4), 0xFFFF, np.uint16)).save(path)
    else:
        Image.new("RGB", (4, 4), (255, 255, 255)).convert(mode).save(path)
    assert load_picture(path, 4, 4).tolist() == np.full((1, 4, 4, 3), 255).tolist()


def test_sixteen_bits_are_scaled_not_clamped(save):
    picture = np.array([[0, 0x100, 0x80FF, 0xFFFF]], np.uint16)
    assert load_picture(save(picture), 1, 4, channels=1).ravel().tolist() == [0, 1, 0x80, 255]


def test_sixteen_bits_in_a_mode_of_thirty_two_are_scaled(tmp_path):
    path = tmp_path / "picture.pgm"
    path.write_bytes(b"P5 4 1 65535\n" + np.array([0, 0x100, 0x80FF, 0xFFFF], ">u2").tobytes())
    with Image.open(path) as opened:
        assert opened.mode == "I"
    assert load_picture(path, 1, 4, channels=1).ravel().tolist() == [0, 1, 0x80, 255]


def test_thirty_two_bits_are_refused(save):
    with pytest.raises(InputError, match="32 bits a pixel"):
        load_picture(save(np.zeros((2, 2), np.float32), "picture.tiff"), 2, 2)


def test_a_picture_on_its_side_is_turned_upright(save):
    picture = np.zeros((8, 8, 3), np.uint8)
    picture[:, :4] = 255  # the left half, which a camera turned clockwise calls the top
    exif = Image.Exif()
    exif[0x0112] = 6
    loaded = load_picture(save(picture, exif=exif), 8, 8)
    assert loaded[0, :4].min() == 255
    assert loaded[0, 4:].max() == 0


def test_the_first_frame_of_several(tmp_path):
    frames = [Image.new("RGB", (4, 4), colour) for colour in ("white", "black")]
    frames[0].save(tmp_path / "a.gif", save_all=True, append_images=frames[1:])
    assert load_picture(tmp_path / "a.gif", 4, 4).min() == 255


def test_the_example():
    loaded = load_picture(HENS, 224, 224)
    assert loaded.shape == (1, 224, 224, 3)
    assert 60 < loaded.mean() < 200
    assert loaded.std() > 20


def test_missing(tmp_path):
    with pytest.raises(InputError, match=r"cannot read picture .*none\.jpg: No such file"):
        load_picture(tmp_path / "none.jpg", 8, 8)


def test_a_folder(tmp_path):
    with pytest.raises(InputError, match="it is a folder"):
        load_picture(tmp_path, 8, 8)


@pytest.mark.parametrize("content", [b"", b"\x00" * 100, b"no picture at all"])
def test_no_picture(tmp_path, content):
    path = tmp_path / "a.jpg"
    path.write_bytes(content)
    with pytest.raises(InputError, match="not a picture of a known format"):
        load_picture(path, 8, 8)


@pytest.mark.parametrize("name", ["a.png", "a.jpg", "a.bmp", "a.gif", "a.webp", "a.tiff"])
def test_cut_short_at_any_length(save, name):
    noise = np.random.default_rng(1).integers(0, 256, (40, 40, 3), np.uint8)
    path = save(noise, name)
    whole = path.read_bytes()
    for length in range(0, len(whole) * 9 // 10, max(1, len(whole) // 60)):
        path.write_bytes(whole[:length])
        with pytest.raises(InputError, match=r"picture"):
            load_picture(path, 8, 8)


@pytest.mark.parametrize("name", ["a.png", "a.jpg", "a.bmp", "a.gif", "a.webp", "a.tiff"])
def test_damage_is_an_input_error_or_a_picture(save, name):
    generator = np.random.default_rng(2)
    path = save(gradient(24, 24), name)
    whole = np.frombuffer(path.read_bytes(), np.uint8)
    refused = 0
    for _ in range(150):
        damaged = whole.copy()
        damaged[generator.integers(0, min(len(whole), 200), 4)] = generator.integers(0, 256, 4)
        path.write_bytes(damaged.tobytes())
        try:
            assert load_picture(path, 8, 8).shape == (1, 8, 8, 3)
        except InputError:
            refused += 1
    assert refused > 0


def test_formats_that_start_programs_are_no_pictures(tmp_path):
    """PostScript would be handed to Ghostscript."""
    path = tmp_path / "a.eps"
    Image.fromarray(gradient(8, 8)).save(path)
    with pytest.raises(InputError, match=r"not a picture of a known format \(BMP, GIF"):
        load_picture(path, 8, 8)


@pytest.mark.parametrize("limit", [1599, 799])
def test_a_decompression_bomb(save, monkeypatch, limit):
    path = save(gradient(40, 40))
    monkeypatch.setattr(pictures, "PICTURE_PIXELS", limit)
    with pytest.raises(InputError, match="too large: it has 40 x 40 pixels"):
        load_picture(path, 8, 8)


@pytest.mark.parametrize("channels", [0, 2, 4])
def test_channels_that_no_picture_has(channels):
    with pytest.raises(InputError, match=f"1 or 3 channels, but the model's input has {channels}"):
        load_picture(HENS, 8, 8, channels)


@pytest.mark.parametrize(
    ("model", "scale", "zero_point"),
    [
        ("mobilenet_v1 0.25 and 1.0, mobilenet_v2", 0.0078125, 128),
        ("tf2_mobilenet_v2", 0.00784313772, 127),
        ("[0, 1]", 1 / 255, 0),
        ("[0, 255]", 1.0, 0),
        ("[-128, 127]", 1.0, 128),
    ],
)
def test_uint8_models_take_raw_pixels(model, scale, zero_point):
    got = quantise_pixels(EVERY_PIXEL, DType.UINT8, Quantisation.per_tensor(scale, zero_point))
    assert got.dtype == np.uint8
    np.testing.assert_array_equal(got, EVERY_PIXEL, err_msg=model)


@pytest.mark.parametrize(
    ("model", "scale", "zero_point"),
    [("resnet8_cifar10", 1.0, -128), ("[-1, 1]", 1 / 127.5, -1), ("[0, 1]", 1 / 255, -128), ("centred", 1.0, 0)],
)
def test_int8_models_take_pixels_minus_128(model, scale, zero_point):
    got = quantise_pixels(EVERY_PIXEL, DType.INT8, Quantisation.per_tensor(scale, zero_point))
    assert got.dtype == np.int8
    np.testing.assert_array_equal(got, EVERY_PIXEL.astype(int) - 128, err_msg=model)


@pytest.mark.parametrize(("dtype", "offset"), [(DType.UINT8, 0), (DType.INT8, -128)])
def test_without_a_quantisation_a_step_is_a_step(dtype, offset):
    np.testing.assert_array_equal(quantise_pixels(EVERY_PIXEL, dtype, None), EVERY_PIXEL.astype(int) + offset)


@pytest.mark.parametrize(
    ("dtype", "scale", "zero_point", "black", "middle", "white"),
    [
        (DType.UINT8, 0.02, 114, 64, 114, 164),  # [-2.28, 2.82]: -1..1
        (DType.INT8, 0.01, 0, -100, 0, 100),  # [-1.28, 1.27]: -1..1
        (DType.UINT8, 0.002, 0, 0, 251, 255),  # [0, 0.51]: 0..1, clamped
        (DType.UINT8, 0.01, 10, 10, 60, 110),  # [-0.1, 2.45]: 0..1
        (DType.UINT8, 2.0, 0, 0, 64, 128),  # [0, 510]: 0..255
        (DType.INT8, 2.0, 0, -64, 0, 64),  # [-256, 254]: -128..127
    ],
)
def test_other_ranges_are_computed(dtype, scale, zero_point, black, middle, white):
    pixels = np.array([0, 128, 255], np.uint8)
    got = quantise_pixels(pixels, dtype, Quantisation.per_tensor(scale, zero_point))
    assert got.dtype == np.dtype(dtype.value)
    assert got.tolist() == [black, middle, white]


def test_float_takes_minus_one_to_one():
    got = quantise_pixels(np.array([0, 51, 255], np.uint8), DType.FLOAT32, None)
    assert got.dtype == np.float32
    assert got.tolist() == pytest.approx([-1.0, -0.6, 1.0])


def test_other_inputs_are_refused():
    with pytest.raises(InputError, match=r"input of int16; uint8, int8 and float32 can"):
        quantise_pixels(EVERY_PIXEL, DType.INT16, Quantisation.per_tensor(1.0, 0))
    per_channel = Quantisation(np.ones(3, np.float32), np.zeros(3, np.int64), axis=3)
    with pytest.raises(InputError, match="per channel"):
        quantise_pixels(EVERY_PIXEL, DType.INT8, per_channel)


def test_a_picture_for_a_tensor():
    tensor = Tensor(0, "input", (1, 12, 16, 3), DType.INT8, Quantisation.per_tensor(1.0, -128))
    got = picture_for(HENS, tensor)
    np.testing.assert_array_equal(got.astype(int), load_picture(HENS, 12, 16).astype(int) - 128)


@pytest.mark.parametrize("shape", [(1, 10), (2, 8, 8, 3), (8, 8, 3), (1, 0, 8, 3), (1, 8, 8, 4)])
def test_a_tensor_that_is_no_picture(shape):
    with pytest.raises(InputError, match=r"input|resized"):
        picture_for(HENS, Tensor(0, "input", shape, DType.UINT8, Quantisation.per_tensor(1.0, 0)))
