"""Writes a model of random weights as a GGUF file (version 3), of about 350 kB: it loads in no time, and talks nonsense."""

from __future__ import annotations

import array
import random
import struct
from pathlib import Path

WIDTH, HEADS, LAYERS, HIDDEN, CONTEXT = 64, 4, 1, 64, 8192
ALIGNMENT = 32

# The first token that is a letter, a digit or a sign.
LETTERS = 259

# Kinds of tokens: normal, unknown, control, byte.
NORMAL, UNKNOWN, CONTROL, BYTE = 1, 2, 3, 6

# How messages, tools and calls are written. The server takes from it how the model calls tools.
TEMPLATE = """{%- if tools %}<|im_start|>system
Return calls as {"name": <name>, "arguments": <arguments>}.
{{ tools | tojson }}<|im_end|>
{% endif %}
{%- for message in messages %}<|im_start|>{{ message.role }}
{% if message.tool_calls %}
{%- for call in message.tool_calls %}{"name": "{{ call.function.name }}", "arguments": {{ call.function.arguments | tojson }}}
{%- endfor %}
{%- else %}{{ message.content or "" }}{% endif %}<|im_end|>
{% endfor %}
{%- if add_generation_prompt %}<|im_start|>assistant
{% endif %}"""


def write_model(path: Path) -> None:
    noise = random.Random(1)
    tokens = ["<unk>", "<s>", "</s>", *(f"<0x{byte:02X}>" for byte in range(256)), *map(chr, range(33, 127)), "▁"]
    kinds = [UNKNOWN, CONTROL, CONTROL, *[BYTE] * 256, *[NORMAL] * 95]
    # A text is taken as letters, and as bytes where there is none for it.
    scores = [0.0] * LETTERS + [-1.0] * 95
    facts = [
        ("general.architecture", string("llama")),
        ("general.name", string("nonsense")),
        ("llama.context_length", uint(CONTEXT)),
        ("llama.embedding_length", uint(WIDTH)),
        ("llama.block_count", uint(LAYERS)),
        ("llama.feed_forward_length", uint(HIDDEN)),
        ("llama.attention.head_count", uint(HEADS)),
        ("llama.attention.head_count_kv", uint(HEADS)),
        ("llama.attention.layer_norm_rms_epsilon", struct.pack("<If", 6, 1e-5)),
        ("llama.rope.dimension_count", uint(WIDTH // HEADS)),
        ("llama.vocab_size", uint(len(tokens))),
        ("tokenizer.ggml.model", string("llama")),
        ("tokenizer.ggml.tokens", items(8, [text(token) for token in tokens])),
        ("tokenizer.ggml.scores", items(6, [struct.pack("<f", score) for score in scores])),
        ("tokenizer.ggml.token_type", items(5, [struct.pack("<i", kind) for kind in kinds])),
        ("tokenizer.ggml.bos_token_id", uint(1)),
        ("tokenizer.ggml.eos_token_id", uint(2)),
        ("tokenizer.ggml.unknown_token_id", uint(0)),
        ("tokenizer.chat_template", string(TEMPLATE)),
    ]
    tensors = [("token_embd.weight", (WIDTH, len(tokens))), ("output_norm.weight", (WIDTH,))]
    tensors.append(("output.weight", (WIDTH, len(tokens))))
    for layer in range(LAYERS):
        tensors += [(f"blk.{layer}.{name}.weight", shape) for name, shape in BLOCK]
    head, data, offset = b"", b"", 0
    for name, shape in tensors:
        head += text(name) + struct.pack("<I", len(shape)) + b"".join(struct.pack("<Q", size) for size in shape)
        head += struct.pack("<IQ", 0, offset)
        count = shape[0] * (shape[1] if len(shape) > 1 else 1)
        values = [1.0] * count if len(shape) == 1 else [noise.gauss(0, 0.3) for _ in range(count)]
        if name == "output.weight":
            # The model says letters only: nothing else is ever the likeliest token.
            values[: WIDTH * LETTERS] = [0.0] * (WIDTH * LETTERS)
            # Calls begin with a brace.
            brace = slice(WIDTH * tokens.index("{"), WIDTH * (tokens.index("{") + 1))
            values[brace] = [value * 4 for value in values[brace]]
        data += padded(array.array("f", values).tobytes())
        offset = len(data)
    start = b"GGUF" + struct.pack("<IQQ", 3, len(tensors), len(facts))
    path.write_bytes(padded(start + b"".join(text(name) + value for name, value in facts) + head) + data)


BLOCK = [
    ("attn_norm", (WIDTH,)),
    ("attn_q", (WIDTH, WIDTH)),
    ("attn_k", (WIDTH, WIDTH)),
    ("attn_v", (WIDTH, WIDTH)),
    ("attn_output", (WIDTH, WIDTH)),
    ("ffn_norm", (WIDTH,)),
    ("ffn_gate", (WIDTH, HIDDEN)),
    ("ffn_up", (WIDTH, HIDDEN)),
    ("ffn_down", (HIDDEN, WIDTH)),
]


def text(value: str) -> bytes:
    raw = value.encode()
    return struct.pack("<Q", len(raw)) + raw


def string(value: str) -> bytes:
    return struct.pack("<I", 8) + text(value)


def uint(value: int) -> bytes:
    return struct.pack("<II", 4, value)


def items(kind: int, values: list[bytes]) -> bytes:
    return struct.pack("<IIQ", 9, kind, len(values)) + b"".join(values)


def padded(data: bytes) -> bytes:
    return data + bytes(-len(data) % ALIGNMENT)
