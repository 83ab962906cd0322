#!/usr/bin/env python3
"""make_seeds.py TARGET FOLDER: small well-formed inputs, from which a fuzzer finds the rest.

A target without seeds here has them in seeds/TARGET/, or starts from nothing.
"""
import json
import pathlib
import struct
import sys

U32, F32, BOOL, STRING, ARRAY = 4, 6, 7, 8, 9
TYPES = {"F32": (0, 1, 4), "F16": (1, 1, 2), "Q8_0": (8, 32, 34), "Q4_0": (2, 32, 18)}
LAYERS, HIDDEN, HEADS, KV, DIM, EXPERTS, WIDTH, VOCAB = 1, 32, 2, 1, 16, 2, 32, 8


def text(s):
    return struct.pack("<Q", len(s)) + s.encode()


def pair(key, value):
    if isinstance(value, bool):
        return text(key) + struct.pack("<I?", BOOL, value)
    if isinstance(value, int):
        return text(key) + struct.pack("<II", U32, value)
    if isinstance(value, float):
        return text(key) + struct.pack("<If", F32, value)
    if isinstance(value, str):
        return text(key) + struct.pack("<I", STRING) + text(value)
    if isinstance(value[0], str):
        return text(key) + struct.pack("<IIQ", ARRAY, STRING, len(value)) + b"".join(map(text, value))
    kind, code = (U32, "I") if isinstance(value[0], int) else (F32, "f")
    return text(key) + struct.pack(f"<IIQ{len(value)}{code}", ARRAY, kind, len(value), *value)


