#include "png.h"

#include <stdlib.h>
#include <string.h>

#include "checksum.h"
#include "cpu.h"
#include "huffman.h"

enum { NONE, SUB, UP, AVERAGE, PAETH, FILTERS };
enum { END_OF_BLOCK = 256, LITERALS_AND_LENGTHS = 286, LIMIT = 12, LONGEST_RUN = 258 };
enum { BLOCK_BYTES = 512 * 1024, PROBED_ROWS = 4, COUNTED_SHARE = 8 };

/* ---- bits ---------------------------------------------------------------------------------- */

typedef struct { uint64_t held; unsigned count; uint8_t *at; } bits;

static void put_bits(bits *out, uint32_t value, unsigned n)
{
    out->held |= (uint64_t)value << out->count;
    out->count += n;
    memcpy(out->at, &out->held, 8);
    out->at += out->count >> 3;
    out->held >>= out->count & ~7u;
    out->count &= 7;
}

static void put(bits *out, code_t c) { put_bits(out, CODE_BITS(c), CODE_LENGTH(c)); }

/* ---- runs of zeros -------------------------------------------------------------------------- */

/* How a match of 3 to 258 bytes is written (RFC 1951, section 3.2.5). */
typedef struct { uint16_t symbol; uint8_t extra_bits, extra; } match_length;
static match_length match_of[LONGEST_RUN + 1];

void png_init(void)
{
    int length = 3;
    for (int symbol = 257; symbol < 285; symbol++) {
        int extra_bits = symbol < 265 ? 0 : (symbol - 261) / 4;
        for (int extra = 0; extra < 1 << extra_bits && length < LONGEST_RUN; extra++)
            match_of[length++] = (match_length){(uint16_t)symbol, (uint8_t)extra_bits, (uint8_t)extra};
    }
    match_of[LONGEST_RUN] = (match_length){285, 0, 0};
}

typedef struct { uint32_t bytes[4][256], lengths[30]; } tally;

/* Zeros from `i` on, in words of eight; the word at `i` is one. */
static size_t zeros_from(const uint8_t *bytes, size_t i, size_t n)
{
    size_t from = i;
    uint64_t v;
    for (i += 8; i + 8 <= n; i += 8) {
        memcpy(&v, bytes + i, 8);
        if (v) break;
    }
    return i - from;
}

/* A run is one zero, then matches at distance 1, then zeros again where fewer than three are left. */
static void count_run(tally *t, size_t zeros)
{
    t->bytes[0][0]++;
    for (zeros--; zeros >= 3;) {
        size_t take = zeros < LONGEST_RUN ? zeros : LONGEST_RUN;
        t->lengths[match_of[take].symbol - END_OF_BLOCK]++;
        zeros -= take;
    }
    t->bytes[0][0] += (uint32_t)zeros;
}

static void emit_run(bits *out, const code_t *code, size_t zeros)
{
    put(out, code[0]);
    for (zeros--; zeros >= 3;) {
        size_t take = zeros < LONGEST_RUN ? zeros : LONGEST_RUN;
        match_length m = match_of[take];
        put(out, code[m.symbol]);
        put_bits(out, m.extra, m.extra_bits + 1u); /* and one zero bit: distance 1 */
        zeros -= take;
    }
    while (zeros--) put(out, code[0]);
}

#define NAME(x) x##_plain
#define TARGET
#include "rows.inc.h"
#undef NAME
#undef TARGET
#if HAVE_AVX2
#define NAME(x) x##_avx2
#define TARGET AVX2
#include "rows.inc.h"
#undef NAME
#undef TARGET
#endif

typedef struct {
    void (*filter_row)(int, const uint8_t *, const uint8_t *, size_t, size_t, int, uint8_t *restrict);
    void (*count_row)(tally *, const uint8_t *, size_t);
    void (*emit_row)(bits *, const code_t *, int, const uint8_t *, size_t);
} loops;

static loops fastest(void)
{
#if HAVE_AVX2
    if (cpu_avx2) return (loops){filter_row_avx2, count_row_avx2, emit_row_avx2};
#endif
    return (loops){filter_row_plain, count_row_plain, emit_row_plain};
}

/* ---- blocks --------------------------------------------------------------------------------- */

/* One frame on its way: its rows, a row of zeros above the first, one filtered row. */
typedef struct {
    const frame *f;
    loops run;
    size_t row_bytes, bpp;
    uint8_t *above, *filtered;
    bits out;
    uint32_t adler;
} encoder;

