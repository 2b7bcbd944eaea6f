/* The loops of measure.c; see rows.inc.h for NAME and TARGET. Rows go in pieces whose sums fit 32 bits. */

enum { NAME(PIECE_8) = 32768, NAME(PIECE_16) = 16384 };

TARGET static void NAME(piece_8)(quality *q, const uint8_t *x, size_t n)
{
    uint8_t low = 255, high = 0;
    uint32_t sum = 0;
    for (size_t i = 0; i < n; i++) {
        low = x[i] < low ? x[i] : low;
        high = x[i] > high ? x[i] : high;
        sum += x[i];
    }
    if (low < q->minimum) q->minimum = low;
    if (high > q->maximum) q->maximum = high;
    q->sum += sum;
    if (high < 255) return;
    uint32_t full = 0;
    for (size_t i = 0; i < n; i++) full += x[i] == 255;
    q->saturated += full;
}

TARGET static uint64_t NAME(gradient_8)(const uint8_t *x, size_t n, size_t apart)
{
    uint32_t sum = 0;
    for (size_t i = 0; i < n; i++) {
        int16_t d = (int16_t)(x[i + apart] - x[i]);
        sum += (uint32_t)(d * d);
    }
    return sum;
}

TARGET static void NAME(piece_16)(quality *q, const uint16_t *x, size_t n)
{
    uint16_t low = 65535, high = 0;
    uint32_t sum = 0;
    for (size_t i = 0; i < n; i++) {
        low = x[i] < low ? x[i] : low;
        high = x[i] > high ? x[i] : high;
        sum += x[i];
    }
    if (low < q->minimum) q->minimum = low;
    if (high > q->maximum) q->maximum = high;
    q->sum += sum;
    if (high < 65535) return;
    uint32_t full = 0;
    for (size_t i = 0; i < n; i++) full += x[i] == 65535;
    q->saturated += full;
}

/* The low and the high halves of the squares are summed apart: each fits 32 bits. */
TARGET static uint64_t NAME(gradient_16)(const uint16_t *x, size_t n, size_t apart)
{
    uint32_t low = 0, high = 0;
    for (size_t i = 0; i < n; i++) {
        uint16_t a = x[i], b = x[i + apart];
        uint16_t d = (uint16_t)(a > b ? a - b : b - a);
        uint32_t square = (uint32_t)d * d;
        low += square & 0xffff;
        high += square >> 16;
    }
    return ((uint64_t)high << 16) + low;
}

TARGET static quality NAME(measure_8)(
    const uint8_t *samples, ptrdiff_t stride, size_t height, size_t n, size_t colors, size_t step)
{
    quality q = {.minimum = 255};
    size_t apart = 2 * colors;
    for (size_t y = 0; y < height; y++, samples += stride)
        for (size_t i = 0; i < n; i += NAME(PIECE_8)) {
            size_t take = n - i < NAME(PIECE_8) ? n - i : NAME(PIECE_8);
            NAME(piece_8)(&q, samples + i, take);
            if (y % step || i + apart >= n) continue;
            if (i + take + apart > n) take = n - apart - i;
            q.gradient += NAME(gradient_8)(samples + i, take, apart);
        }
    return q;
}

TARGET static quality NAME(measure_16)(
    const uint8_t *samples, ptrdiff_t stride, size_t height, size_t n, size_t colors, size_t step)
{
    quality q = {.minimum = 65535};
    size_t apart = 2 * colors;
    for (size_t y = 0; y < height; y++, samples += stride) {
        const uint16_t *row = (const uint16_t *)samples;
        for (size_t i = 0; i < n; i += NAME(PIECE_16)) {
            size_t take = n - i < NAME(PIECE_16) ? n - i : NAME(PIECE_16);
            NAME(piece_16)(&q, row + i, take);
            if (y % step || i + apart >= n) continue;
            if (i + take + apart > n) take = n - apart - i;
            q.gradient += NAME(gradient_16)(row + i, take, apart);
        }
    }
    return q;
}
