"""The official checkpoints, by what their tensors are called and how large they are. A fingerprint knows no numbers:
experts for much and for little noise have one, and so has a model that was only trained further."""

from __future__ import annotations

import dataclasses
import hashlib
from dataclasses import dataclass

from .config import AutoencoderConfig, Config, ImageConfig, Shapes, TextConfig, WanConfig

SMALL = WanConfig(width=1536, hidden=8960, layers=30)  # 1.3B
LARGE = WanConfig(width=5120, hidden=13824, layers=40)  # 14B
CLIP = ImageConfig(width=1280, hidden=5120, layers=32, patch=14, tokens=257)
MIDDLE = WanConfig(width=3072, hidden=14336, layers=30, in_channels=48, out_channels=48)  # 5B


@dataclass(frozen=True)
class Checkpoint:
    config: Config
    fingerprint: str  # MD5 of `fingerprint`, as DiffSynth-Studio lists it for the official file; for CLIP's, which
    # holds words beside pictures, of what is read of it: that the whole file has the listed one, its test shows


def of(base: WanConfig, **changed: int | bool | tuple[int, ...]) -> WanConfig:
    return dataclasses.replace(base, **changed)  # type: ignore[arg-type]


VACE_SMALL = of(SMALL, vace_layers=tuple(range(0, 30, 2)), vace_channels=96)
VACE_LARGE = of(LARGE, vace_layers=tuple(range(0, 40, 5)), vace_channels=96)

CHECKPOINTS: dict[str, Checkpoint] = {
    "Wan2.1-T2V-1.3B": Checkpoint(SMALL, "9269f8db9040a9d860eaca435be61814"),
    "Wan2.1-T2V-14B or Wan2.2-T2V-A14B": Checkpoint(LARGE, "aafcfd9672c3a2456dc46e1cb6e52c70"),
    "Wan2.1-I2V-14B": Checkpoint(of(LARGE, in_channels=36, image=True), "6bfcfb3b342cb286ce886889d519a77e"),
    "Wan2.1-FLF2V-14B": Checkpoint(
        of(LARGE, in_channels=36, image=True, image_positions=514), "3ef3b1f8e1dab83d5b71fd7b617f859f"
    ),
    "Wan2.2-TI2V-5B": Checkpoint(MIDDLE, "1f5ab7703c6fc803fdded85ff040c316"),
    "Wan2.2-I2V-A14B": Checkpoint(of(LARGE, in_channels=36), "5b013604280dd715f8457c6ed6d6a626"),
    "Wan2.1-VACE-1.3B": Checkpoint(VACE_SMALL, "a61453409b67cd3246cf0c3bebad47ba"),
    "Wan2.1-VACE-14B or Wan2.2-VACE-Fun-A14B": Checkpoint(VACE_LARGE, "7a513e1f257a861512b1afd387a8ecd9"),
    "Wan2.1-Fun-1.3B-InP": Checkpoint(of(SMALL, in_channels=36, image=True), "6d6ccde6845b95ad9114ab993d917893"),
    "Wan2.1-Fun-1.3B-Control": Checkpoint(of(SMALL, in_channels=48, image=True), "349723183fc063b2bfc10bb2835cf677"),
    "Wan2.1-Fun-V1.1-1.3B-Control": Checkpoint(
        of(SMALL, in_channels=48, image=True, reference_channels=16), "70ddad9d3a133785da5ea371aae09504"
    ),
    "Wan2.1-Fun-V1.1-1.3B-Control-Camera": Checkpoint(
        of(SMALL, in_channels=32, image=True, camera_fold=8), "ac6a5aa74f4a0aab6f64eb9a72f19901"
    ),
    "Wan2.1-Fun-V1.1-14B-Control": Checkpoint(
        of(LARGE, in_channels=48, image=True, reference_channels=16), "26bde73488a92e64cc20b0a7485b9e5b"
    ),
    "Wan2.1-Fun-V1.1-14B-Control-Camera": Checkpoint(
        of(LARGE, in_channels=32, image=True, camera_fold=8), "b61c605c2adbd23124d152ed28e049ae"
    ),
    "Wan2.2-Fun-A14B-Control-Camera": Checkpoint(
        of(LARGE, in_channels=36, camera_fold=8), "47dbeab5e560db3180adf51dc0232fb1"
    ),
    "Wan2.2-Fun-A14B-Control": Checkpoint(
        of(LARGE, in_channels=52, reference_channels=16), "2267d489f0ceb9f21836532952852ee5"
    ),
    "umT5-XXL encoder": Checkpoint(
        TextConfig(vocabulary=256384, width=4096, inner=4096, hidden=10240, heads=64, layers=24),
        "9c8818c2cbea55eca56c7b447df170da",
    ),
    "Wan2.1 autoencoder": Checkpoint(AutoencoderConfig("2.1", 96, 96, 16), "ccc42284ea13e1ad04693284c7a09be6"),
    "Wan2.2 autoencoder": Checkpoint(AutoencoderConfig("2.2", 160, 256, 48), "e1de6c02cdac79f8b739f4d3698cd216"),
    "CLIP ViT-H/14 image encoder": Checkpoint(CLIP, "73b90f14c9036dabda455f9d04077eb2"),
    "CLIP ViT-H/14 image encoder, as transformers names it": Checkpoint(
        dataclasses.replace(CLIP, fused=False, flat=True), "705df21dec700b9cba101cb9a3ab3ae1"
    ),
}


def fingerprint(shapes: Shapes) -> str:
    """MD5 over names and shapes, as DiffSynth-Studio takes it: each name alone and with its shape, sorted."""
    lines = [line for name, shape in shapes.items() for line in (name, f"{name}:{'_'.join(map(str, shape))}")]
    return hashlib.md5(",".join(sorted(lines)).encode(), usedforsecurity=False).hexdigest()


def known(shapes: Shapes) -> str | None:
    """Which official checkpoint has these official names and shapes."""
    mark = fingerprint(shapes)
    return next((name for name, checkpoint in CHECKPOINTS.items() if checkpoint.fingerprint == mark), None)
