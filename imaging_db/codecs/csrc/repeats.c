#include <string.h>

#include "png.h"

/* A sample of some rows from the middle of the frame, of wide rows the beginning; and one row as far as
 * DEFLATE looks back. */
enum { SAMPLE = 8192, LEAST_ROWS = 4, LONGEST_ROW = 32768, WORD = 8, SLOTS = 4096, LONG = 16 };

static uint64_t word_at(const uint8_t *p)
{
    uint64_t v;
    memcpy(&v, p, WORD);
    return v;
}

/* 1 where three quarters of the bytes are zeros, or of the others more than half stood there before, sixteen
 * at least in a row. Runs of zeros between noise are no reason: `png_encode` knows them. */
static int is_repetition(const uint8_t *bytes, size_t n)
{
    uint16_t seen[SLOTS] = {0};
    size_t zeros = 0, again = 0, i = WORD;
    while (i + WORD <= n) {
        uint64_t v = word_at(bytes + i);
        size_t slot = (size_t)(v * 0x9e3779b97f4a7c15u >> 52), before = seen[slot], from = i;
        seen[slot] = (uint16_t)i;
        if (v == 0) {
            for (i += WORD; i < n && bytes[i] == 0; i++) {}
            zeros += i - from;
        } else if (before && word_at(bytes + before) == v) {
            for (i += WORD; i < n && bytes[i] == bytes[before + i - from]; i++) {}
            if (i - from >= LONG) again += i - from;
        } else i++;
    }
    return zeros * 4 > n * 3 || again * 2 > n - zeros;
}

/* 1 where most pixels are made of one value, such as grey kept as RGB or eight bits spread over sixteen, or
 * are as the one to the left, such as an enlarged picture. `unit` is a sample's bytes, `bpp` a pixel's. */
static int is_copied(const uint8_t *row, size_t n, size_t unit, size_t bpp)
{
    size_t pixels = n / bpp, within = 0, halves = 0, beside = 0;
    if (pixels < 2) return 0;
    for (const uint8_t *p = row; p < row + pixels * bpp; p += bpp) {
        within += bpp >= 3 * unit && !memcmp(p, p + unit, 2 * unit);
        halves += unit == 2 && p[0] == p[1];
        beside += p > row && !memcmp(p, p - bpp, bpp);
    }
    return within * 8 > pixels * 7 || halves * 8 > pixels * 7 || beside * 8 > pixels * 5;
}

int png_repeats(const frame *f)
{
    uint8_t rows[SAMPLE], steps[SAMPLE];
    size_t unit = (size_t)f->depth / 8, bpp = unit * (size_t)f->colors;
    size_t whole = (size_t)f->width * bpp, n = whole;
    if (n > SAMPLE / LEAST_ROWS) n = SAMPLE / LEAST_ROWS;
    uint32_t count = (uint32_t)(SAMPLE / n < f->height ? SAMPLE / n : f->height);
    const uint8_t *first = f->samples + (ptrdiff_t)((f->height - count) / 2) * f->stride;
    if (is_copied(first, n, unit, bpp)) return 1;
    if (whole > n && is_repetition(first, whole < LONGEST_ROW ? whole : LONGEST_ROW)) return 1;
    for (uint32_t y = 0; y < count; y++) memcpy(rows + y * n, first + (ptrdiff_t)y * f->stride, n);
    size_t all = count * n, below = all - n;
    for (size_t i = 0; i < below; i++) steps[i] = (uint8_t)(rows[i + n] - rows[i]);
    return is_repetition(rows, all) || is_repetition(steps, below);
}