static const uint8_t *row_at(const encoder *e, uint32_t y) { return e->f->samples + (ptrdiff_t)y * e->f->stride; }

static void filter(encoder *e, int type, uint32_t y)
{
    const uint8_t *up = y ? row_at(e, y - 1) : e->above;
    e->run.filter_row(type, row_at(e, y), up, e->row_bytes, e->bpp, e->f->swap, e->filtered);
}

/* The counts of all symbols, in the order of the code. Every literal gets one at least: only a share of
 * the rows is counted. Lengths get none where no run was seen, and are not used then. */
static int gather(const tally *t, uint32_t *count)
{
    uint32_t runs = 0;
    for (int i = 0; i < 256; i++)
        count[i] = 1 + t->bytes[0][i] + t->bytes[1][i] + t->bytes[2][i] + t->bytes[3][i];
    count[END_OF_BLOCK] = 1;
    for (int i = 1; i < 30; i++) runs += t->lengths[i];
    for (int i = 1; i < 30; i++) count[END_OF_BLOCK + i] = runs ? 1 + t->lengths[i] : 0;
    return runs > 0;
}

/* About 4096 * log2(v): the place of the highest bit, then a parabola through its octave. */
static uint64_t log2_4096(uint32_t v)
{
    uint64_t place = 0;
    for (uint32_t top = v; top >>= 1;) place++;
    uint64_t part = ((uint64_t)v << 12 >> place) & 4095;
    return place * 4096 + (part * (4096 * 134 - 34 * part) / (4096 * 100));
}

/* What the counted symbols need by their entropy, in 4096ths of a bit. */
static uint64_t cost(const tally *t)
{
    uint32_t count[LITERALS_AND_LENGTHS], total = 0;
    uint64_t sum = 0;
    gather(t, count);
    for (int i = 0; i < LITERALS_AND_LENGTHS; i++) total += count[i];
    uint64_t whole = log2_4096(total);
    for (int i = 0; i < LITERALS_AND_LENGTHS; i++)
        if (count[i] > 1) sum += count[i] * (whole - log2_4096(count[i]));
    return sum;
}

/* The filter that a few rows, spread over the block, find best. */
static int best_filter(encoder *e, uint32_t first, uint32_t rows)
{
    uint32_t step = rows / PROBED_ROWS + 1;
    uint64_t least = UINT64_MAX;
    int best = UP;
    for (int type = NONE; type < FILTERS; type++) {
        tally t = {0};
        for (uint32_t y = first + step / 2; y < first + rows; y += step) {
            filter(e, type, y);
            e->run.count_row(&t, e->filtered, e->row_bytes + 1);
        }
        uint64_t needed = cost(&t);
        if (needed < least) { least = needed; best = type; }
    }
    return best;
}

/* The head of a block with its codes (RFC 1951, section 3.2.7), lengths spelled without repeats. */
static void emit_codes(bits *out, const uint8_t *length, int with_runs)
{
    static const uint8_t order[19] = {16, 17, 18, 0, 8, 7, 9, 6, 10, 5, 11, 4, 12, 3, 13, 2, 14, 1, 15};
    int symbols = with_runs ? LITERALS_AND_LENGTHS : END_OF_BLOCK + 1;
    uint32_t count[19] = {0};
    uint8_t meta[19];
    code_t code[19];
    for (int i = 0; i < symbols; i++) count[length[i]]++;
    count[0]++;
    count[1] += 2; /* two distances of one bit each: a complete code, of which the first is used */
    huffman_lengths(count, 19, 7, meta);
    huffman_codes(meta, 19, code);
    put_bits(out, (uint32_t)symbols - 257, 5);
    put_bits(out, 2 - 1, 5);
    put_bits(out, 19 - 4, 4);
    for (int i = 0; i < 19; i++) put_bits(out, meta[order[i]], 3);
    for (int i = 0; i < symbols; i++) put(out, code[length[i]]);
    put(out, code[1]);
    put(out, code[1]);
}

