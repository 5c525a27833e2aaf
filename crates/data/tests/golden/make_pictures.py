"""Writes small pictures of every form that is read, and pictures.json with their RGB bytes as
Pillow gives them: `convert("RGB")` after `ImageOps.exif_transpose`, as torchvision's loader does.

Pillow 13 has no 16-bit colour: it reads the high byte of every channel of a 16-bit RGB file. A
16-bit grey file it keeps at 16 bits, so the high byte is taken here.

    python -m venv v && v/bin/pip install pillow numpy && v/bin/python make_pictures.py
"""

import json
import pathlib
import struct
import zlib

import numpy as np
from PIL import Image, ImageOps, __version__

HERE = pathlib.Path(__file__).parent
FOLDER = HERE / "pictures"
FOLDER.mkdir(exist_ok=True)

W, H = 13, 9
y, x = np.mgrid[0:H, 0:W]
RGB = np.stack([x * 19, y * 28, 255 - 8 * x - 10 * y], axis=-1).astype(np.uint8)
GREY = (x * 11 + y * 13).astype(np.uint8)
ALPHA = ((x * 37 + y * 61) % 256).astype(np.uint8)


def png16(name, colour_type, pixels):
    """Pillow does not write 16-bit colour, so the file is put together here."""

    def chunk(kind, data):
        return struct.pack(">I", len(data)) + kind + data + struct.pack(">I", zlib.crc32(kind + data))

    rows = b"".join(b"\0" + row.astype(">u2").tobytes() for row in pixels)
    head = struct.pack(">IIBBBBB", W, H, 16, colour_type, 0, 0, 0)
    body = chunk(b"IHDR", head) + chunk(b"IDAT", zlib.compress(rows)) + chunk(b"IEND", b"")
    (FOLDER / name).write_bytes(b"\x89PNG\r\n\x1a\n" + body)


def save(name, image, **options):
    image.save(FOLDER / name, **options)


def exif(orientation):
    tags = Image.Exif()
    tags[0x0112] = orientation
    return tags


rgb = Image.fromarray(RGB)
save("rgb.png", rgb)
save("grey.png", Image.fromarray(GREY))
save("bilevel.png", Image.fromarray(GREY > 120))
save("grey_alpha.png", Image.merge("LA", [Image.fromarray(GREY), Image.fromarray(ALPHA)]))
save("rgb_alpha.png", Image.fromarray(np.dstack([RGB, ALPHA])))
save("palette.png", rgb.quantize(16))
save("palette_transparent.png", rgb.quantize(16), transparency=bytes(range(0, 256, 16)))
save("png_name_is_wrong.jpg", rgb, format="PNG")
save("turned.png", rgb, exif=exif(8))
deep = RGB.astype(np.uint16) * 256 + 200
png16("rgb16.png", 2, deep)
png16("rgb_alpha16.png", 6, np.dstack([deep, ALPHA.astype(np.uint16) * 257]))
png16("grey16.png", 0, GREY.astype(np.uint16) * 256 + 200)
save("rgb.jpg", rgb, quality=95, subsampling=0)
save("progressive.jpg", rgb, quality=95, subsampling=0, progressive=True)
save("grey.jpg", Image.fromarray(GREY), quality=95)
save("jpeg_name_is_wrong.png", rgb, format="JPEG", quality=95, subsampling=0)
cmyk = Image.fromarray(np.dstack([RGB, GREY // 2]), mode="CMYK")
save("cmyk.jpg", cmyk, quality=95)
for orientation in range(1, 9):
    save(f"exif{orientation}.jpg", rgb, quality=95, subsampling=0, exif=exif(orientation))

# YCCK is CMYK whose first three channels, inverted, were turned to YCbCr; Pillow reads but does
# not write it. Here the channels of a YCbCr picture are stored as those of a CMYK one, and the
# Adobe marker that tells the two apart is set to 2.
ycc = np.asarray(Image.fromarray(255 - RGB).convert("YCbCr"))
save("ycck.jpg", Image.fromarray(np.dstack([255 - ycc, GREY // 2]), mode="CMYK"), quality=95)
data = bytearray((FOLDER / "ycck.jpg").read_bytes())
at = data.index(b"Adobe")
data[at + 11] = 2
(FOLDER / "ycck.jpg").write_bytes(data)

expected = {}
for path in sorted(FOLDER.iterdir()):
    image = ImageOps.exif_transpose(Image.open(path))
    if image.mode.startswith("I"):
        pixels = np.repeat((np.asarray(image) >> 8)[..., None], 3, axis=-1)
    else:
        pixels = np.asarray(image.convert("RGB"))
    expected[path.name] = {
        "size": [pixels.shape[1], pixels.shape[0]],
        "rgb": pixels.astype(np.uint8).reshape(-1).tolist(),
    }
table = ",\n".join(f"{json.dumps(k)}: {json.dumps(v, separators=(',', ':'))}" for k, v in expected.items())
(HERE / "pictures.json").write_text(f'{{"pillow": "{__version__}", "pictures": {{\n{table}\n}}}}\n')
