#include <string.h>

#include "png.h"

/* A sample of some rows from the middle of the frame, of wide rows the beginning. */
enum { SAMPLE = 8192, LEAST_ROWS = 4, WORD = 8, SLOTS = 4096, LONG = 16 };

static uint64_t word_at(const uint8_t *p)
{
    uint64_t v;
    memcpy(&v, p, WORD);
    return v;
}

/* 1 where nearly all of the bytes are zeros, or of the others more than half stood there before, sixteen
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
    return zeros * 8 > n * 7 || again * 2 > n - zeros;
}

int png_repeats(const frame *f)
{
    uint8_t rows[SAMPLE], steps[SAMPLE];
    size_t n = (size_t)f->width * (size_t)(f->colors * f->depth / 8);
    if (n > SAMPLE / LEAST_ROWS) n = SAMPLE / LEAST_ROWS;
    uint32_t count = (uint32_t)(SAMPLE / n < f->height ? SAMPLE / n : f->height);
    const uint8_t *first = f->samples + (ptrdiff_t)((f->height - count) / 2) * f->stride;
    for (uint32_t y = 0; y < count; y++) memcpy(rows + y * n, first + (ptrdiff_t)y * f->stride, n);
    size_t all = count * n, below = all - n;
    for (size_t i = 0; i < below; i++) steps[i] = (uint8_t)(rows[i + n] - rows[i]);
    return is_repetition(rows, all) || is_repetition(steps, below);
}
