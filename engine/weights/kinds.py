"""What a safetensors file is that is no network of this engine, told by names that only its kind has.

A table of signs: a name that begins or ends like that, and what has it. Only for sentences: nothing is loaded by it.
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Mapping

LORA = re.compile(r"\.(lora_(down|up|A|B)|diff|diff_b|hada_w1_a|lokr_w1)(\.default)?(\.weight)?$")
WAN_LAYER = re.compile(r"blocks[._]\d+[._](self_attn|cross_attn|ffn|attn[12])[._]")

FURTHER: Mapping[str, str] = {  # parts that other makers put into a Wan transformer, and what they are for
    "casual_audio_encoder.": "speech to video (S2V)",
    "audio_injector.": "speech to video (S2V)",
    "audio_proj.": "talking figures",
    "audio_model.": "talking figures",
    "face_adapter.": "moving a figure (Animate)",
    "motion_encoder.": "moving a figure (Animate)",
    "pose_patch_embedding.": "moving a figure (Animate)",
    "cam_encoder.": "re-filming a video (ReCamMaster)",
    "cam_injector": "re-filming a video (ReCamMaster)",
}

SIGNS: tuple[tuple[str, str], ...] = (  # a pattern of one name, what has it; the first that fits
    (r"(^|\.)double_blocks\.0\.img_attn\.norm\.query_norm", "a FLUX transformer"),
    (r"(^|\.)txt_in\.individual_token_refiner\.", "a HunyuanVideo transformer"),
    (r"(^|\.)patchify_proj\.weight$", "an LTX-Video transformer"),
    (r"(^|\.)joint_blocks\.0\.", "a Stable Diffusion 3 transformer"),
    (r"(^|\.)patch_embed\.text_proj\.", "a CogVideoX transformer"),
    (r"(^|\.)t5_yproj\.weight$", "a Mochi transformer"),
    (r"(^|\.)transformer_blocks\.0\.img_mod\.1\.", "a Qwen-Image transformer"),
    (r"(^|\.)single_transformer_blocks\.0\.", "a FLUX transformer"),
    (r"(^|\.)net\.blocks\.0\.adaln_modulation", "a Cosmos transformer"),
    (r"^conditioner\.embedders\.", "a Stable Diffusion XL checkpoint"),
    (r"(^|\.)label_emb\.0\.0\.weight$", "a Stable Diffusion XL network"),
    (r"(^|\.)input_blocks\.0\.0\.weight$", "a Stable Diffusion checkpoint"),
    (r"^down_blocks\.0\.attentions\.0\.transformer_blocks\.", "a Stable Diffusion network"),
    (r"(^|\.)encoder\.block\.0\.layer\.0\.SelfAttention\.q\.weight$", "a T5 text encoder that is not umT5"),
    (r"(^|\.)vision_model\.encoder\.layers\.0\.", "a CLIP image encoder"),
    (r"(^|\.)visual\.transformer\.", "a CLIP image encoder"),
    (r"(^|\.)text_model\.encoder\.layers\.0\.", "a CLIP text encoder"),
    (r"(^|\.)encoder\.down\.0\.block\.0\.norm1\.weight$", "an image autoencoder"),
    (r"(^|\.)encoder\.down_blocks\.0\.resnets\.0\.norm1\.weight$", "an image autoencoder"),
    (r"(^|\.)model\.layers\.0\.self_attn\.q_proj\.weight$", "a language model"),
    (r"(^|\.)taesd|^(en|de)coder\.layers\.\d+\.weight$", "a tiny preview autoencoder"),
)  # fmt: skip


def foreign(names: Iterable[str]) -> str:
    """What a file with these names is, as far as can be told."""
    names = list(names)
    if not names:
        return "a file without tensors"
    adapters = [name for name in names if LORA.search(name)]
    if len(adapters) * 2 > len(names):
        ours = sum(bool(WAN_LAYER.search(name)) for name in adapters)
        return "a LoRA of a Wan transformer" if ours * 2 > len(adapters) else "a LoRA of another model"
    text = "\n".join(names)
    for sign, what in SIGNS:
        if re.search(sign, text, re.MULTILINE):
            return what
    return f"of a kind that is not known here: {len(names)} tensors, the first {min(names)[:80]}"


def further(names: Iterable[str]) -> str:
    """What unknown parts of a Wan transformer are for; empty where that is not known."""
    return next((what for name in names for part, what in FURTHER.items() if name.startswith(part)), "")
