"""What parameters are called: biases and scales, norms, tables of vectors, state-space models.

Where layers are stacked, a bias or the scale of a norm is a matrix as well, and only its name
tells. Words are understood in any case, single letters as they are written: `b` is a bias, and
`B` a matrix.
"""

import re

# The last part of the path; `_END` is a number or a side: `norm1`, `norm_1`, `norm_attn`, `ln_f`.
_END = r"([0-9]+|_(?!(proj|projection|linear|dense|fc|conv|kernel|modulation)\b)[0-9a-z]+)?"
_NORM = rf"([^/]*norm|([^/_]*_)*(ln|bn|gn)f?){_END}"

_VECTORS = [
    # b, b1, bq, bqkv, b_out; ln_b, out_b, but not the B of a low-rank pair: lora_b, wq_b.
    r"(?-i:b([0-9]+|[qkvo]+|_[^/]*)?)",
    r"(?!lora|w)[^/]*_(?-i:b)",
    r"[^/]*bias(es)?([0-9]+|_[^/]*)?",  # bias_ih_l0, dt_bias, relative_position_bias_table
    r"(?-i:g)|weight_g",
    r"([^/]*_)?(beta|gain|gamma|(layer_?)?scale|offset)s?(_?[0-9]+|_param(eter)?)?",
    r"lambda_?[0-9]",  # the layer scales of DINOv2
]
_NORMS = [
    rf"{_NORM}(_(w|weight|scale|g|b))?",  # attention_norm, ln1_w
    r"rms_[0-9a-z]+_(w|weight)",
    rf"{_NORM}/(?!kernel)[^/]*",  # what lies in one
]
_STATE_SPACE = [
    r"(?-i:A_logs?|A_imag|Ds?|Lambda(_re|_im)?|log_A_real|log_dt|log_step)",  # Mamba, S4, S5
    r"time_(decay|first|mix_[a-z])",  # RWKV
]
_EMBEDDINGS = [
    r"(?!un|[^/]*patch)[^/]*emb(ed(s|dings?|der)?)?(_?[0-9]+)?",
    r"(?!un|[^/]*patch)[^/]*emb(ed(s|dings?|der)?)?(_?[0-9]+)?/(w|weight)",
    r"(wte|wpe|embed_(token|position)s?)(/(w|weight))?",
    r"(?!un)[^/]*(pos|tok|token)_emb[^/]*",
    r"codebooks?",
]
_POSITIONS = [
    r"([^/]*_)?pos(itions?)?",
    r"(rel(ative)?|abs(olute)?|pos)_?pos(ition)?_[^/]*",  # rel_pos_h, absolute_pos_embed
    r"(pos|position(al)?)_?(emb|enc|table)[^/]*",
    r"[^/]*bias/(w|weight|embeddings?)",  # relative_attention_bias/weight of T5
]
_TOKENS = [r"([^/]*_)?(tokens?|registers?|queries|latents|prompts?|cls|probe)"]


def _any_of(*groups: list[str]) -> re.Pattern[str]:
    names = "|".join(name for group in groups for name in group)
    return re.compile(rf"(?i)(.*/)?({names})")


VECTORS = _any_of(_VECTORS, _NORMS, _STATE_SPACE)
"""Paths of biases, scales, norms, and of the vectors of state-space models."""

TABLES = _any_of(_EMBEDDINGS, _POSITIONS, _TOKENS)
"""Paths of embeddings, of tables of positions, and of learned tokens and queries."""
