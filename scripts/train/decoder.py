"""The decoder's forward pass over whole windows, as a compiler likes it: no cache, no masks but the causal one, shapes that stay.

The parameters are those of transformers' MusicgenForCausalLM, and so is the result (test_train.py holds one against the other); it
takes half the time of transformers' own pass.
"""

import torch
import torch.nn.functional as F


def heads(x, count):
    """[B, T, D] → [B, count, T, D / count]"""
    return x.unflatten(-1, (count, -1)).transpose(1, 2)


def attend(attention, x, states, **how):
    """Attention from x to states through the projections of a MusicgenAttention."""
    n = attention.num_heads
    q, k, v = heads(attention.q_proj(x), n), heads(attention.k_proj(states), n), heads(attention.v_proj(states), n)
    mixed = F.scaled_dot_product_attention(q, k, v, **how)
    return attention.out_proj(mixed.transpose(1, 2).flatten(2))


def logits(net, grid, states, mask):
    """Logits [Q, B, T, entries] of the codes after each column of grid [B, Q, T]; states [B, L, D] of the text, mask [B, L] of bool."""
    decoder = net.model.decoder
    x = sum(embed(grid[:, q]) for q, embed in enumerate(decoder.embed_tokens)) + decoder.embed_positions.weights[: grid.shape[2]]
    heard = mask[:, None, None]
    for layer in decoder.layers:
        norm = layer.self_attn_layer_norm(x)
        x = x + attend(layer.self_attn, norm, norm, is_causal=True)
        x = x + attend(layer.encoder_attn, layer.encoder_attn_layer_norm(x), states, attn_mask=heard)
        x = x + layer.fc2(F.gelu(layer.fc1(layer.final_layer_norm(x))))
    x = decoder.layer_norm(x)
    return torch.stack([head(x) for head in net.lm_heads])


def losses(net, grid, states, mask, codes):
    """Cross entropy [Q] in nats of codes [B, Q, T] given grid, their delayed form without its last column: frame t of codebook q
    follows column t + q."""
    every, frames = logits(net, grid, states, mask), codes.shape[2]
    return torch.stack([F.cross_entropy(every[q, :, q : q + frames].flatten(0, 1).float(), codes[:, q].flatten()) for q in range(len(every))])
