"""What the tensors of a Wan checkpoint are called elsewhere, brought to the official names. Standard library only.

The same numbers go about under the official names, under those of diffusers and transformers, and behind a prefix where
a file holds more than one network. Beside an 8-bit weight may lie its scale. Rules are tables; nothing is guessed: a
name that no rule knows stays, and whoever builds the model sees that it fits nowhere.
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from typing import NamedTuple

from .config import AUTOENCODER, IMAGE, TEXT, TRANSFORMER

OFFICIAL, DIFFUSERS, TRANSFORMERS, OPEN_CLIP = "official", "diffusers", "transformers", "open_clip"
SCALES = (".scale_weight", ".weight_scale")  # of an 8-bit `.weight`
NOT_WEIGHTS = (".scale_input", ".input_scale", ".comfy_quant")  # of arithmetic in 8 bits, which is not done here
MARKS = ("scaled_fp8", "spiece_model")  # tensors that are no part of a network
REPEATED = "encoder.embed_tokens.weight"  # `shared.weight` once more

Rules = tuple[tuple[str, str], ...]


class Scheme(NamedTuple):
    """One way to call the tensors of one kind of network."""

    role: str
    naming: str
    signs: tuple[str, ...]  # names that only this has
    rules: Rules  # patterns and replacements that lead to the official names, in order
    unread: tuple[str, ...] = ()  # what names begin with that nothing here reads


DIFFUSERS_TRANSFORMER: Rules = (
    (r"^condition_embedder\.time_embedder\.linear_1\.", "time_embedding.0."),
    (r"^condition_embedder\.time_embedder\.linear_2\.", "time_embedding.2."),
    (r"^condition_embedder\.time_proj\.", "time_projection.1."),
    (r"^condition_embedder\.text_embedder\.linear_1\.", "text_embedding.0."),
    (r"^condition_embedder\.text_embedder\.linear_2\.", "text_embedding.2."),
    (r"^condition_embedder\.image_embedder\.pos_embed$", "img_emb.emb_pos"),
    (r"^condition_embedder\.image_embedder\.norm1\.", "img_emb.proj.0."),
    (r"^condition_embedder\.image_embedder\.ff\.net\.0\.proj\.", "img_emb.proj.1."),
    (r"^condition_embedder\.image_embedder\.ff\.net\.2\.", "img_emb.proj.3."),
    (r"^condition_embedder\.image_embedder\.norm2\.", "img_emb.proj.4."),
    (r"^scale_shift_table$", "head.modulation"),
    (r"^proj_out\.", "head.head."),
    (r"\.scale_shift_table$", ".modulation"),
    (r"\.attn1\.", ".self_attn."),
    (r"\.attn2\.", ".cross_attn."),
    (r"\.to_([qkv])\.", r".\1."),
    (r"\.to_out\.0\.", ".o."),
    (r"\.add_([kv])_proj\.", r".\1_img."),
    (r"\.norm_added_k\.", ".norm_k_img."),
    (r"\.norm2\.", ".norm3."),  # the one with weights, before cross-attention
    (r"\.ffn\.net\.0\.proj\.", ".ffn.0."),
    (r"\.ffn\.net\.2\.", ".ffn.2."),
    (r"^(vace_blocks\.\d+)\.proj_in\.", r"\1.before_proj."),
    (r"^(vace_blocks\.\d+)\.proj_out\.", r"\1.after_proj."),
)
DIFFUSERS_RESIDUAL: Rules = (  # parts of a residual block, which stands behind a number
    (r"(?<=\d)\.norm1\.", ".residual.0."),
    (r"(?<=\d)\.conv1\.", ".residual.2."),
    (r"(?<=\d)\.norm2\.", ".residual.3."),
    (r"(?<=\d)\.conv2\.", ".residual.6."),
    (r"(?<=\d)\.conv_shortcut\.", ".shortcut."),
    (r"^quant_conv\.", "conv1."),
    (r"^post_quant_conv\.", "conv2."),
    (r"^(\w+)\.conv_in\.", r"\1.conv1."),
    (r"^(\w+)\.norm_out\.", r"\1.head.0."),
    (r"^(\w+)\.conv_out\.", r"\1.head.2."),
    (r"\.mid_block\.resnets\.0\.", ".middle.0."),
    (r"\.mid_block\.attentions\.0\.", ".middle.1."),
    (r"\.mid_block\.resnets\.1\.", ".middle.2."),
)
DIFFUSERS_FIRST: Rules = (  # 2.1: one row of layers, four to a size
    *DIFFUSERS_RESIDUAL,
    (r"^encoder\.down_blocks\.", "encoder.downsamples."),
    *(
        (rf"^decoder\.up_blocks\.{b}\.resnets\.{r}\.", f"decoder.upsamples.{4 * b + r}.")
        for b in range(4)
        for r in range(3)
    ),
    *((rf"^decoder\.up_blocks\.{b}\.upsamplers\.0\.", f"decoder.upsamples.{4 * b + 3}.") for b in range(4)),
)
DIFFUSERS_SECOND: Rules = (  # 2.2: a group of layers to a size
    *DIFFUSERS_RESIDUAL,
    (r"^encoder\.down_blocks\.(\d+)\.resnets\.", r"encoder.downsamples.\1.downsamples."),
    (r"^encoder\.down_blocks\.(\d+)\.downsampler\.", r"encoder.downsamples.\1.downsamples.2."),
    (r"^decoder\.up_blocks\.(\d+)\.resnets\.", r"decoder.upsamples.\1.upsamples."),
    (r"^decoder\.up_blocks\.(\d+)\.upsampler\.", r"decoder.upsamples.\1.upsamples.3."),
)
LAYER = r"^encoder\.block\.(\d+)\.layer\."
TRANSFORMERS_TEXT: Rules = (
    (r"^shared\.", "token_embedding."),
    (LAYER + r"0\.SelfAttention\.relative_attention_bias\.", r"blocks.\1.pos_embedding.embedding."),
    (LAYER + r"0\.SelfAttention\.", r"blocks.\1.attn."),
    (LAYER + r"0\.layer_norm\.", r"blocks.\1.norm1."),
    (LAYER + r"1\.layer_norm\.", r"blocks.\1.norm2."),
    (LAYER + r"1\.DenseReluDense\.wi_0\.", r"blocks.\1.ffn.gate.0."),
    (LAYER + r"1\.DenseReluDense\.wi_1\.", r"blocks.\1.ffn.fc1."),
    (LAYER + r"1\.DenseReluDense\.wo\.", r"blocks.\1.ffn.fc2."),
    (r"^encoder\.final_layer_norm\.", "norm."),
)
BIAS = "encoder.block.{}.layer.0.SelfAttention.relative_attention_bias.weight"  # T5 has it in the first block only
TRANSFORMERS_IMAGE: Rules = (
    (r"^embeddings\.class_embedding$", "cls_embedding"),
    (r"^embeddings\.position_embedding\.weight$", "pos_embedding"),
    (r"^embeddings\.patch_embedding\.", "patch_embedding."),
    (r"^pre_layrnorm\.", "pre_norm."),  # so it is spelt
    (r"^encoder\.layers\.(\d+)\.", r"transformer.\1."),
    (r"\.layer_norm([12])\.", r".norm\1."),
    (r"\.self_attn\.([qkv])_proj\.", r".attn.\1."),
    (r"\.self_attn\.out_proj\.", ".attn.proj."),
    (r"\.mlp\.fc1\.", ".mlp.0."),
    (r"\.mlp\.fc2\.", ".mlp.2."),
)
OPEN_CLIP_IMAGE: Rules = (
    (r"^class_embedding$", "cls_embedding"),
    (r"^positional_embedding$", "pos_embedding"),
    (r"^conv1\.", "patch_embedding."),
    (r"^ln_pre\.", "pre_norm."),
    (r"^transformer\.resblocks\.", "transformer."),
    (r"\.ln_([12])\.", r".norm\1."),
    (r"\.attn\.in_proj_", ".attn.to_qkv."),
    (r"\.attn\.out_proj\.", ".attn.proj."),
    (r"\.mlp\.c_fc\.", ".mlp.0."),
    (r"\.mlp\.c_proj\.", ".mlp.2."),
)

SCHEMES = (
    Scheme(TRANSFORMER, OFFICIAL, ("patch_embedding.weight", "blocks.0.self_attn.norm_q.weight"), ()),
    Scheme(TRANSFORMER, DIFFUSERS, ("patch_embedding.weight", "blocks.0.attn1.norm_q.weight"), DIFFUSERS_TRANSFORMER),
    Scheme(AUTOENCODER, OFFICIAL, ("encoder.conv1.weight", "decoder.middle.0.residual.0.gamma"), ()),
    Scheme(AUTOENCODER, DIFFUSERS, ("encoder.conv_in.weight", "encoder.down_blocks.0.norm1.gamma"), DIFFUSERS_FIRST),
    Scheme(
        AUTOENCODER,
        DIFFUSERS,
        ("encoder.conv_in.weight", "encoder.down_blocks.0.resnets.0.norm1.gamma"),
        DIFFUSERS_SECOND,
    ),
    Scheme(TEXT, OFFICIAL, ("token_embedding.weight", "blocks.0.pos_embedding.embedding.weight"), ()),
    Scheme(TEXT, TRANSFORMERS, ("shared.weight", BIAS.format(0), BIAS.format(1)), TRANSFORMERS_TEXT),
    Scheme(IMAGE, OFFICIAL, ("cls_embedding", "transformer.0.attn.to_qkv.weight"), (), ("post_norm.", "head")),
    Scheme(
        IMAGE,
        TRANSFORMERS,
        ("embeddings.class_embedding", "encoder.layers.0.self_attn.q_proj.weight"),
        TRANSFORMERS_IMAGE,
        ("post_layernorm.", "embeddings.position_ids"),
    ),
    Scheme(
        IMAGE,
        OPEN_CLIP,
        ("class_embedding", "transformer.resblocks.0.attn.in_proj_weight"),
        OPEN_CLIP_IMAGE,
        ("ln_post.", "proj"),
    ),
)


@dataclass(frozen=True)
class Named:
    """A network found among the names of a file."""

    role: str
    naming: str
    prefix: str  # what stood before every name of it
    names: Mapping[str, str]  # official name -> name in the file
    scales: Mapping[str, str]  # official name of an 8-bit weight -> its scale's name in the file


def find(names: Iterable[str]) -> Named | None:
    """The network of this family that a file's names show; None where there is none."""
    names = list(names)
    held = set(names)
    for scheme in SCHEMES:
        for prefix in prefixes(names, scheme.signs[0]):
            if all(prefix + sign in held for sign in scheme.signs):
                return named(scheme, prefix, names)
    return None


def prefixes(names: Iterable[str], sign: str) -> list[str]:
    """What may stand before a name, the shortest first."""
    ends = (name.removesuffix(sign) for name in names if name.endswith(sign))
    return sorted((end for end in ends if not end or end.endswith(".")), key=len)


def named(scheme: Scheme, prefix: str, names: Iterable[str]) -> Named:
    found: dict[str, str] = {}
    scales: dict[str, str] = {}
    for name in names:
        bare = name.removeprefix(prefix)
        if not name.startswith(prefix) or bare in MARKS or bare.endswith(NOT_WEIGHTS):
            continue
        if bare.startswith(scheme.unread):
            continue
        if scheme.naming == TRANSFORMERS and bare == REPEATED:
            continue
        scale = next((end for end in SCALES if bare.endswith(end)), "")
        if scale:
            scales[official(bare.removesuffix(scale) + ".weight", scheme)] = name
        else:
            found[official(bare, scheme)] = name
    return Named(scheme.role, scheme.naming, prefix, found, scales)


def official(name: str, scheme: Scheme) -> str:
    for pattern, replacement in scheme.rules:
        name = re.sub(pattern, replacement, name)
    return name
