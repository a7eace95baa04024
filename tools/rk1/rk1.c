/* RK-1 a third time, in C99, from the normative text of crates/skep-kernels/src/lib.rs: runs a whole Llama model in GGUF and prints the
 * digest of its logits (skep_model::logits_digest); for 64 positions `skep bench model FILE --json` prints it as `logits_hash`. It shares no line with the Rust code, is as plain
 * as it can be, and runs on any processor: crates/skep-model/tests/other_machines.rs builds it for x86-64, AArch64 and RISC-V and compares.
 *
 * Build with -ffp-contract=off: C lets a compiler fuse a product and a sum, which RK-1 forbids.
 * Assumes a little-endian machine and a file that is not hostile. */
#include <math.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

static void die(const char *why, const char *what) {
    fprintf(stderr, "rk1: %s %s\n", why, what);
    exit(1);
}
static void *take(size_t n, size_t size) {
    void *p = calloc(n ? n : 1, size);
    if (!p) die("no memory for", "the model");
    return p;
}
static float bits32(uint32_t b) { float f; memcpy(&f, &b, 4); return f; }
static uint32_t to_bits32(float f) { uint32_t b; memcpy(&b, &f, 4); return b; }
static double bits64(uint64_t b) { double d; memcpy(&d, &b, 8); return d; }
static uint16_t u16(const uint8_t *p) { return (uint16_t)(p[0] | p[1] << 8); }

/* ---- section 4: elementary functions ---- */
static float exp_f32(float x) {
    if (x < -87.0f) return 0.0f;
    if (x > 88.0f) return INFINITY;
    float n = rintf(x * bits32(0x3fb8aa3b));
    float r = (x - n * bits32(0x3f318000)) - n * bits32(0xb95e8083);
    float q = (((bits32(0x3ab688be) * r + bits32(0x3c0905f1)) * r + bits32(0x3d2aaa8c)) * r + bits32(0x3e2aaa6e)) * r + 0.5f;
    float y = ((r * r) * q + r) + 1.0f;
    return y * bits32((uint32_t)((int32_t)n + 127) << 23);
}
static double exp_f64(double x) {
    double n = rint(x * 1.4426950408889634074);
    double r = (x - n * bits64(0x3fe62e42fee00000)) - n * bits64(0x3dea39ef35793c76);
    double s = 1;
    for (int i = 14; i >= 1; i--) s = 1 + s * r / i;
    return s * bits64((uint64_t)((int64_t)n + 1023) << 52);
}
static double ln_f64(double x) {
    uint64_t b;
    memcpy(&b, &x, 8);
    int64_t n = (int64_t)(b >> 52) - 1023;
    double m = bits64((b & 0xfffffffffffffu) | (uint64_t)1023 << 52);
    if (m > 1.4142135623730951) { m *= 0.5; n++; }
    double s = (m - 1) / (m + 1), z = s * s, u = 0;
    for (int i = 29; i >= 1; i -= 2) u = u * z + 1.0 / i;
    return (double)n * 0.69314718055994530942 + (2 * s) * u;
}
static void sin_cos(double x, double *sine, double *cosine) {
    double n = rint(x * 0.63661977236758134308);
    double r = ((x - n * bits64(0x3ff921fb54400000)) - n * bits64(0x3dd0b4611a600000)) - n * bits64(0x3ba3198a2e037073);
    double z = r * r, s = 1, c = 1;
    for (int i = 20; i >= 2; i -= 2) {
        s = 1 - (s * z) / ((double)i * (i + 1));
        c = 1 - (c * z) / ((double)(i - 1) * i);
    }
    s = s * r;
    switch ((int64_t)n & 3) {
    case 0: *sine = s; *cosine = c; break;
    case 1: *sine = c; *cosine = -s; break;
    case 2: *sine = -s; *cosine = -c; break;
    default: *sine = -c; *cosine = s;
    }
}
static float half_to_f32(uint16_t h) {
    int exponent = h >> 10 & 31, fraction = h & 1023;
    float value = exponent ? ldexpf((float)(1024 + fraction), exponent - 25) : ldexpf((float)fraction, -24);
    return h & 0x8000 ? -value : value;
}
static uint16_t f32_to_half(float value) {
    uint32_t b = to_bits32(value), m = b & 0x7fffffff;
    uint16_t sign = (uint16_t)(b >> 16 & 0x8000);
    if (m >= 0x477ff000) die("a key or value does not fit", "a half");
    if (m < 0x38800000) return (uint16_t)(sign | (uint16_t)rintf(bits32(m) * 16777216.0f));
    m += 0x0fff + (m >> 13 & 1);
    return (uint16_t)(sign | (m - 0x38000000) >> 13);
}

