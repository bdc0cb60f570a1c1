"""Writes tiny random checkpoints under official names, and the registry that names them: `python tiny_wan.py FOLDER`.

Runs in the engine's own Python: it needs torch and safetensors, and nothing of the test environment.
"""

from __future__ import annotations

import json
import lzma
import sys
from dataclasses import replace
from pathlib import Path

import torch
from safetensors.torch import save_file

HERE = Path(__file__).resolve().parent
if str(HERE.parents[1]) not in sys.path:
    sys.path.insert(0, str(HERE.parents[1]))

from engine.models.wan.autoencoder import Autoencoder  # noqa: E402
from engine.models.wan.config import AutoencoderConfig, ImageConfig, TextConfig, WanConfig  # noqa: E402
from engine.models.wan.image import ImageEncoder  # noqa: E402
from engine.models.wan.text import TextEncoder  # noqa: E402
from engine.models.wan.transformer import Wan  # noqa: E402

TINY = WanConfig(width=128, hidden=96, layers=2, text_width=32)
TEXT = TextConfig(vocabulary=900, width=32, inner=32, hidden=48, heads=4, layers=2)
CLIP = ImageConfig(width=32, hidden=48, layers=2, patch=14, tokens=5)
LOOKS = {"image": True, "image_width": CLIP.width}
MODELS = {  # name -> what it is, beside TINY
    "tiny-vace": {"vace_layers": (0, 1), "vace_channels": 96},
    "tiny-camera": {"in_channels": 32, "camera_fold": 8},
    "tiny-control": {"in_channels": 52, "reference_channels": 16},
    "tiny-image": {"in_channels": 36},
    "tiny-text": {},
    "tiny-ti2v": {"in_channels": 48, "out_channels": 48},
    "tiny-camera-clip": {"in_channels": 32, "camera_fold": 8} | LOOKS,
    "tiny-image-clip": {"in_channels": 36} | LOOKS,
    "tiny-ends": {"in_channels": 36, "image_positions": 2 * CLIP.tokens} | LOOKS,
}
EXPERTS = ("tiny-experts", {"vace_layers": (0, 1), "vace_channels": 96})


def randomised(model: torch.nn.Module, seed: int) -> dict[str, torch.Tensor]:
    """A network's numbers: random, of a size that lets signals pass."""
    generator = torch.Generator().manual_seed(seed)
    out = {}
    for name, value in model.state_dict().items():
        noise = torch.randn(value.shape, generator=generator)
        if value.dim() < 2 or name.endswith("gamma"):
            out[name] = 0.1 * noise + (0 if name.endswith("bias") else 1)
        else:
            out[name] = noise / value[0].numel() ** 0.5
    return out


def write(folder: Path) -> Path:
    """All of MODELS, EXPERTS, and models.json beside them; returns that file."""
    folder.mkdir(parents=True, exist_ok=True)
    spiece = lzma.decompress((HERE / "sentencepiece.model.xz").read_bytes())
    text = randomised(TextEncoder(TEXT), 1) | {"spiece_model": torch.tensor(list(spiece), dtype=torch.uint8)}
    save_file(text, folder / "umt5.safetensors")
    for generation, width, channels in (("2.1", 4, 16), ("2.2", 8, 48)):
        config = AutoencoderConfig(generation, width, width, channels)
        save_file(randomised(Autoencoder(config), 2), folder / f"vae{generation}.safetensors")
    save_file(randomised(ImageEncoder(CLIP), 30), folder / "clip.safetensors")
    table = {}
    for seed, (name, changed) in enumerate(MODELS.items(), 3):
        save_file(randomised(Wan(replace(TINY, **changed)), seed), folder / f"{name}.safetensors")
        generation = "2.2" if changed.get("out_channels") == 48 else "2.1"
        files = {"transformer": f"{name}.safetensors", "text": "umt5.safetensors",
                 "autoencoder": f"vae{generation}.safetensors"}  # fmt: skip
        if changed.get("image"):
            files["image"] = "clip.safetensors"
        table[name] = {"title": name.replace("-", " ").title(), "files": files}
    name, changed = EXPERTS
    for seed, noise in ((20, "high"), (21, "low")):
        save_file(randomised(Wan(replace(TINY, **changed)), seed), folder / f"{name}-{noise}.safetensors")
    table[name] = {"variant": "Wan2.2-VACE-Fun-A14B", "files": {
        "transformer": f"{name}-high.safetensors", "transformer_low": f"{name}-low.safetensors",
        "text": "umt5.safetensors", "autoencoder": "vae2.1.safetensors"}}  # fmt: skip
    path = folder / "models.json"
    path.write_text(json.dumps({"version": 1, "models": table}))
    return path


if __name__ == "__main__":
    print(write(Path(sys.argv[1])))