static void emit_block(encoder *e, uint32_t first, uint32_t rows, int last)
{
    tally t = {0};
    uint32_t count[LITERALS_AND_LENGTHS];
    uint8_t length[LITERALS_AND_LENGTHS];
    code_t code[LITERALS_AND_LENGTHS];
    int type = best_filter(e, first, rows);
    uint32_t step = rows >= 4 * COUNTED_SHARE ? COUNTED_SHARE : 1;
    for (uint32_t y = first; y < first + rows; y += step) {
        filter(e, type, y);
        e->run.count_row(&t, e->filtered, e->row_bytes + 1);
    }
    int with_runs = gather(&t, count);
    huffman_lengths(count, LITERALS_AND_LENGTHS, LIMIT, length);
    huffman_codes(length, LITERALS_AND_LENGTHS, code);
    put_bits(&e->out, (uint32_t)last | 2 << 1, 3);
    emit_codes(&e->out, length, with_runs);
    for (uint32_t y = first; y < first + rows; y++) {
        filter(e, type, y);
        e->adler = adler32_update(e->adler, e->filtered, e->row_bytes + 1);
        e->run.emit_row(&e->out, code, with_runs, e->filtered, e->row_bytes + 1);
    }
    put(&e->out, code[END_OF_BLOCK]);
}

/* ---- the file ------------------------------------------------------------------------------- */

static uint8_t *put_big32(uint8_t *at, uint32_t v)
{
    for (int shift = 24; shift >= 0; shift -= 8) *at++ = (uint8_t)(v >> shift);
    return at;
}

/* The chunk whose `n` bytes of data are in place after its head; return its end. */
static uint8_t *close_chunk(uint8_t *head, const char *type, size_t n, uint32_t crc)
{
    put_big32(head, (uint32_t)n);
    memcpy(head + 4, type, 4);
    return put_big32(head + 8 + n, crc);
}

static uint8_t *put_header(const frame *f, uint8_t *at)
{
    static const uint8_t signature[8] = {0x89, 'P', 'N', 'G', '\r', '\n', 0x1a, '\n'};
    static const uint8_t color_type[5] = {0, 0, 4, 2, 6};
    memcpy(at, signature, 8);
    at += 8;
    uint8_t *data = put_big32(put_big32(at + 8, f->width), f->height);
    data[0] = (uint8_t)f->depth;
    data[1] = color_type[f->colors];
    data[2] = data[3] = data[4] = 0;
    memcpy(at + 4, "IHDR", 4);
    return close_chunk(at, "IHDR", 13, crc32_update(0, at + 4, 17));
}

static size_t bytes_of_row(const frame *f) { return (size_t)f->width * (size_t)(f->colors * f->depth / 8); }

size_t png_bound(const frame *f)
{
    uint64_t row = bytes_of_row(f), raw = (row + 1) * f->height;
    if (row > 0x7fffffff / f->height) return 0;
    uint64_t blocks = f->height / (BLOCK_BYTES / row + 1) + 1;
    uint64_t bound = raw * LIMIT / 8 + blocks * 400 + 128;
    return bound < 0x7fffffff ? (size_t)bound : 0;
}

size_t png_encode(const frame *f, uint8_t *out)
{
    encoder e = {.f = f, .run = fastest(), .row_bytes = bytes_of_row(f), .adler = 1};
    e.bpp = (size_t)(f->colors * f->depth / 8);
    e.above = calloc(2, e.row_bytes + 16);
    if (!e.above) return 0;
    e.filtered = e.above + e.row_bytes + 16;
    uint8_t *head = put_header(f, out), *data = head + 8;
    memcpy(head + 4, "IDAT", 4);
    uint32_t crc = crc32_update(0, head + 4, 4);
    data[0] = 0x78; /* a window of 32 KiB, fastest level (RFC 1950) */
    data[1] = 0x01;
    e.out.at = data + 2;
    uint8_t *summed = data;
    uint64_t rows = BLOCK_BYTES / e.row_bytes + 1;
    for (uint64_t y = 0; y < f->height; y += rows) {
        uint64_t left = f->height - y;
        emit_block(&e, (uint32_t)y, (uint32_t)(left < rows ? left : rows), left <= rows);
        crc = crc32_update(crc, summed, (size_t)(e.out.at - summed));
        summed = e.out.at;
    }
    free(e.above);
    if (e.out.count) put_bits(&e.out, 0, 8 - e.out.count);
    uint8_t *end = put_big32(e.out.at, e.adler);
    crc = crc32_update(crc, summed, (size_t)(end - summed));
    end = close_chunk(head, "IDAT", (size_t)(end - data), crc);
    memcpy(end + 4, "IEND", 4);
    return (size_t)(close_chunk(end, "IEND", 0, crc32_update(0, end + 4, 4)) - out);
}
