/* The inner loops of the encoder. Included once for every set of instructions, with
 * NAME(x) the name of x for that set and TARGET its attribute. Plain loops: the compiler makes vectors. */

/* Row filters of the PNG specification (section 9), bytewise modulo 256; n bytes after the filter's type.
 * `row` and `up` are as in memory; where `swap`, samples are of two bytes and are turned over on the way
 * out, because PNG wants the high byte first. A filter treats both bytes of a sample alike. */
TARGET static void NAME(swap_pairs)(uint8_t *restrict bytes, size_t n)
{
    for (size_t i = 0; i + 1 < n; i += 2) {
        uint16_t v;
        memcpy(&v, bytes + i, 2);
        v = (uint16_t)(v << 8 | v >> 8);
        memcpy(bytes + i, &v, 2);
    }
}

TARGET static void NAME(filter_sub)(const uint8_t *row, size_t n, size_t bpp, uint8_t *restrict out)
{
    for (size_t i = 0; i < bpp; i++) out[i] = row[i];
    for (size_t i = bpp; i < n; i++) out[i] = (uint8_t)(row[i] - row[i - bpp]);
}

TARGET static void NAME(filter_up)(const uint8_t *row, const uint8_t *up, size_t n, uint8_t *restrict out)
{
    for (size_t i = 0; i < n; i++) out[i] = (uint8_t)(row[i] - up[i]);
}

TARGET static void NAME(filter_average)(
    const uint8_t *row, const uint8_t *up, size_t n, size_t bpp, uint8_t *restrict out)
{
    for (size_t i = 0; i < bpp; i++) out[i] = (uint8_t)(row[i] - (up[i] >> 1));
    for (size_t i = bpp; i < n; i++) {
        uint8_t a = row[i - bpp], b = up[i];
        out[i] = (uint8_t)(row[i] - (uint8_t)((a & b) + ((a ^ b) >> 1)));
    }
}

TARGET static void NAME(filter_paeth)(
    const uint8_t *row, const uint8_t *up, size_t n, size_t bpp, uint8_t *restrict out)
{
    for (size_t i = 0; i < bpp; i++) out[i] = (uint8_t)(row[i] - up[i]);
    for (size_t i = bpp; i < n; i++) {
        int16_t a = row[i - bpp], b = up[i], c = up[i - bpp];
        int16_t pa = (int16_t)(b - c), pb = (int16_t)(a - c), pc = (int16_t)(pa + pb);
        pa = (int16_t)(pa < 0 ? -pa : pa);
        pb = (int16_t)(pb < 0 ? -pb : pb);
        pc = (int16_t)(pc < 0 ? -pc : pc);
        int16_t bc = pb <= pc ? b : c;
        int16_t p = (pa <= pb) & (pa <= pc) ? a : bc;
        out[i] = (uint8_t)(row[i] - p);
    }
}

TARGET static void NAME(filter_row)(int type, const uint8_t *row, const uint8_t *up, size_t n, size_t bpp,
                                    int swap, uint8_t *restrict out)
{
    *out++ = (uint8_t)type;
    switch (type) {
    case SUB: NAME(filter_sub)(row, n, bpp, out); break;
    case UP: NAME(filter_up)(row, up, n, out); break;
    case AVERAGE: NAME(filter_average)(row, up, n, bpp, out); break;
    case PAETH: NAME(filter_paeth)(row, up, n, bpp, out); break;
    default: memcpy(out, row, n);
    }
    if (swap) NAME(swap_pairs)(out, n);
}

/* How often each symbol will be written for these bytes; zeros in whole words become runs. */
TARGET static void NAME(count_row)(tally *t, const uint8_t *bytes, size_t n)
{
    size_t i = 0;
    while (i + 8 <= n) {
        uint64_t v;
        memcpy(&v, bytes + i, 8);
        if (v == 0) {
            size_t zeros = zeros_from(bytes, i, n);
            count_run(t, zeros);
            i += zeros;
            continue;
        }
        t->bytes[0][v & 0xff]++;
        t->bytes[1][v >> 8 & 0xff]++;
        t->bytes[2][v >> 16 & 0xff]++;
        t->bytes[3][v >> 24 & 0xff]++;
        t->bytes[0][v >> 32 & 0xff]++;
        t->bytes[1][v >> 40 & 0xff]++;
        t->bytes[2][v >> 48 & 0xff]++;
        t->bytes[3][v >> 56]++;
        i += 8;
    }
    for (; i < n; i++) t->bytes[0][bytes[i]]++;
}

/* Four codes of up to 12 bits and 7 bits left over fit a word. */
#define PUT4(v) do { \
    code_t c0 = code[(v) & 0xff], c1 = code[(v) >> 8 & 0xff]; \
    code_t c2 = code[(v) >> 16 & 0xff], c3 = code[(v) >> 24 & 0xff]; \
    uint64_t low = CODE_BITS(c0) | (uint64_t)CODE_BITS(c1) << CODE_LENGTH(c0); \
    uint64_t high = CODE_BITS(c2) | (uint64_t)CODE_BITS(c3) << CODE_LENGTH(c2); \
    unsigned nlow = CODE_LENGTH(c0) + CODE_LENGTH(c1); \
    held |= (low | high << nlow) << count; \
    count += nlow + CODE_LENGTH(c2) + CODE_LENGTH(c3); \
    memcpy(at, &held, 8); \
    at += count >> 3; \
    held >>= count & ~7u; \
    count &= 7; \
} while (0)

TARGET static void NAME(emit_row)(bits *out, const code_t *code, int with_runs, const uint8_t *bytes, size_t n)
{
    uint64_t held = out->held;
    unsigned count = out->count;
    uint8_t *at = out->at;
    size_t i = 0;
    while (i + 8 <= n) {
        uint64_t v;
        memcpy(&v, bytes + i, 8);
        if (v == 0 && with_runs) {
            size_t zeros = zeros_from(bytes, i, n);
            *out = (bits){held, count, at};
            emit_run(out, code, zeros);
            held = out->held, count = out->count, at = out->at;
            i += zeros;
            continue;
        }
        uint32_t first = (uint32_t)v, second = (uint32_t)(v >> 32);
        PUT4(first);
        PUT4(second);
        i += 8;
    }
    *out = (bits){held, count, at};
    for (; i < n; i++) put(out, code[bytes[i]]);
}

#undef PUT4
