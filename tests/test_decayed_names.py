"""What `select.decayed` decays in the parameter trees of known models, path by path."""

import numpy as np
import pytest

import gradxform as gx
from gradxform import select

# For each model: what decays, and what does not. All have two axes or more here, since those of
# one axis never decay: the norms and biases are those of stacked layers.
MODELS: dict[str, tuple[str, str]] = {
    "GPT-2, TensorFlow": (
        "h0/attn/c_attn/w h0/attn/c_proj/w h0/mlp/c_fc/w h0/mlp/c_proj/w",
        "wte wpe h0/ln_1/g h0/ln_1/b h0/attn/c_attn/b h0/mlp/c_fc/b ln_f/g ln_f/b",
    ),
    "GPT-2, Flax": (
        "transformer/h/0/attn/c_attn/kernel transformer/h/0/mlp/c_fc/kernel lm_head/kernel",
        "transformer/wte/embedding transformer/wpe/embedding transformer/h/0/ln_1/scale "
        "transformer/h/0/attn/c_attn/bias transformer/ln_f/bias",
    ),
    "GPT-2, by hand": (
        "blocks/w_qkv blocks/w1 blocks/mlp_w blocks/attn_w unembed head/w",
        "wte/weight wpe blocks/b_qkv blocks/b1 blocks/b2 blocks/mlp_b blocks/attn_b blocks/ln1_w "
        "blocks/ln1_b blocks/ln2_scale blocks/ln_f_g tok_emb pos_emb embed",
    ),
    "TransformerLens": ("W_Q W_K W_O W_in W_out W_U", "b_Q b_K b_in b_out ln1/w"),
    "Llama, torch": (
        "model/layers/0/self_attn/q_proj/weight model/layers/0/mlp/gate_proj/weight "
        "model/layers/0/mlp/down_proj/weight lm_head/weight",
        "model/embed_tokens/weight model/layers/0/input_layernorm/weight model/norm/weight "
        "model/layers/0/post_attention_layernorm/weight model/layers/0/self_attn/q_norm/weight",
    ),
    "Llama, Meta and stacked": (
        "layers/wq layers/wo layers/w1 layers/w3 layers/attention/wq/weight output/weight "
        "layers/q layers/query layers/gate_proj layers/w_gate",
        "tok_embeddings/weight layers/attention_norm layers/ffn_norm/weight layers/mlp_norm norm "
        "layers/bq layers/bk layers/bqkv layers/rms_att_weight layers/rms_ffn_weight "
        "layers/pre_attention_norm layers/k_norm layers/norm_attn",
    ),
    "DeepSeek, mixtures and low rank": (
        "layers/wq_a layers/wq_b layers/wkv_b/weight experts/wi_0 experts/wo router/kernel gate/w "
        "shared_experts/up_proj/weight q_proj/lora_a q_proj/lora_b q_proj/lora_B q_proj/A q_proj/B",
        "layers/q_norm layers/kv_a_layernorm/weight router/bias gate/e_score_correction_bias",
    ),
    "MaxText": (
        "decoder/layers/self_attention/query/kernel decoder/layers/self_attention/out/kernel "
        "decoder/layers/mlp/wi_0/kernel decoder/layers/mlp/wo/kernel decoder/logits_dense/kernel",
        "token_embedder/embedding decoder/decoder_norm/scale decoder/layers/pre_self_attention_"
        "layer_norm/scale decoder/layers/self_attention/query/bias position_embedder/embedding",
    ),
    "T5": (
        "encoder/layers_0/attention/query/kernel encoder/layers_0/mlp/wi_0/kernel "
        "encoder/block/0/layer/0/SelfAttention/q/kernel decoder/logits_dense/kernel",
        "token_embedder/embedding shared/embedding encoder/relpos_bias/rel_embedding "
        "encoder/layers_0/pre_attention_layer_norm/scale encoder/encoder_norm/scale "
        "encoder/block/0/layer/0/SelfAttention/relative_attention_bias/embedding "
        "encoder/block/0/layer/0/SelfAttention/relative_attention_bias/weight "
        "encoder/block/0/layer/0/layer_norm/weight",
    ),
    "BERT": (
        "encoder/layer/0/attention/self/query/kernel encoder/layer/0/intermediate/dense/weight "
        "pooler/dense/kernel cls/predictions/transform/dense/kernel",
        "embeddings/word_embeddings/embedding embeddings/position_embeddings/weight "
        "embeddings/token_type_embeddings/embedding embeddings/LayerNorm/scale "
        "encoder/layer/0/attention/self/query/bias cls/predictions/transform/LayerNorm/weight",
    ),
    "ViT": (
        "embedding/kernel Transformer/encoderblock/MlpBlock_0/Dense_0/kernel head/kernel "
        "Transformer/encoderblock_0/MultiHeadDotProductAttention_1/query/kernel "
        "patch_embed/proj/weight patch_embedding/kernel patch_embed",
        "cls cls_token pos_embed pos_embedding Transformer/posembed_input/pos_embedding "
        "Transformer/encoderblock_0/LayerNorm_0/scale Transformer/encoder_norm/bias dist_token "
        "MAPHead_0/probe blocks/norm1/weight mask_token positional_embedding class_embedding",
    ),
    "Swin, BEiT, MViT": (
        "layers/0/blocks/0/attn/qkv/weight layers/0/downsample/reduction/weight "
        "layers/0/blocks/0/attn/cpb_mlp/0/weight",
        "layers/0/blocks/0/attn/relative_position_bias_table absolute_pos_embed "
        "layers/0/blocks/0/norm2/weight blocks/0/gamma_1 blocks/0/attn/rel_pos_h rel_pos_w "
        "rel_pos_bias/relative_position_bias_table blocks/0/attn/q_bias pos_embed_window",
    ),
    "DINOv2": (
        "blocks/0/attn/qkv/weight blocks/0/mlp/fc1/weight dino_head/last_layer/weight",
        "register_tokens cls_token mask_token storage_tokens blocks/0/ls1/gamma "
        "encoder/layer/0/layer_scale1/lambda1 pos_embed norm/weight registers",
    ),
    "queries": (
        "decoder/query/kernel perceiver/latent_proj/kernel class_embed/kernel",
        "query_tokens query_embed/weight query_pos latents object_queries soft_prompt "
        "quantizer/codebook mem_tokens embed_positions/w embedder/input_embedding tok_embed/w",
    ),
    "ConvNeXt, ResNet, U-Net": (
        "stages/0/blocks/0/dwconv/kernel stages/0/blocks/0/pwconv1/kernel conv_init/kernel "
        "downsample_layers/0/1/weight bottleneck/conv/kernel time_embed/0/weight conv1/weight",
        "stages/0/blocks/0/gamma stages/0/blocks/0/layer_scale layer_scale_parameter "
        "stages/0/blocks/0/norm/scale bn1/weight layer1/0/bn2/bias BatchNorm_0/scale "
        "norm_layer_scale layer_scale_1 gn_out/weight",
    ),
    "adaptive norms": (
        "blocks/0/adaLN_modulation/1/weight norm1/linear/weight ada_norm/kernel norm_out/kernel "
        "norm_out/linear/kernel norm_proj/weight",
        "blocks/0/norm1/weight norm_out/scale x_embedder/weight",
    ),
    "Mamba, S4, S5, RWKV": (
        "layers/0/mixer/in_proj/kernel layers/mixer/x_proj/weight layers/mixer/dt_proj/kernel "
        "layers/mixer/conv1d/kernel layers/out_proj ssm/B ssm/C time_decay_w1",
        "layers/0/mixer/A_log layers/mixer/D layers/mixer/dt_bias layers/mixer/dt_proj/bias A_logs "
        "Ds ssm/Lambda_re ssm/Lambda_im ssm/log_step log_dt time_mix_k time_decay time_first",
    ),
    "Linen": (
        "Dense_0/kernel Conv_0/kernel LSTMCell_0/hi/kernel attention/out/kernel",
        "Dense_0/bias LayerNorm_0/scale Embed_0/embedding BatchNorm_0/bias GroupNorm_0/scale "
        "RMSNorm_0/scale WeightNorm_0/Dense_0/kernel/scale",
    ),
    "NNX": (
        "layers/0/kernel attention/query/kernel attention/out/kernel linear1/kernel",
        "layers/0/bias norm/scale embed/embedding attention/query/bias ln/scale rms_norm/scale",
    ),
    "Equinox": (
        "mlp/layers/0/weight attention/query_proj/weight cell/weight_ih cell/weight_hh "
        "conv/weight lora/weight linear_out/weight",
        "mlp/layers/0/bias conv/bias norm/weight embed/weight cell/bias_n cell/bias_ih_l0 "
        "token_embedding/weight",
    ),
    "Haiku": (
        "mlp/~/linear_0/w conv2_d/w lstm/linear/w multi_head_attention/query/w gru/w_h gru/w_i",
        "mlp/~/linear_0/b layer_norm/scale layer_norm/offset embed/embeddings batch_norm/scale "
        "gru/b multi_head_attention/query/b",
    ),
    "Keras": (
        "dense/kernel lstm/recurrent_kernel depthwise_conv2d/depthwise_kernel",
        "batch_normalization/gamma batch_normalization/beta embedding/embeddings dense/bias",
    ),
    "names that only look so": (
        "embed_proj/w member/w bneck/w embed_out/w normalizer/w unembedding lm_head absorb/w "
        "beta_proj/kernel scale_net/kernel tokenizer_proj/kernel biased_gelu/kernel probe_net/w "
        "position_proj/kernel ln_proj/kernel bottleneck/w wb subnormal_net/w",
        "",
    ),
}


