/* The rest of the third implementation: a GGUF file, a Llama block, the digest. */
#include "rk1.c"

static const uint8_t *file_, *at_;
static uint64_t number(int bytes) { uint64_t v = 0; memcpy(&v, at_, bytes); at_ += bytes; return v; }
static const uint8_t *text(uint64_t *n) { *n = number(8); const uint8_t *p = at_; at_ += *n; return p; }
static const int SIZES[] = {1, 1, 2, 2, 4, 4, 4, 1, 0, 0, 8, 8, 8};
static void skip_value(uint32_t kind) {
    uint64_t n;
    if (kind == 8) text(&n);
    else if (kind == 9) {
        uint32_t inner = (uint32_t)number(4);
        n = number(8);
        for (uint64_t i = 0; i < n; i++) skip_value(inner);
    } else at_ += SIZES[kind];
}

typedef struct { char name[80]; Matrix m; uint64_t offset; } Tensor;
static Tensor *tensors;
static uint64_t n_tensors;
static double theta = 10000, eps = 1e-5;
static int n_blocks, d_model, n_heads, n_kv, head_dim, d_ff, context, vocab;

static void metadata(void) {
    uint64_t n;
    const uint8_t *key = text(&n);
    char name[128] = {0};
    memcpy(name, key, n < 127 ? n : 127);
    uint32_t kind = (uint32_t)number(4);
    const uint8_t *value = at_;
    skip_value(kind);
    uint64_t whole = 0;
    if (kind != 8 && kind != 9) memcpy(&whole, value, SIZES[kind]);
    const struct { const char *key; int *to; } integers[] = {
        {"llama.block_count", &n_blocks}, {"llama.embedding_length", &d_model}, {"llama.attention.head_count", &n_heads},
        {"llama.attention.head_count_kv", &n_kv}, {"llama.feed_forward_length", &d_ff}, {"llama.context_length", &context},
        {"llama.attention.key_length", &head_dim}};
    for (size_t i = 0; i < sizeof integers / sizeof *integers; i++)
        if (!strcmp(name, integers[i].key)) *integers[i].to = (int)whole;
    if (!strcmp(name, "llama.rope.freq_base")) theta = bits32((uint32_t)whole);
    if (!strcmp(name, "llama.attention.layer_norm_rms_epsilon")) eps = bits32((uint32_t)whole);
}
static void open_model(const char *path) {
    FILE *f = fopen(path, "rb");
    if (!f) die("cannot open", path);
    fseek(f, 0, SEEK_END);
    long size = ftell(f);
    rewind(f);
    uint8_t *bytes = take((size_t)size, 1);
    if (fread(bytes, 1, (size_t)size, f) != (size_t)size || memcmp(bytes, "GGUF", 4)) die("not a GGUF file:", path);
    fclose(f);
    file_ = bytes;
    at_ = bytes + 8;
    n_tensors = number(8);
    for (uint64_t n = number(8); n; n--) metadata();
    tensors = take(n_tensors, sizeof *tensors);
    for (uint64_t i = 0; i < n_tensors; i++) {
        uint64_t n;
        const uint8_t *name = text(&n);
        memcpy(tensors[i].name, name, n < 79 ? n : 79);
        uint32_t dims = (uint32_t)number(4);
        tensors[i].m.k = (int)number(8);
        tensors[i].m.rows = dims > 1 ? (int)number(8) : 1;
        tensors[i].m.type = (int)number(4);
        tensors[i].offset = number(8);
    }
    const uint8_t *data = file_ + ((size_t)(at_ - file_) + 31) / 32 * 32;
    for (uint64_t i = 0; i < n_tensors; i++) tensors[i].m.data = data + tensors[i].offset;
    if (!n_kv) n_kv = n_heads;
    if (!head_dim) head_dim = d_model / n_heads;
}
static const Matrix *tensor(const char *format, int block) {
    char name[80];
    snprintf(name, sizeof name, format, block);
    for (uint64_t i = 0; i < n_tensors; i++)
        if (!strcmp(tensors[i].name, name)) return &tensors[i].m;
    return NULL;
}
static void norm(const char *format, int block, const float *x, float *out) {
    const Matrix *m = tensor(format, block);
    float *gain = take(d_model, 4);
    row_to_f32(m, 0, gain);
    rms_norm(x, gain, d_model, (float)eps, out);
    free(gain);
}
static void rotate(float *row, int heads, int position) {
    for (int i = 0; i < head_dim / 2; i++) {
        double s, c, f = exp_f64(-((2.0 * i) / head_dim) * ln_f64((double)(float)theta));
        sin_cos((double)position * f, &s, &c);
        float sine = (float)s, cosine = (float)c;
        for (int h = 0; h < heads; h++) {
            float *p = row + h * head_dim + 2 * i, a = p[0], b = p[1];
            float ac = a * cosine, bs = b * sine, as = a * sine, bc = b * cosine;
            p[0] = ac - bs;
            p[1] = as + bc;
        }
    }
}

