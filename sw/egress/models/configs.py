"""Sizes of the architectures, in the words of their `transformers` configurations."""

from typing import Any, Literal

Form = Literal["encoder", "decoder"]

SIZES = ("tiny", "small", "paper")
"""For seconds, for minutes on a processor, and as in the paper."""

_BERT = {
    "tiny": {"hidden_size": 64, "num_hidden_layers": 2, "num_attention_heads": 4,
             "intermediate_size": 256, "hidden_dropout_prob": 0.0,
             "attention_probs_dropout_prob": 0.0},
    "small": {"hidden_size": 256, "num_hidden_layers": 4, "num_attention_heads": 4,
              "intermediate_size": 1024},
    "paper": {"hidden_size": 768, "num_hidden_layers": 12, "num_attention_heads": 12,
              "intermediate_size": 3072},
}  # fmt: skip
_GPT2 = {
    "tiny": {"n_embd": 64, "n_layer": 2, "n_head": 4, "resid_pdrop": 0.0, "embd_pdrop": 0.0,
             "attn_pdrop": 0.0},
    "small": {"n_embd": 256, "n_layer": 4, "n_head": 4, "resid_pdrop": 0.0, "embd_pdrop": 0.0,
              "attn_pdrop": 0.0},
    # GPT-2 large, 774 million weights.
    "paper": {"n_embd": 1280, "n_layer": 36, "n_head": 20},
}  # fmt: skip
_LLAMA = {
    "tiny": {"hidden_size": 64, "num_hidden_layers": 2, "num_attention_heads": 4,
             "num_key_value_heads": 2, "intermediate_size": 176},
    "small": {"hidden_size": 256, "num_hidden_layers": 4, "num_attention_heads": 4,
              "num_key_value_heads": 2, "intermediate_size": 688},
    # Llama 3.2 of one billion.
    "paper": {"hidden_size": 2048, "num_hidden_layers": 16, "num_attention_heads": 32,
              "num_key_value_heads": 8, "intermediate_size": 8192, "rope_theta": 500000.0,
              "tie_word_embeddings": True},
}  # fmt: skip
_GEMMA = {
    "tiny": {**_LLAMA["tiny"], "head_dim": 16, "sliding_window": 64},
    "small": {**_LLAMA["small"], "head_dim": 64, "sliding_window": 128},
    # Gemma 2 of two billion.
    "paper": {"hidden_size": 2304, "num_hidden_layers": 26, "num_attention_heads": 8,
              "num_key_value_heads": 4, "head_dim": 256, "intermediate_size": 9216},
}  # fmt: skip
_DEEPSEEK = {
    # Two of the layers' experts answer for each token, beside one that always does; the first
    # layer is dense. Keys and values come from a small latent vector.
    "tiny": {"hidden_size": 64, "num_hidden_layers": 2, "num_attention_heads": 4,
             "num_key_value_heads": 4, "intermediate_size": 176, "moe_intermediate_size": 64,
             "n_routed_experts": 4, "n_shared_experts": 1, "num_experts_per_tok": 2, "n_group": 1,
             "topk_group": 1, "first_k_dense_replace": 1, "q_lora_rank": 32, "kv_lora_rank": 16,
             "qk_nope_head_dim": 16, "qk_rope_head_dim": 8, "v_head_dim": 16},
    "small": {"hidden_size": 256, "num_hidden_layers": 4, "num_attention_heads": 4,
              "num_key_value_heads": 4, "intermediate_size": 688, "moe_intermediate_size": 192,
              "n_routed_experts": 8, "n_shared_experts": 1, "num_experts_per_tok": 2, "n_group": 1,
              "topk_group": 1, "first_k_dense_replace": 1, "q_lora_rank": 128, "kv_lora_rank": 64,
              "qk_nope_head_dim": 64, "qk_rope_head_dim": 32, "v_head_dim": 64},
    # Seven billion in the manner of version 3; the paper's DeepSeek of this size is older.
    "paper": {"hidden_size": 2048, "num_hidden_layers": 24, "num_attention_heads": 16,
              "num_key_value_heads": 16, "intermediate_size": 8192, "moe_intermediate_size": 1024,
              "n_routed_experts": 40, "n_shared_experts": 2, "num_experts_per_tok": 6,
              "n_group": 1, "topk_group": 1, "first_k_dense_replace": 1, "q_lora_rank": 768,
              "kv_lora_rank": 512, "qk_nope_head_dim": 128, "qk_rope_head_dim": 64,
              "v_head_dim": 128},
}  # fmt: skip

ARCHITECTURES: dict[str, dict[str, dict[str, Any]]] = {
    "bert": _BERT,
    "gpt2": _GPT2,
    "llama": _LLAMA,
    "gemma2": _GEMMA,
    "deepseek_v3": _DEEPSEEK,
}
"""Settings by architecture (the name that `transformers` has for it) and size."""


def form_of(architecture: str) -> Form:
    """Whether a model reads both ways (``"encoder"``) or from left to right (``"decoder"``)."""
    return "encoder" if architecture == "bert" else "decoder"
