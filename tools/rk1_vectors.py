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


def quantise(x):
    scales, quants = [], []
    for block in x.reshape(-1, 32):
        s = F(np.max(np.abs(block))) / F(127)
        scales.append(s)
        quants.append(np.zeros(32, int) if s == 0 else np.clip(np.rint(block / s), -127, 127).astype(int))
    return np.array(scales, F), np.concatenate(quants)


def dot_q8(sw, qw, sx, qx):
    acc = np.zeros(16, F)
    for b in range(len(sw)):
        scale = sw[b] * sx[b]
        for j in range(8):
            at = 32 * b + 4 * j
            lane = b % 2 * 8 + j
            acc[lane] = acc[lane] + F(int(np.dot(qw[at : at + 4], qx[at : at + 4]))) * scale
    return tree(acc)


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


def attention(query, keys, values):
    scale = F(1) / np.sqrt(F(len(query)))
    scores = np.array([dot(key, query) * scale for key in keys], F)
    m = np.max(scores)
    e = np.array([exp(score - m) for score in scores], F)
    total, out = F(0), np.zeros(values.shape[1], F)
    for at in range(0, len(e), 256):
        part = np.zeros(values.shape[1], F)
        for t in range(at, min(at + 256, len(e))):
            part = part + e[t] * values[t]
        total, out = total + lane_sum(e[at : at + 256]), out + part
    return out / total


def main():
    g = Generator(1)
    print("generator ", [g.draw() for _ in range(3)])
    g = Generator(1)
    w, x = g.numbers(700).reshape(7, 100), g.numbers(500).reshape(5, 100)
    print("f32       ", digest([dot(a, b) for b in x for a in w]))
    g = Generator(2)
    w = np.array([g.draw() & 0xBFFF for _ in range(700)], np.uint16).view(np.float16).astype(F).reshape(7, 100)
    x = g.numbers(500).reshape(5, 100)
    print("f16       ", digest([dot(a, b) for b in x for a in w]))
    g = Generator(3)
    q = np.array([(g.draw() >> 8) % 255 - 127 for _ in range(1120)]).reshape(7, 160)
    s, x = g.numbers(35).reshape(7, 5), g.numbers(800).reshape(5, 160)
    print("q8_0      ", digest([dot_q8(s[r], q[r], *quantise(row)) for row in x for r in range(7)]))
    g = Generator(4)
    x, gain = g.numbers(100), g.numbers(100)
    r = F(1) / np.sqrt(dot(x, x) / F(100) + F(1e-5))
    print("norm      ", digest((x * r) * gain))
    print("gate      ", digest(np.array([silu(a) for a in x], F) * gain))
    g = Generator(5)
    queries = g.numbers(96).reshape(2, 48) * F(0.0625)
    keys, values = g.numbers(600 * 48).reshape(600, 48), g.numbers(600 * 48).reshape(600, 48)
    print("attention ", digest(np.concatenate([attention(query, keys, values) for query in queries])))
    row, out = Generator(6).numbers(128), []
    for theta in (10000.0, 500000.0):
        f = [exp64(-(D(2 * i) / D(64)) * ln64(theta)) for i in range(32)]
        for position in (0, 1, 511, 131071):
            turns = [sin_cos(D(position) * a) for a in f] * 2
            for i, (sin, cos) in enumerate(turns):
                a, b, sin, cos = row[2 * i], row[2 * i + 1], F(sin), F(cos)
                out += [a * cos - b * sin, a * sin + b * cos]
    print("rotation  ", digest(out))
    points = [F(k) / F(64) for k in range(-6400, 6401)]
    print("exp       ", digest([exp(x) for x in points]))
    print("silu      ", digest([silu(x) for x in points]))
    halves = np.array([b for b in range(65536) if b & 0x7C00 != 0x7C00], np.uint16).view(np.float16).astype(F)
    print("halves    ", digest(halves))


main()