int main(int argc, char **argv) {
    if (argc != 3) die("usage: rk1", "MODEL.gguf POSITIONS");
    open_model(argv[1]);
    if (tensor("rope_freqs.weight", 0)) die("this check does not know", "rope_freqs.weight");
    const Matrix *embedding = tensor("token_embd.weight", 0), *head = tensor("output.weight", 0);
    if (!head) head = embedding;
    vocab = embedding->rows;
    int n = atoi(argv[2]), d_q = n_heads * head_dim, d_kv = n_kv * head_dim;
    uint16_t *keys = take((size_t)n_blocks * n * d_kv, 2), *values = take((size_t)n_blocks * n * d_kv, 2);
    float *x = take(d_model, 4), *y = take(d_model, 4), *q = take(d_q, 4), *k = take(d_kv, 4), *v = take(d_kv, 4);
    float *o = take(d_q, 4), *gate = take(d_ff, 4), *up = take(d_ff, 4), *logits = take(vocab, 4);
    uint64_t digest = 0xcbf29ce484222325u;
    for (int p = 0; p < n; p++) {
        row_to_f32(embedding, (p * p * 31 + 403) % vocab, x);
        for (int b = 0; b < n_blocks; b++) {
            norm("blk.%d.attn_norm.weight", b, x, y);
            matmul(tensor("blk.%d.attn_q.weight", b), y, q);
            matmul(tensor("blk.%d.attn_k.weight", b), y, k);
            matmul(tensor("blk.%d.attn_v.weight", b), y, v);
            rotate(q, n_heads, p);
            rotate(k, n_kv, p);
            uint16_t *bk = keys + (size_t)b * n * d_kv, *bv = values + (size_t)b * n * d_kv;
            for (int i = 0; i < d_kv; i++) { bk[p * d_kv + i] = f32_to_half(k[i]); bv[p * d_kv + i] = f32_to_half(v[i]); }
            for (int h = 0; h < n_heads; h++) {
                int g = h / (n_heads / n_kv) * head_dim;
                attention_head(q + h * head_dim, bk + g, bv + g, d_kv, head_dim, p + 1, o + h * head_dim);
            }
            matmul(tensor("blk.%d.attn_output.weight", b), o, y);
            for (int i = 0; i < d_model; i++) x[i] += y[i];
            norm("blk.%d.ffn_norm.weight", b, x, y);
            matmul(tensor("blk.%d.ffn_gate.weight", b), y, gate);
            matmul(tensor("blk.%d.ffn_up.weight", b), y, up);
            for (int i = 0; i < d_ff; i++) gate[i] = gate[i] / (1.0f + exp_f32(-gate[i])) * up[i];
            matmul(tensor("blk.%d.ffn_down.weight", b), gate, y);
            for (int i = 0; i < d_model; i++) x[i] += y[i];
        }
        if (p + 4 < n) continue;
        norm("output_norm.weight", 0, x, y);
        matmul(head, y, logits);
        for (int i = 0; i < vocab; i++) {
            uint32_t bits = to_bits32(logits[i]);
            for (int byte = 0; byte < 4; byte++) digest = (digest ^ (bits >> 8 * byte & 255)) * 0x100000001b3u;
        }
    }
    printf("%016llx\n", (unsigned long long)digest);
    return 0;
}
