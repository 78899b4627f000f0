"""What the gallery shows: the commands of each picture, and which files of them stand side by side."""

from __future__ import annotations

from dataclasses import dataclass

DESK = "gallery"
"""The folder that the commands write to; everything in it can be made again."""


@dataclass(frozen=True)
class Piece:
    """commands: without `latentry`. shown: (what is written above, files) for each group of a row; `*` stands for many.

    scale: how much larger than its pixels a picture is shown.
    """

    name: str
    title: str
    text: str
    commands: tuple[str, ...]
    shown: tuple[tuple[str, str], ...]
    scale: int = 2


MODEL = "models/shapes"
PIECES = (
    Piece(
        "text",
        "Text",
        "A caption, whose words reach the image by cross-attention.",
        (f'sample {MODEL} "a blue triangle" -n 8 --seed 1 --out {DESK}/text',),
        (("a blue triangle", f"{DESK}/text/*.png"),),
    ),
    Piece(
        "label",
        "Class",
        "The shape that is to be the largest; colour, place and what else there is are the model's.",
        (f"sample {MODEL} --label triangle -n 8 --seed 1 --out {DESK}/label",),
        (("triangle", f"{DESK}/label/*.png"),),
    ),
    Piece(
        "layout",
        "Boxes with classes",
        "`docs/gallery/boxes.json` names two shapes and their places. What was asked for is drawn beside each sample.",
        (f"sample {MODEL} --layout docs/gallery/boxes.json -n 6 --seed 1 --out {DESK}/layout",),
        (
            ("asked", f"{DESK}/layout/seed-1-layout.png"),
            ("came", f"{DESK}/layout/seed-?.png"),
        ),
    ),
    Piece(
        "semantic",
        "A map of classes",
        "An index PNG: the number of each pixel's class. Here it is the map of a scene the model has not seen.",
        (
            f"data shapes --scenes --count 12 --seed 2 --out {DESK}/scenes",
            f"sample {MODEL} --semantic {DESK}/scenes/semantic/000007.png -n 6 --seed 1 --out {DESK}/semantic",
        ),
        (("map", f"{DESK}/scenes/semantic/000007.png"), ("samples", f"{DESK}/semantic/*.png")),
    ),
    Piece(
        "wide",
        "Beyond the training size",
        "The model has seen 64x64 pixels and no more; a map of 64x256 asks for as much. `--tile 64` would draw it in "
        "tiles that overlap, for pictures that do not fit in memory.",
        (
            f"data shapes --scenes --count 3 --size 64x256 --seed 4 --out {DESK}/wide-scenes",
            f"sample {MODEL} --semantic {DESK}/wide-scenes/semantic/000002.png --guidance 2 -n 1 --seed 1 "
            f"--out {DESK}/wide.png",
        ),
        (("map", f"{DESK}/wide-scenes/semantic/000002.png"), ("sample", f"{DESK}/wide.png")),
    ),
    Piece(
        "upscale",
        "Super-resolution",
        "An image of 16x16 pixels made four times as large; shrunk again, it is the input.",
        (
            f"upscale {MODEL} docs/gallery/small-1.png --seed 1 --out {DESK}/large-1.png",
            f"upscale {MODEL} docs/gallery/small-2.png --seed 1 --out {DESK}/large-2.png",
        ),
        (
            ("input", "docs/gallery/small-1.png"),
            ("x4", f"{DESK}/large-1.png"),
            ("input", "docs/gallery/small-2.png"),
            ("x4", f"{DESK}/large-2.png"),
        ),
    ),
    Piece(
        "inpaint",
        "Inpainting",
        "What the box covers is drawn anew; every pixel outside it comes back as it was. With words, they say what.",
        (
            f"inpaint {MODEL} {DESK}/scenes/images/000007.png --box 34,2,28,28 -n 3 --seed 1 --out {DESK}/inpaint",
            f'inpaint {MODEL} {DESK}/scenes/images/000007.png "a blue star and a yellow square" --box 34,2,28,28 -n 2 '
            f"--seed 1 --out {DESK}/inpaint-text",
        ),
        (
            ("image", f"{DESK}/scenes/images/000007.png"),
            ("the circle drawn anew", f"{DESK}/inpaint/*.png"),
            ("a blue star and a yellow square", f"{DESK}/inpaint-text/*.png"),
        ),
    ),
    Piece(
        "outpaint",
        "Uncropping",
        "The image goes on where it was cut off.",
        (f"outpaint {MODEL} {DESK}/scenes/images/000001.png --right 32 --left 32 -n 2 --seed 1 --out {DESK}/outpaint",),
        (("image", f"{DESK}/scenes/images/000001.png"), ("wider", f"{DESK}/outpaint/*.png")),
    ),
    Piece(
        "untrained",
        "Inpainting by a model that was not trained for it",
        "The emoji model knows names alone. The known region takes its place at every step, each step several times.",
        (
            f'sample models/emoji "cat face" -n 1 --seed 4 --out {DESK}/cat.png',
            f'inpaint models/emoji {DESK}/cat.png "cat face" --box 8,8,28,28 -n 4 --seed 1 --out {DESK}/mended',
        ),
        (("image", f"{DESK}/cat.png"), ("its left ear drawn anew", f"{DESK}/mended/*.png")),
    ),
    Piece(
        "colorize",
        "Colourisation",
        "A grey image gets colours; its greys stay.",
        (f"colorize {MODEL} docs/gallery/grey.png -n 6 --seed 1 --out {DESK}/colours",),
        (("grey", "docs/gallery/grey.png"), ("coloured", f"{DESK}/colours/*.png")),
    ),
    Piece(
        "edit",
        "Editing by prompts",
        "Prompt-to-prompt: one word of the caption is changed, and the attention of the words keeps the rest in place. "
        "Of this small model, which was trained for all tasks, six in ten come in the new colour, seldom in the "
        "opposite one; of `shapes-text`, which is trained for captions alone, nine.",
        (f'edit {MODEL} "a red star" --to "a yellow star" -n 4 --seed 1 --out {DESK}/edit',),
        (("the red star made yellow, and beside it the original", f"{DESK}/edit/*.png"),),
    ),
    Piece(
        "vary",
        "Variation",
        "An image is covered with noise to a strength and drawn again from there, here with other words.",
        (
            f"vary {MODEL} {DESK}/scenes/images/000005.png --strength 0.6 -n 3 --seed 1 --out {DESK}/vary",
            f'vary {MODEL} {DESK}/scenes/images/000005.png "a blue star" --strength 0.9 -n 3 --seed 1 '
            f"--out {DESK}/vary-text",
        ),
        (
            ("image", f"{DESK}/scenes/images/000005.png"),
            ("strength 0.6", f"{DESK}/vary/*.png"),
            ("0.9, a blue star", f"{DESK}/vary-text/*.png"),
        ),
    ),
    Piece(
        "interpolate",
        "Interpolation",
        "From one caption to another, with one noise.",
        (
            f'interpolate {MODEL} --texts "a red circle" --texts "a blue star" --frames 8 --seed 1 '
            f"--out {DESK}/interpolate",
        ),
        (("a red circle becomes a blue star", f"{DESK}/interpolate/*.png"),),
    ),
    Piece(
        "guidance",
        "Guidance",
        "The same seed and caption at rising scales of classifier-free guidance.",
        tuple(
            f'sample {MODEL} "a pink triangle" -n 3 --seed 1 --guidance {scale} --out {DESK}/scale-{scale}'
            for scale in (1, 3, 8)
        ),
        tuple((f"guidance {scale}", f"{DESK}/scale-{scale}/*.png") for scale in (1, 3, 8)),
    ),
    Piece(
        "classifier",
        "Classifier guidance",
        "No condition at all: the gradient of a classifier of noisy latents leads to its class.",
        (
            f"sample {MODEL} -n 4 --seed 1 --out {DESK}/led-0",
            f"sample {MODEL} --label star --guidance 1 --classifier-scale 15 -n 4 --seed 1 --out {DESK}/led-5",
        ),
        (("unconditional", f"{DESK}/led-0/*.png"), ("led to star", f"{DESK}/led-5/*.png")),
    ),
    Piece(
        "guide",
        "Image guidance",
        "Not a word: samples that, made as small as the guide (16x16), look like it. Any model can be guided so.",
        (f'sample models/emoji "" --guide docs/gallery/small-cat.png -n 6 --seed 1 --out {DESK}/guided',),
        (("guide", "docs/gallery/small-cat.png"), ("samples", f"{DESK}/guided/*.png")),
    ),
)
