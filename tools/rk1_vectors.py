#!/usr/bin/env python3
"""RK-1 a second time, from the normative text of crates/skep-kernels/src/lib.rs alone; prints the digests that
crates/skep-kernels/tests/golden.rs publishes. Needs numpy, whose basic float32 operations are single IEEE operations.

It is slow and plain on purpose: a check of the text, not a tool to compute with.
"""

import math
import numpy as np

F, D = np.float32, np.float64
np.seterr(all="ignore")


def f32(bits):
    return np.uint32(bits).view(F)


def f64(bits):
    return np.uint64(bits).view(D)


class Generator:
    def __init__(self, seed):
        self.s = seed

    def draw(self):
        self.s = (self.s * 6364136223846793005 + 1442695040888963407) % 2**64
        return self.s >> 32

    def number(self):
        unit = F(self.draw() >> 8) / F(2**23) - F(1)
        return unit * F(2.0) ** F((self.draw() >> 29) - 4)

    def numbers(self, n):
        return np.array([self.number() for _ in range(n)], F)


def digest(values):
    h = 0xCBF29CE484222325
    for byte in np.asarray(values, "<f4").tobytes():
        h = (h ^ byte) * 0x100000001B3 % 2**64
    return f"0x{h:016x}"


def tree(acc):
    for h in (8, 4, 2, 1):
        acc[:h] = acc[:h] + acc[h : 2 * h]
    return acc[0]


def lane_sum(terms):
    acc = np.zeros(16, F)
    for at in range(0, len(terms), 16):
        part = terms[at : at + 16]
        acc[: len(part)] = acc[: len(part)] + part
    return tree(acc)


def dot(w, x):
    return lane_sum(w * x)


def halves(bits):
    return np.asarray(bits, np.uint16).view(np.float16).astype(F)


def half(block, at):
    return halves([block[at] | block[at + 1] << 8])[0]


# Format: (weights of a block, its bytes, where its halves are).
FORMATS = {
    "F32": (1, 4, []),
    "F16": (1, 2, [0]),
    "BF16": (1, 2, []),
    "Q4_0": (32, 18, [0]),
    "Q8_0": (32, 34, [0]),
    "Q4_K": (256, 144, [0, 2]),
    "Q5_K": (256, 176, [0, 2]),
    "Q6_K": (256, 210, [208]),
}