/* ---- section 2: sums ---- */
static float tree(float *acc) {
    for (int h = 8; h; h /= 2)
        for (int l = 0; l < h; l++) acc[l] += acc[l + h];
    return acc[0];
}
static float dot_f32(const float *a, const float *b, int n) {
    float acc[16] = {0};
    for (int i = 0; i < n; i++) {
        float product = a[i] * b[i];
        acc[i % 16] += product;
    }
    return tree(acc);
}

/* ---- section 3: products ---- */
enum { F32 = 0, F16 = 1, Q4_0 = 2, Q8_0 = 8, Q4_K = 12, Q5_K = 13, Q6_K = 14, BF16 = 30 };
typedef struct { int type, rows, k; const uint8_t *data; } Matrix;

static int block_of(int type) { return type == Q4_0 || type == Q8_0 ? 32 : type >= Q4_K && type <= Q6_K ? 256 : 1; }
static int bytes_of(int type) {
    switch (type) {
    case F32: return 4;
    case F16: case BF16: return 2;
    case Q4_0: return 18;
    case Q8_0: return 34;
    case Q4_K: return 144;
    case Q5_K: return 176;
    case Q6_K: return 210;
    }
    die("a tensor has an element type that is not", "in RK-1");
    return 0;
}
static void scale_min(const uint8_t *p, int j, int *sc, int *m) {
    if (j < 4) { *sc = p[j] & 63; *m = p[j + 4] & 63; }
    else { *sc = (p[j + 4] & 15) | p[j - 4] >> 6 << 4; *m = p[j + 4] >> 4 | p[j] >> 6 << 4; }
}
/* Integer weight i of a block. */
static int quant(int type, const uint8_t *w, int i) {
    int c = i / 64, l = i % 64, n = i / 128, m = i % 128;
    switch (type) {
    case Q4_0: return (i < 16 ? w[2 + i] & 15 : w[2 + i - 16] >> 4) - 8;
    case Q8_0: return (int8_t)w[2 + i];
    case Q4_K: return w[16 + 32 * c + l % 32] >> (l / 32 * 4) & 15;
    case Q5_K: return (w[48 + 32 * c + l % 32] >> (l / 32 * 4) & 15) | (w[16 + l % 32] >> (i / 32) & 1) << 4;
    default: return ((w[64 * n + m % 64] >> (m / 64 * 4) & 15) | (w[128 + 32 * n + m % 32] >> (m / 32 * 2) & 3) << 4) - 32;
    }
}
static float plain(int type, const uint8_t *w) {
    if (type == F32) { float f; memcpy(&f, w, 4); return f; }
    return type == F16 ? half_to_f32(u16(w)) : bits32((uint32_t)u16(w) << 16);
}
static float scale_of(int type, const uint8_t *w) { return half_to_f32(u16(type == Q6_K ? w + 208 : w)); }