def gguf(metadata, tensors, version=3):
    """tensors: name -> (type, dimensions, fastest first)"""
    head = b"GGUF" + struct.pack("<IQQ", version, len(tensors), len(metadata))
    head += b"".join(pair(k, v) for k, v in metadata.items())
    data = b""
    for name, (kind, shape) in tensors.items():
        number, block, size = TYPES[kind]
        head += text(name) + struct.pack(f"<I{len(shape)}QIQ", len(shape), *shape, number, len(data))
        elements = 1
        for n in shape:
            elements *= n
        data += bytes(i * 7 % 60 for i in range(elements // block * size))
        data += bytes(-len(data) % 32)
    return head + bytes(-len(head) % 32) + data


def gguf_model(arch, **more):
    a = arch + "."
    metadata = {"general.architecture": arch, a + "block_count": LAYERS, a + "embedding_length": HIDDEN,
                a + "context_length": 64, a + "attention.head_count": HEADS, a + "attention.head_count_kv": KV,
                a + "attention.layer_norm_rms_epsilon": 1e-5, a + "expert_count": EXPERTS,
                a + "expert_used_count": 1, a + "expert_feed_forward_length": WIDTH,
                "tokenizer.ggml.model": "gpt2", "tokenizer.ggml.pre": "qwen2",
                "tokenizer.ggml.tokens": list("abcdefg") + ["ab"], "tokenizer.ggml.merges": ["a b"],
                "tokenizer.ggml.token_type": [1] * VOCAB, "tokenizer.ggml.eos_token_id": 7,
                "tokenizer.ggml.unknown_token_id": 0}
    tensors = {"token_embd.weight": ("F16", [HIDDEN, VOCAB]), "output_norm.weight": ("F32", [HIDDEN]),
               "blk.0.attn_norm.weight": ("F32", [HIDDEN]), "blk.0.ffn_norm.weight": ("F32", [HIDDEN]),
               "blk.0.attn_q.weight": ("Q8_0", [HIDDEN, HEADS * DIM]),
               "blk.0.attn_k.weight": ("Q8_0", [HIDDEN, KV * DIM]),
               "blk.0.attn_v.weight": ("Q8_0", [HIDDEN, KV * DIM]),
               "blk.0.attn_output.weight": ("Q4_0", [HEADS * DIM, HIDDEN]),
               "blk.0.ffn_gate_inp.weight": ("F32", [HIDDEN, EXPERTS]),
               "blk.0.ffn_gate_exps.weight": ("Q4_0", [HIDDEN, WIDTH, EXPERTS]),
               "blk.0.ffn_up_exps.weight": ("Q4_0", [HIDDEN, WIDTH, EXPERTS]),
               "blk.0.ffn_down_exps.weight": ("Q4_0", [WIDTH, HIDDEN, EXPERTS])}
    return gguf({**metadata, **more.get("metadata", {})}, {**tensors, **more.get("tensors", {})})


def gguf_seeds():
    biases = {f"blk.0.attn_{x}.bias": ("F32", [n * DIM]) for x, n in [("q", HEADS), ("k", KV), ("v", KV)]}
    shared = {"blk.0.ffn_gate_inp_shexp.weight": ("F32", [HIDDEN]),
              "blk.0.ffn_gate_shexp.weight": ("Q4_0", [HIDDEN, WIDTH]),
              "blk.0.ffn_up_shexp.weight": ("Q4_0", [HIDDEN, WIDTH]),
              "blk.0.ffn_down_shexp.weight": ("Q4_0", [WIDTH, HIDDEN])}
    norms = {f"blk.0.attn_{x}_norm.weight": ("F32", [DIM]) for x in "qk"}
    return {"llama": gguf_model("llama", metadata={"llama.rope.scaling.type": "linear",
                                                   "llama.rope.scaling.factor": 2.0}),
            "qwen2moe": gguf_model("qwen2moe", tensors={**biases, **shared},
                                   metadata={"qwen2moe.expert_shared_feed_forward_length": WIDTH}),
            "qwen3moe": gguf_model("qwen3moe", tensors=norms, metadata={"tokenizer.ggml.scores": [0.5] * VOCAB}),
            "spm": gguf_model("llama", metadata={"tokenizer.ggml.model": "llama",
                                                 "tokenizer.ggml.scores": [-float(i) for i in range(VOCAB)]}),
            "empty": gguf({"general.alignment": 64, "flag": True}, {}, version=2)}


def safetensors(header, size):
    raw = json.dumps(header).encode()
    raw += b" " * (-len(raw) % 8)
    return struct.pack("<Q", len(raw)) + raw + bytes(i * 5 % 256 for i in range(size))


def safetensors_seeds():
    return {"all_types": safetensors({
        "__metadata__": {"format": "pt"},
        "a": {"dtype": "F32", "shape": [2, 3], "data_offsets": [0, 24]},
        "b": {"dtype": "BF16", "shape": [4], "data_offsets": [24, 32]},
        "c": {"dtype": "F16", "shape": [2, 2, 2], "data_offsets": [32, 48]},
        "d": {"dtype": "I64", "shape": [], "data_offsets": [48, 56]}}, 56),
        "none": safetensors({}, 0)}


def config(model_type, **more):
    return {"model_type": model_type, "num_hidden_layers": 2, "hidden_size": 64, "num_attention_heads": 4,
            "num_key_value_heads": 2, "num_experts": 4, "num_local_experts": 4, "num_experts_per_tok": 2,
            "intermediate_size": 32, "moe_intermediate_size": 32, "shared_expert_intermediate_size": 64,
            "vocab_size": 512, "max_position_embeddings": 1024, "hidden_act": "silu", "rms_norm_eps": 1e-6,
            "rope_theta": 10000.0, **more}


def hf_config_seeds():
    all_of = {"qwen2": config("qwen2_moe", norm_topk_prob=False, decoder_sparse_step=1, mlp_only_layers=[],
                              use_sliding_window=False, sliding_window=None),
              "qwen3": config("qwen3_moe", head_dim=32, norm_topk_prob=True, attention_bias=False,
                              rope_parameters={"rope_theta": 1e6, "rope_type": "default"}),
              "olmoe": config("olmoe", clip_qkv=None, tie_word_embeddings=False),
              "mixtral": config("mixtral", rope_scaling={"type": "linear", "factor": 2.0}, layer_types=["full_attention"])}
    return {name: json.dumps(c).encode() for name, c in all_of.items()}


def hf_index_seeds():
    shards = [f"model-0000{i}-of-00002.safetensors" for i in (1, 2)]
    names = {"model.norm.weight": shards[1], "model.layers.0.mlp.experts.0.up_proj.weight": shards[0]}
    return {"two": json.dumps({"metadata": {"total_size": 8}, "weight_map": names}).encode()}


def short(content):
    content = content.encode() if isinstance(content, str) else content
    return bytes([len(content)]) + content


def tokenizer_seed(flags, tokens, merges, sample, marks=(255, 255, 255)):
    """flags: 1 SentencePiece, 2 all bytes have tokens, 4 space prefix, 8 begin-of-text, 16 and 32 how words are cut,
    64 no types. tokens: (type - 1, score, text)"""
    out = bytes([flags, *marks, len(tokens)])
    out += b"".join(bytes([kind]) + struct.pack("<f", score) + short(content) for kind, score, content in tokens)
    return out + bytes([len(merges)]) + b"".join(map(short, merges)) + sample.encode()


def tokenizer_seeds():
    controls = [(2, 0.0, "<|im_start|>"), (2, 0.0, "<|im_end|>"), (3, 0.0, "<tool>")]
    words = [(0, 0.0, w) for w in ("th", "the", "\u0120the", "\u00c3\u00a9", "12")]
    merges = ["t h", "th e", "\u0120 the", "\u00c3 \u00a9", "1 2"]
    sample = "the the\u00e9 1234  it's\n\n <|im_end|><tool> the"
    pieces = [(0, -s, w) for s, w in enumerate(["\u2581the", "th", "the", "e", "t", "h", "\u2581\u2581", "\u00e9"])]
    seeds = {f"bpe{cut}": tokenizer_seed(2 | cut << 4, words + controls, merges, sample, (255, 0, 255)) for cut in range(4)}
    seeds["partial"] = tokenizer_seed(0, words + controls, merges, sample, (255, 5, 0))
    for flags in (3, 7, 15, 67):
        seeds[f"spm{flags}"] = tokenizer_seed(flags, pieces + controls, [], sample, (1, 2, 255))
    return seeds


def printable_of_bytes():
    """The character that byte-level BPE writes for each byte."""
    plain = [b for b in range(256) if 33 <= b <= 126 or 161 <= b <= 172 or b >= 174]
    others = [b for b in range(256) if b not in plain]
    return {**{b: chr(b) for b in plain}, **{b: chr(256 + i) for i, b in enumerate(others)}}


def documents(*files):
    return b"\0".join(json.dumps(f, ensure_ascii=False).encode() for f in files)


def hf_tokenizer_seeds():
    vocab = {c: b for b, c in printable_of_bytes().items()} | {"th": 256, "the": 257}
    added = [{"id": 258 + i, "content": c, "special": c != "<tool>"} for i, c in enumerate(["<|im_start|>", "<|im_end|>", "<tool>"])]
    level = {"type": "ByteLevel", "add_prefix_space": False, "use_regex": True}
    gpt2 = {"normalizer": {"type": "NFC"}, "pre_tokenizer": level, "added_tokens": added,
            "model": {"type": "BPE", "vocab": vocab, "merges": ["t h", ["th", "e"]]}}
    split = {"type": "Split", "behavior": "Isolated", "invert": False, "pattern": {
        "Regex": r"(?i:'s|'t|'re|'ve|'m|'ll|'d)|[^\r\n\p{L}\p{N}]?\p{L}+|\p{N}| ?[^\s\p{L}\p{N}]+[\r\n]*|\s*[\r\n]+|\s+(?!\S)|\s+"}}
    qwen2 = {**gpt2, "pre_tokenizer": {"type": "Sequence", "pretokenizers": [split, {**level, "use_regex": False}]}}
    pieces = {"<unk>": 0, "<s>": 1, "</s>": 2, **{f"<0x{b:02X}>": 3 + b for b in range(256)}, "\u2581": 259, "a": 260, "\u2581a": 261}
    spm = {"normalizer": {"type": "Sequence", "normalizers": [
        {"type": "Prepend", "prepend": "\u2581"}, {"type": "Replace", "pattern": {"String": " "}, "content": "\u2581"}]},
        "post_processor": {"type": "TemplateProcessing", "single": [{"SpecialToken": {"id": "<s>"}}, {"Sequence": {"id": "A"}}]},
        "added_tokens": [{"id": 1, "content": "<s>", "special": True}, {"id": 2, "content": "</s>", "special": True}],
        "model": {"type": "BPE", "byte_fallback": True, "unk_token": "<unk>", "vocab": pieces, "merges": ["\u2581 a"]}}
    marks = {"bos_token": "<s>", "eos_token": {"content": "</s>"}, "add_bos_token": True,
             "chat_template": [{"name": "default", "template": "[INST]"}]}
    return {"gpt2": documents(gpt2), "spm": documents(spm, marks, {"eos_token_id": [2, 1]}),
            "qwen2": documents(qwen2, {"eos_token": "<|im_end|>", "pad_token": None, "chat_template": "<|im_start|>"})}


def chat_seeds():
    turns = ["sBe brief.", "uHi <|im_end|>", "a<think>x</think>\n\nHello.", "u[INST]", ""]
    templates = {
        "chatml": "{{'<|im_start|>system\\nYou are a helpful assistant.<|im_end|>\\n'}}",
        "thinking": "<|im_start|>{% set c = content.split('</think>')[-1] %}{%- if add_generation_prompt %}"
                    "{{- '<|im_start|>assistant\\n<think>\\n' }}",
        "mistral": "{{ bos_token }}{{ '[INST] ' + c + ' [/INST]' }}", "llama3": "<|start_header_id|>",
        "olmoe": "<|assistant|>", "other": "{{ c }}", "none": ""}
    controls = "\1".join(["<|im_start|>", "<|im_end|>", "<|start_header_id|>", "<|end_header_id|>", "<|eot_id|>"])
    return {name: "\0".join([template, "<s>", "</s>", controls, *turns]).encode() for name, template in templates.items()}


def main():
    target, folder = sys.argv[1], pathlib.Path(sys.argv[2])
    make = globals().get(target + "_seeds", dict)
    for name, content in make().items():
        (folder / f"{target}-{name}").write_bytes(content)


if __name__ == "__main__":
    main()
