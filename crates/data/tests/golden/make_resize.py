"""Writes resize.json: rows of pictures resized by Pillow itself.

The source of w x h pixels is, as in the golden preprocessing file, R = (3x + 5y) mod 256,
G = (x*x div 64 + 2y) mod 256, B = 255 * ((x div 5 + y div 3) mod 2): ramps, a chirp, hard edges.

    python -m venv v && v/bin/pip install 'pillow<13' numpy && v/bin/python make_resize.py

Pillow up to 12 takes the horizontal pass first, save for strips 100 times as high as wide. Pillow
13 takes the cheaper one first, which is the vertical one for some sizes of other proportions than
the picture's; what lies outside 0..255 between the passes is then cut off elsewhere.
"""

import json
import pathlib

import numpy as np
from PIL import Image, __version__

# From w x h to w x h.
SIZES = [
    [(100, 75), (50, 37)], [(101, 67), (33, 91)], [(31, 57), (64, 64)], [(64, 64), (65, 63)],
    [(500, 375), (341, 256)], [(640, 427), (16, 16)], [(3, 2), (97, 41)], [(1, 1), (7, 5)],
    [(2000, 3), (5, 224)], [(20, 1500), (301, 2)], [(997, 13), (1, 1)], [(28, 28), (32, 32)],
    [(40, 30), (40, 17)], [(40, 30), (23, 30)],
]
FILTERS = {"bilinear": Image.Resampling.BILINEAR, "bicubic": Image.Resampling.BICUBIC}
ROWS = 6

cases = []
for (w, h), to in SIZES:
    y, x = np.mgrid[0:h, 0:w]
    planes = [(3 * x + 5 * y) % 256, (x * x // 64 + 2 * y) % 256, 255 * ((x // 5 + y // 3) % 2)]
    image = Image.fromarray(np.stack(planes, axis=-1).astype(np.uint8))
    for name, resampling in FILTERS.items():
        pixels = np.asarray(image.resize(to, resampling)).astype(int)
        rows = sorted({round(i * (to[1] - 1) / (ROWS - 1)) for i in range(ROWS)})
        cases.append({
            "from": [w, h], "to": list(to), "filter": name,
            "sums": pixels.sum(axis=(0, 1)).tolist(),
            "rows": {str(i): pixels[i].reshape(-1).tolist() for i in rows},
        })
lines = ",\n".join(json.dumps(case, separators=(",", ":")) for case in cases)
text = f'{{"pillow": "{__version__}", "cases": [\n{lines}\n]}}\n'
pathlib.Path(__file__).with_name("resize.json").write_text(text)
