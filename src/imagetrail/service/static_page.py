"""A page of files that runs the model in the browser: nothing to install, nothing is sent."""

import json
import shutil
from importlib.resources import as_file, files
from pathlib import Path

from imagetrail.base.errors import UserError
from imagetrail.base.files import replacing
from imagetrail.data import sources
from imagetrail.data.sources import File
from imagetrail.serving import inputs, onnx_model

RUNTIME = (  # onnxruntime-web, MIT
    File(
        "ort.wasm.bundle.min.mjs",
        "11e64bd8ffe11bd1a2a2f0d6275fdfbbba7262f0b76b99b53d228a8a22ef3d90",
    ),
    File(
        "ort-wasm-simd-threaded.wasm",
        "3398c10d07d229bd91b364548e130e0e51a8e5704b88c7c083ebbeb78842dee2",
    ),
)
MIRROR = "npm:onnxruntime-web@1.30.0/package/dist/{file}"
PARTS = {"index.html": "", "style.css": "", "page.js": "", "pixels.js": "", "local.js": "engine.js"}


def write(model: Path, folder: Path, *, top: int, unsure: float) -> None:
    """Puts the page, the model and what runs it into `folder`, which is made; whole or not at all.

    Raises UserError if there is a folder that is none of ours, or the runtime is to be had nowhere.
    """
    opened = onnx_model.load(model)
    target = inputs.target_of(opened)
    if folder.exists() and (not folder.is_dir() or _other(folder)):
        raise UserError(f"{folder} is there already, and is no such page; name another folder")
    facts = {
        "model": opened.sha256,
        "classes": opened.classes,
        "shape": opened.shape,
        "fit": target.fit,
        "top": top,
        "unsure": unsure,
    }
    with replacing(folder) as made:
        made.mkdir()
        sources.fetch(RUNTIME, [MIRROR], made)
        with as_file(files("imagetrail.service") / "page") as page:
            for name, called in PARTS.items():
                shutil.copyfile(page / name, made / (called or name))
        shutil.copyfile(model, made / "model.onnx")
        (made / "about.json").write_text(json.dumps(facts))


def _other(folder: Path) -> bool:
    return any(folder.iterdir()) and not (folder / "about.json").exists()