@pytest.mark.parametrize("model", MODELS)
def test_what_decays_in_a_model(model: str) -> None:
    weights, others = MODELS[model]
    matrix, vector = np.ones((2, 2)), np.ones(2)
    lost = [path for path in weights.split() if not select.decayed.selects(path, matrix)]
    assert not lost, f"real matrices that would not decay: {lost}"
    kept = [path for path in others.split() if select.decayed.selects(path, matrix)]
    assert not kept, f"no matrices, and would decay: {kept}"
    assert not any(select.decayed.selects(path, vector) for path in weights.split())


def test_stacked_norms_and_biases_under_a_mask_by_axes_are_found() -> None:
    params = {
        "layers/attention_norm": np.ones((32, 64), np.float32),
        "layers/bq": np.zeros((32, 64), np.float32),
        "layers/q": np.ones((32, 64, 64), np.float32),
        "pos_embed": np.ones((64, 64), np.float32),
    }
    (finding,) = [
        finding
        for finding in gx.diagnose(gx.adamw(1e-3, mask=select.ndim_at_least(2)), params)
        if finding.rule == "decay_on_biases_and_norms"
    ]
    assert "layers/attention_norm" in finding.seen
    assert "layers/bq" in finding.seen
    assert "layers/q`" not in finding.seen
    rules = {f.rule for f in gx.diagnose(gx.adamw(1e-3, mask=select.decayed), params)}
    assert "decay_on_biases_and_norms" not in rules