def weights(g, name, n):
    """The blocks of n weights, each a list of bytes; F32, F16 and BF16 as their values."""
    if name in ("F32", "BF16"):
        mask = np.uint32(0xFFFFFFFF if name == "F32" else 0xFFFF0000)
        return (g.numbers(n).view(np.uint32) & mask).view(F)
    block, size, places = FORMATS[name]
    bytes_ = [[g.draw() >> 24 for _ in range(size)] for _ in range(n // block)]
    for b in bytes_:
        for at in places:
            b[at + 1] &= 0xBF
    return halves([b[0] | b[1] << 8 for b in bytes_]) if name == "F16" else bytes_


def signed(byte):
    return byte - 256 if byte > 127 else byte


def unpack(name, b):
    """(d, dmin, weights of each sub-block, scales, minima) of one block; a format without sub-blocks has one."""
    if name == "Q8_0":
        return half(b, 0), F(0), [[signed(v) for v in b[2:]]], [1], [0]
    if name == "Q4_0":
        return half(b, 0), F(0), [[(v & 15) - 8 for v in b[2:]] + [(v >> 4) - 8 for v in b[2:]]], [1], [0]
    if name == "Q6_K":
        low, high, scales, q = b[:128], b[128:192], b[192:208], []
        for n in range(2):
            for i in range(128):
                four = low[64 * n + i % 64]
                four = four & 15 if i < 64 else four >> 4
                q.append((four | (high[32 * n + i % 32] >> 2 * (i // 32) & 3) << 4) - 32)
        return half(b, 208), F(0), [q[16 * j : 16 * j + 16] for j in range(16)], [signed(v) for v in scales], [0] * 16
    p, scales, minima = b[4:16], [], []
    for j in range(8):
        scales.append(p[j] & 63 if j < 4 else p[j + 4] & 15 | p[j - 4] >> 6 << 4)
        minima.append(p[j + 4] & 63 if j < 4 else p[j + 4] >> 4 | p[j] >> 6 << 4)
    high, low = (b[16:48], b[48:]) if name == "Q5_K" else ([0] * 32, b[16:])
    sub = []
    for j in range(8):
        part = low[32 * (j // 2) : 32 * (j // 2) + 32]
        sub.append([(v >> 4 * (j % 2) & 15) + 16 * (h >> j & 1) for v, h in zip(part, high)])
    return half(b, 0), half(b, 2), sub, scales, minima


def quantise(x, size):
    scales, quants = [], []
    for block in x.reshape(-1, size):
        a = np.max(np.abs(block))
        inverse = F(127) / a
        zero = np.isinf(inverse)
        scales.append(F(0) if zero else a / F(127))
        quants.append(np.zeros(size, int) if zero else np.rint(block * inverse).astype(int))
    return scales, quants


def product(name, row, x):
    """The dot product of a row, as `weights` gives it, and an activation row."""
    if FORMATS[name][0] == 1:
        return dot(row, x)
    out = F(0)
    for b, sx, qx in zip(row, *quantise(x, FORMATS[name][0])):
        d, dmin, sub, scales, minima = unpack(name, b)
        parts = qx.reshape(len(sub), -1)
        total = sum(sc * int(np.dot(w, part)) for sc, w, part in zip(scales, sub, parts))
        term = F(total) * (d * sx)
        if name in ("Q4_K", "Q5_K"):
            term = term - F(sum(m * int(part.sum()) for m, part in zip(minima, parts))) * (dmin * sx)
        out = out + term
    return out


def embedding(name, row):
    if FORMATS[name][0] == 1:
        return list(row)
    out = []
    for b in row:
        d, dmin, sub, scales, minima = unpack(name, b)
        for w, sc, m in zip(sub, scales, minima):
            for q in w:
                value = d * F(q) if len(sub) == 1 else (d * F(sc)) * F(q)
                out.append(value - dmin * F(m) if name in ("Q4_K", "Q5_K") else value)
    return out


def exp(x):
    x = F(x)
    if x < F(-87):
        return F(0)
    if x > F(88):
        return F(np.inf)
    n = np.rint(x * f32(0x3FB8AA3B))
    r = (x - n * f32(0x3F318000)) - n * f32(0xB95E8083)
    c3, c4, c5, c6 = map(f32, (0x3E2AAA6E, 0x3D2AAA8C, 0x3C0905F1, 0x3AB688BE))
    q = (((c6 * r + c5) * r + c4) * r + c3) * r + F(0.5)
    y = ((r * r) * q + r) + F(1)
    return F(np.ldexp(y, int(n)))


def silu(x):
    return F(x) / (F(1) + exp(-F(x)))


def tanh(x):
    return F(1) - F(2) / (exp(F(x) + F(x)) + F(1))


def gelu_tanh(x):
    x = F(x)
    u = f32(0x3F4C422A) * (x + f32(0x3D372713) * ((x * x) * x))
    return x / (F(1) + exp(-(u + u)))


def erf(x):
    x = F(x)
    t = F(1) / (F(1) + f32(0x3EA7BA05) * np.abs(x))
    a1, a2, a3, a4, a5 = map(f32, (0x3E827906, 0xBE91A98E, 0x3FB5F0E3, 0xBFBA00E3, 0x3F87DC22))
    p = ((((a5 * t + a4) * t + a3) * t + a2) * t + a1) * t
    y = F(1) - p * exp(-(x * x))
    return -y if x < 0 else y


def gelu_erf(x):
    x = F(x)
    return (F(0.5) * x) * (F(1) + erf(x * f32(0x3F3504F3)))


def exp64(x):
    n = np.rint(D(x) * D(math.log2(math.e)))
    r = (D(x) - n * f64(0x3FE62E42FEE00000)) - n * f64(0x3DEA39EF35793C76)
    s = D(1)
    for i in range(14, 0, -1):
        s = D(1) + s * r / D(i)
    return np.ldexp(s, int(n))


def ln64(x):
    m, n = math.frexp(x)
    m, n = D(m * 2), n - 1
    if m > D(math.sqrt(2)):
        m, n = m / 2, n + 1
    s = (m - 1) / (m + 1)
    z, u = s * s, D(0)
    for i in range(29, 0, -2):
        u = u * z + D(1) / D(i)
    return D(n) * D(math.log(2)) + (D(2) * s) * u


def sin_cos(x):
    n = np.rint(D(x) * D(2 / math.pi))
    r = ((D(x) - n * f64(0x3FF921FB54400000)) - n * f64(0x3DD0B4611A600000)) - n * f64(0x3BA3198A2E037073)
    z, s, c = r * r, D(1), D(1)
    for i in range(20, 0, -2):
        s = D(1) - (s * z) / D(i * (i + 1))
        c = D(1) - (c * z) / D((i - 1) * i)
    s = s * r
    return [(s, c), (c, -s), (-s, -c), (-c, s)][int(n) % 4]


def kept(kind, row):
    if kind == "f16":
        return row.astype(np.float16).astype(F)
    if kind == "q8":
        return np.concatenate([scale * quants.astype(F) for scale, quants in zip(*quantise(row, 32))])
    return row


def attention(query, keys, values, first, cap=None):
    """One head over all given positions, of which those before `first` are not seen."""
    scores = np.array([dot(key, query) * F(0.125) for key in keys[first:]], F)
    if cap:
        scores = np.array([F(cap) * tanh(score / F(cap)) for score in scores], F)
    m = np.max(scores)
    e = np.array([F(0)] * first + [exp(score - m) for score in scores], F)
    total, out = F(0), np.zeros(values.shape[1], F)
    for at in range(0, len(e), 256):
        part = np.zeros(values.shape[1], F)
        for t in range(at, min(at + 256, len(e))):
            part = part + e[t] * values[t]
        total, out = total + lane_sum(e[at : at + 256]), out + part
    return out / total


def products():
    for place, name in enumerate(FORMATS):
        block = FORMATS[name][0]
        k = {1: 100, 32: 160, 256: 768}[block]
        g = Generator(1 + place)
        w, x = weights(g, name, 7 * k), g.numbers(5 * k).reshape(5, k)
        rows = [w[r * (k // block) : (r + 1) * (k // block)] for r in range(7)]
        print(f"{name:18}", digest([product(name, row, a) for a in x for row in rows]))
        print(f"{name + ' embedding':18}", digest([value for row in rows for value in embedding(name, row)]))


def norms():
    g = Generator(11)
    x, gain, bias = g.numbers(100), g.numbers(100), g.numbers(100)
    r = F(1) / np.sqrt(dot(x, x) / F(100) + F(1e-5))
    print("rms norm          ", digest((x * r) * gain))
    c = x - lane_sum(x) / F(100)
    r = F(1) / np.sqrt(dot(c, c) / F(100) + F(1e-5))
    print("layer norm        ", digest((c * r) * gain + bias))
    for name, f in (("silu", silu), ("gelu tanh", gelu_tanh), ("gelu erf", gelu_erf)):
        print(f"{'gate ' + name:18}", digest(np.array([f(a) for a in x], F) * gain))


def attentions():
    g = Generator(12)
    rows = g.numbers(600 * 128).reshape(600, 2, 64)
    queries = g.numbers(256).reshape(2, 2, 64) * F(0.0625)
    kinds = [("f32", {}), ("f16", {}), ("q8", {}), ("window 300", {"window": 300}), ("cap 2", {"cap": 2.0})]
    for name, options in [*kinds, ("encoder", {"encoder": True})]:
        keys, values = (np.array([kept(name, row[side]) for row in rows], F) for side in (0, 1))
        out = []
        for i, heads in enumerate(queries):
            end = 600 if options.get("encoder") else 599 + i
            first = max(0, end - options.get("window", end))
            out += [attention(query, keys[:end], values[:end], first, options.get("cap")) for query in heads]
        print(f"{'attention ' + name:18}", digest(np.concatenate(out)))


def rotations():
    row, pairs, halves_ = Generator(6).numbers(128), [], []
    factors = [F(1) + F(i) / F(4) for i in range(32)]
    for theta, factor in ((10000.0, [F(1)] * 32), (500000.0, [F(1)] * 32), (10000.0, factors)):
        f = [exp64(-(D(2 * i) / D(64)) * ln64(theta)) / D(factor[i]) for i in range(32)]
        for position in (0, 1, 511, 131071):
            turns = [sin_cos(D(position) * a) for a in f]
            for head in (row[:64], row[64:]):
                turned = np.zeros(64, F)
                for i, (sin, cos) in enumerate(turns):
                    a, b, sin, cos = head[2 * i], head[2 * i + 1], F(sin), F(cos)
                    pairs += [a * cos - b * sin, a * sin + b * cos]
                    a, b = head[i], head[i + 32]
                    turned[i], turned[i + 32] = a * cos - b * sin, a * sin + b * cos
                halves_ += list(turned)
    print("rotation of pairs ", digest(pairs))
    print("rotation of halves", digest(halves_))


def functions():
    points = [F(k) / F(64) for k in range(-6400, 6401)]
    kinds = {"exp": exp, "silu": silu, "tanh": tanh, "erf": erf, "gelu tanh": gelu_tanh, "gelu erf": gelu_erf}
    for name, f in kinds.items():
        outputs = [f(x) for x in points]
        print(f"{name:18}", digest([y for y in outputs if np.isfinite(y)]))
    print("halves            ", digest(halves([b for b in range(65536) if b & 0x7C00 != 0x7C00])))
    x = Generator(13).numbers(4000)
    rounded = np.concatenate([x[:2000] / F(65536), x[2000:] * F(4096)]).astype(np.float16).astype(F)
    print("rounded halves    ", digest(rounded[np.isfinite(rounded)]))


def main():
    g = Generator(1)
    print("generator         ", [g.draw() for _ in range(3)])
    products()
    norms()
    attentions()
    rotations()
    functions()


main()