static void row_to_f32(const Matrix *w, int row, float *out) {
    int block = block_of(w->type), bytes = bytes_of(w->type);
    const uint8_t *p = w->data + (size_t)row * (w->k / block) * bytes;
    for (int i = 0; i < w->k; i++) {
        const uint8_t *b = p + (size_t)(i / block) * bytes;
        int at = i % block, sc, m;
        if (block == 1) { out[i] = plain(w->type, b); continue; }
        float q = (float)quant(w->type, b, at), d = scale_of(w->type, b);
        if (w->type == Q4_K || w->type == Q5_K) {
            scale_min(b + 4, at / 32, &sc, &m);
            float minimum = half_to_f32(u16(b + 2)) * (float)m, value = (d * (float)sc) * q;
            out[i] = value - minimum;
        } else if (w->type == Q6_K) out[i] = (d * (float)(int8_t)b[192 + at / 16]) * q;
        else out[i] = d * q;
    }
}
static float block_term(int type, const uint8_t *w, float sx, const int *qx) {
    int sum = 0, minima = 0, sc, m;
    if (type == Q4_0 || type == Q8_0)
        for (int i = 0; i < 32; i++) sum += quant(type, w, i) * qx[i];
    else if (type == Q6_K)
        for (int i = 0; i < 256; i++) sum += (int8_t)w[192 + i / 16] * quant(type, w, i) * qx[i];
    else
        for (int i = 0; i < 256; i++) {
            scale_min(w + 4, i / 32, &sc, &m);
            sum += sc * quant(type, w, i) * qx[i];
            minima += m * qx[i];
        }
    float scale = scale_of(type, w) * sx, term = (float)sum * scale;
    if (type != Q4_K && type != Q5_K) return term;
    float min_scale = half_to_f32(u16(w + 2)) * sx, min_term = (float)minima * min_scale;
    return term - min_term;
}
static void matmul(const Matrix *w, const float *x, float *out) {
    int block = block_of(w->type), bytes = bytes_of(w->type), n = w->k / block;
    if (block == 1) {
        float *row = take(w->k, 4);
        for (int r = 0; r < w->rows; r++) { row_to_f32(w, r, row); out[r] = dot_f32(row, x, w->k); }
        free(row);
        return;
    }
    float *sx = take(n, 4);
    int *qx = take(w->k, sizeof(int));
    for (int b = 0; b < n; b++) {
        float a = 0;
        for (int i = 0; i < block; i++) { float v = fabsf(x[b * block + i]); if (v > a) a = v; }
        float inverse = 127.0f / a;
        if (isinf(inverse)) continue;
        sx[b] = a / 127.0f;
        for (int i = 0; i < block; i++) qx[b * block + i] = (int)rintf(x[b * block + i] * inverse);
    }
    for (int r = 0; r < w->rows; r++) {
        const uint8_t *p = w->data + (size_t)r * n * bytes;
        float sum = 0;
        for (int b = 0; b < n; b++) sum += block_term(w->type, p + (size_t)b * bytes, sx[b], qx + b * block);
        out[r] = sum;
    }
    free(sx);
    free(qx);
}

/* ---- section 5: parts of a block ---- */
static void rms_norm(const float *x, const float *gain, int n, float eps, float *out) {
    float r = 1.0f / sqrtf(dot_f32(x, x, n) / (float)n + eps);
    for (int i = 0; i < n; i++) out[i] = (x[i] * r) * gain[i];
}
static void attention_head(const float *q, const uint16_t *keys, const uint16_t *values, int stride, int dim, int positions, float *out) {
    float *e = take(positions, 4), *row = take(dim, 4), *o = take(dim, 4), m = -INFINITY, L = 0;
    float scale = 1.0f / sqrtf((float)dim);
    for (int t = 0; t < positions; t++) {
        for (int i = 0; i < dim; i++) row[i] = half_to_f32(keys[(size_t)t * stride + i]);
        e[t] = dot_f32(row, q, dim) * scale;
        if (e[t] > m) m = e[t];
    }
    for (int i = 0; i < dim; i++) out[i] = 0;
    for (int part = 0; part < positions; part += 256) {
        int end = part + 256 < positions ? part + 256 : positions;
        float acc[16] = {0};
        for (int i = 0; i < dim; i++) o[i] = 0;
        for (int t = part; t < end; t++) {
            e[t] = exp_f32(e[t] - m);
            acc[(t - part) % 16] += e[t];
            for (int i = 0; i < dim; i++) {
                float product = e[t] * half_to_f32(values[(size_t)t * stride + i]);
                o[i] += product;
            }
        }
        L += tree(acc);
        for (int i = 0; i < dim; i++) out[i] += o[i];
    }
    for (int i = 0; i < dim; i++) out[i] /= L;
    free(e); free(row); free(o);
}
