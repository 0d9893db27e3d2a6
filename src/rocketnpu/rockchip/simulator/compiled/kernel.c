/* The arithmetic of convolution tasks: fetch, multiply, DPU stages, store. Python decides what a task is, checks it and
   finds its memory (convolution.py); what is computed here equals the NumPy units byte for byte.

   Accumulators are int32, which Python allows only where no sum can leave it. The stages work on doubles that hold
   integers, as rounding.py explains. No call fails, and none allocates. */

#include <math.h>
#include <stdint.h>
#include <string.h>

#if defined(__AVX2__) && !defined(ROCKETNPU_PLAIN)
#include <immintrin.h>
#endif

#include "kernel.h"

#define SLOT 16
#define GROUP 32
#define STRIP 32
#define INT32_LOW (-2147483648.0)
#define INT32_HIGH 2147483647.0

/* ---------------------------------------------------------------- features */

static void pad(int16_t *out, int64_t pixels, const fetch_t *f)
{
    for (int64_t x = 0; x < pixels; x++)
        memcpy(out + x * f->lanes, f->pads, (size_t)f->lanes * sizeof *out);
}

static void fetch_slots(const fetch_t *f, int32_t y, int16_t *out, int8_t *kept)
{
    const int64_t channels = (int64_t)f->slots * SLOT;
    const int8_t *row = f->source + y / f->lines * f->group + y % f->lines * f->line;
    for (int32_t s = 0; s < f->slots; s++) {
        const int8_t *from = row + s * f->slot;
        const int32_t lanes = f->lanes - s * SLOT < SLOT ? f->lanes - s * SLOT : SLOT;
        for (int32_t x = 0; x < f->width; x++) {
            const int8_t *slot = from + x * f->pixel;
            if (kept)
                memcpy(kept + x * channels + s * SLOT, slot, SLOT);
            int16_t *wide = out + (int64_t)x * f->lanes + s * SLOT;
            if (lanes == SLOT)
                for (int32_t i = 0; i < SLOT; i++)
                    wide[i] = slot[i];
            else
                for (int32_t i = 0; i < lanes; i++)
                    wide[i] = slot[i];
        }
    }
}

static void fetch_packed(const fetch_t *f, int32_t y, int16_t *out, int8_t *kept)
{
    const uint8_t *row = (const uint8_t *)f->source + y * f->line;
    for (int32_t x = 0; x < f->width; x++) {
        int8_t values[SLOT] = {0};
        for (int32_t c = 0; c < f->packed; c++)
            values[c] = f->table[c * 256 + row[x * f->packed + c]];
        if (kept)
            memcpy(kept + (int64_t)x * f->slots * SLOT, values, SLOT);
        for (int32_t i = 0; i < f->lanes; i++)
            out[(int64_t)x * f->lanes + i] = values[i];
    }
}

void rocketnpu_fetch(const fetch_t *f)
{
    const int64_t pitch = (int64_t)f->columns * f->lanes;
    const int32_t right = f->columns - f->left - f->width;
    for (int32_t row = 0; row < f->rows; row++) {
        int16_t *out = f->padded + row * pitch;
        const int32_t y = row - f->top;
        if (y < 0 || y >= f->height) {
            pad(out, f->columns, f);
            continue;
        }
        pad(out, f->left, f);
        int8_t *kept = f->kept ? f->kept + (int64_t)y * f->width * f->slots * SLOT : 0;
        int16_t *inner = out + (int64_t)f->left * f->lanes;
        if (f->packed)
            fetch_packed(f, y, inner, kept);
        else
            fetch_slots(f, y, inner, kept);
        pad(inner + (int64_t)f->width * f->lanes, right, f);
    }
}

/* ---------------------------------------------------------------- multiply */

/* Weights lie pair by pair: for each of a group's 32 channels those of two input lanes or, in a depthwise convolution,
   of two taps. So one instruction multiplies and adds two int16 of each channel, where the processor has it. */

#if defined(__AVX512BW__) && !defined(ROCKETNPU_PLAIN)
#define TILE 8
typedef __m512i vector_t;
#define VECTORS 2

static inline vector_t load(const int16_t *from)
{
    return _mm512_loadu_si512(from);
}

static inline vector_t repeat(int32_t pair)
{
    return _mm512_set1_epi32(pair);
}

static inline vector_t multiply_add(vector_t sums, vector_t first, vector_t second)
{
#ifdef __AVX512VNNI__
    return _mm512_dpwssd_epi32(sums, first, second);
#else
    return _mm512_add_epi32(sums, _mm512_madd_epi16(first, second));
#endif
}

static inline void save(int32_t *to, vector_t sums)
{
    _mm512_storeu_si512(to, sums);
}

/* The values of 32 channels at two taps, side by side for each channel. */
static inline void interleave(const int16_t *first, const int16_t *second, vector_t out[VECTORS])
{
    const __m512i one = load(first), other = load(second);
    const __m512i low = _mm512_unpacklo_epi16(one, other), high = _mm512_unpackhi_epi16(one, other);
    out[0] = _mm512_permutex2var_epi64(low, _mm512_setr_epi64(0, 1, 8, 9, 2, 3, 10, 11), high);
    out[1] = _mm512_permutex2var_epi64(low, _mm512_setr_epi64(4, 5, 12, 13, 6, 7, 14, 15), high);
}
#elif defined(__AVX2__) && !defined(ROCKETNPU_PLAIN)
#define TILE 2
typedef __m256i vector_t;
#define VECTORS 4

static inline vector_t load(const int16_t *from)
{
    return _mm256_loadu_si256((const __m256i *)from);
}

static inline vector_t repeat(int32_t pair)
{
    return _mm256_set1_epi32(pair);
}

static inline vector_t multiply_add(vector_t sums, vector_t first, vector_t second)
{
    return _mm256_add_epi32(sums, _mm256_madd_epi16(first, second));
}

static inline void save(int32_t *to, vector_t sums)
{
    _mm256_storeu_si256((__m256i *)to, sums);
}

static inline void interleave(const int16_t *first, const int16_t *second, vector_t out[VECTORS])
{
    for (int half = 0; half < 2; half++) {
        const __m256i one = load(first + half * 16), other = load(second + half * 16);
        const __m256i low = _mm256_unpacklo_epi16(one, other), high = _mm256_unpackhi_epi16(one, other);
        out[2 * half] = _mm256_permute2x128_si256(low, high, 0x20);
        out[2 * half + 1] = _mm256_permute2x128_si256(low, high, 0x31);
    }
}
#endif

#ifdef TILE
#define STEP (2 * GROUP / VECTORS)

__attribute__((noinline)) static void multiply(const task_t *t, const int16_t *const *pixels, const int16_t *weights,
                                               int32_t (*sums)[GROUP])
{
    vector_t part[TILE][VECTORS];
    for (int p = 0; p < TILE; p++)
        for (int v = 0; v < VECTORS; v++)
            part[p][v] = repeat(0);
    for (int32_t run = 0; run < t->runs; run++) {
        const int16_t *from[TILE];
        for (int p = 0; p < TILE; p++)
            from[p] = pixels[p] + t->offsets[run];
        for (int64_t k = 0; k < 2 * (int64_t)t->pairs; k += 2, weights += 2 * GROUP) {
            vector_t some[VECTORS];
            for (int v = 0; v < VECTORS; v++)
                some[v] = load(weights + v * STEP);
            for (int p = 0; p < TILE; p++) {
                int32_t pair;
                memcpy(&pair, from[p] + k, sizeof pair);
                for (int v = 0; v < VECTORS; v++)
                    part[p][v] = multiply_add(part[p][v], some[v], repeat(pair));
            }
        }
    }
    for (int p = 0; p < TILE; p++)
        for (int v = 0; v < VECTORS; v++)
            save(sums[p] + v * STEP / 2, part[p][v]);
}

__attribute__((noinline)) static void multiply_depthwise(const task_t *t, const int16_t *pixel, const int16_t *weights,
                                                         int32_t *sums)
{
    vector_t part[VECTORS];
    for (int v = 0; v < VECTORS; v++)
        part[v] = repeat(0);
    for (int32_t tap = 0; tap < t->runs; tap += 2, weights += 2 * GROUP) {
        vector_t both[VECTORS];
        interleave(pixel + t->offsets[tap], pixel + t->offsets[tap + 1], both);
        for (int v = 0; v < VECTORS; v++)
            part[v] = multiply_add(part[v], load(weights + v * STEP), both[v]);
    }
    for (int v = 0; v < VECTORS; v++)
        save(sums + v * STEP / 2, part[v]);
}
#else
#define TILE 1
static void multiply(const task_t *t, const int16_t *const *pixels, const int16_t *weights, int32_t (*sums)[GROUP])
{
    int32_t part[GROUP] = {0};
    for (int32_t run = 0; run < t->runs; run++) {
        const int16_t *from = pixels[0] + t->offsets[run];
        for (int32_t k = 0; k < t->pairs; k++, weights += 2 * GROUP)
            for (int c = 0; c < GROUP; c++)
                part[c] += from[2 * k] * weights[2 * c] + from[2 * k + 1] * weights[2 * c + 1];
    }
    memcpy(sums[0], part, sizeof part);
}

static void multiply_depthwise(const task_t *t, const int16_t *pixel, const int16_t *weights, int32_t *sums)
{
    int32_t part[GROUP] = {0};
    for (int32_t tap = 0; tap < t->runs; tap += 2, weights += 2 * GROUP) {
        const int16_t *first = pixel + t->offsets[tap], *second = pixel + t->offsets[tap + 1];
        for (int c = 0; c < GROUP; c++)
            part[c] += first[c] * weights[2 * c] + second[c] * weights[2 * c + 1];
    }
    memcpy(sums, part, sizeof part);
}
#endif

/* ---------------------------------------------------------------- DPU stages */

typedef double tile_t[STRIP][GROUP];

static void add(tile_t v, int pixels, const double *a)
{
    for (int p = 0; p < pixels; p++)
        for (int c = 0; c < GROUP; c++)
            v[p][c] += a[c];
}

static void clip(tile_t v, int pixels, double low, double high)
{
    for (int p = 0; p < pixels; p++)
        for (int c = 0; c < GROUP; c++) {
            const double some = v[p][c] < low ? low : v[p][c];
            v[p][c] = some > high ? high : some;
        }
}

static void round_even(tile_t v, int pixels)
{
    for (int p = 0; p < pixels; p++)
        for (int c = 0; c < GROUP; c++)
            v[p][c] = rint(v[p][c]);
}

static void round_away(tile_t v, int pixels)
{
    for (int p = 0; p < pixels; p++)
        for (int c = 0; c < GROUP; c++)
            v[p][c] = copysign(floor(fabs(v[p][c]) + 0.5), v[p][c]);
}

static void scale(tile_t v, int pixels, const double *positive, const double *negative, int half_away)
{
    if (!half_away && positive == negative) {
        for (int p = 0; p < pixels; p++)
            for (int c = 0; c < GROUP; c++)
                v[p][c] = rint(v[p][c] * positive[c]);
        return;
    }
    for (int p = 0; p < pixels; p++)
        for (int c = 0; c < GROUP; c++)
            v[p][c] *= v[p][c] < 0 ? negative[c] : positive[c];
    if (half_away)
        round_away(v, pixels);
    else
        round_even(v, pixels);
}

static void shift(tile_t v, int pixels, double offset)
{
    for (int p = 0; p < pixels; p++)
        for (int c = 0; c < GROUP; c++)
            v[p][c] += offset;
}

/* Surfaces of the element-wise operand, which two engines may fetch in turn. */
static void operand(const task_t *t, const operand_t *o, tile_t v, int32_t first, int pixels, int32_t group)
{
    for (int s = 0; s < GROUP / SLOT; s++) {
        const int32_t surface = group * (GROUP / SLOT) + s;
        if (surface >= o->surfaces) {
            for (int p = 0; p < pixels; p++)
                for (int c = 0; c < SLOT; c++)
                    v[p][s * SLOT + c] = 0;
            continue;
        }
        const int engine = surface % o->engines;
        const int8_t *from = o->base[engine] + surface / o->engines * o->surface[engine];
        for (int p = 0; p < pixels; p++) {
            const int32_t pixel = first + p;
            const int8_t *slot = from + pixel / t->width * o->line[engine] + pixel % t->width * SLOT;
            for (int c = 0; c < SLOT; c++)
                v[p][s * SLOT + c] = slot[c];
        }
    }
    if (!o->convert)
        return;
    if (o->offset_first)
        shift(v, pixels, o->offset);
    if (o->scale != 1.0) {
        for (int p = 0; p < pixels; p++)
            for (int c = 0; c < GROUP; c++)
                v[p][c] *= o->scale;
        if (o->half_away)
            round_away(v, pixels);
        else
            round_even(v, pixels);
    }
    if (!o->offset_first)
        shift(v, pixels, o->offset);
    clip(v, pixels, INT32_LOW, INT32_HIGH);
}

static void combine(tile_t v, tile_t with, int pixels, int32_t operation)
{
    for (int p = 0; p < pixels; p++)
        switch (operation) {
        case OPERATION_MAX:
            for (int c = 0; c < GROUP; c++)
                v[p][c] = v[p][c] < with[p][c] ? with[p][c] : v[p][c];
            break;
        case OPERATION_MIN:
            for (int c = 0; c < GROUP; c++)
                v[p][c] = v[p][c] > with[p][c] ? with[p][c] : v[p][c];
            break;
        case OPERATION_ADD:
            for (int c = 0; c < GROUP; c++)
                v[p][c] += with[p][c];
            break;
        case OPERATION_MINUS:
            for (int c = 0; c < GROUP; c++)
                v[p][c] -= with[p][c];
            break;
        }
}

static void run_steps(const task_t *t, tile_t v, int32_t first, int pixels, int32_t group)
{
    for (int32_t n = 0; n < t->step_count; n++) {
        const step_t *s = t->steps + n;
        switch (s->kind) {
        case STEP_ADD:
            add(v, pixels, s->a + group * GROUP);
            break;
        case STEP_CLIP:
            clip(v, pixels, s->low, s->high);
            break;
        case STEP_SCALE:
            scale(v, pixels, s->a + group * GROUP, s->b + group * GROUP, s->choice);
            break;
        case STEP_OPERAND: {
            tile_t with;
            operand(t, &t->operand, with, first, pixels, group);
            combine(v, with, pixels, s->choice);
            break;
        }
        }
    }
}

/* ---------------------------------------------------------------- store */

static void narrow(const double *values, int valid, int64_t fill, int32_t size, int8_t *out)
{
    int32_t wide[GROUP];
    for (int c = 0; c < GROUP; c++)
        wide[c] = (int32_t)values[c];
    for (int c = valid; c < GROUP; c++)
        wide[c] = (int32_t)fill;
    if (size == 1)
        for (int c = 0; c < GROUP; c++)
            out[c] = (int8_t)wide[c];
    else if (size == 2)
        for (int c = 0; c < GROUP; c++) {
            const int16_t one = (int16_t)wide[c];
            memcpy(out + 2 * c, &one, sizeof one);
        }
    else
        memcpy(out, wide, sizeof wide);
}

static void store(const task_t *t, tile_t v, int32_t first, int pixels, int32_t group)
{
    const int slots = GROUP * t->size / SLOT;
    const int32_t left = t->channels - group * GROUP;
    const int valid = left < 0 ? 0 : left > GROUP ? GROUP : left;
    for (int p = 0; p < pixels; p++) {
        int8_t bytes[GROUP * sizeof(int32_t)];
        narrow(v[p], valid, t->fill, t->size, bytes);
        const int32_t pixel = first + p;
        const int64_t place = pixel / t->width * t->line + pixel % t->width * SLOT;
        for (int s = 0; s < slots; s++) {
            const int32_t surface = group * slots + s;
            if (surface < t->surfaces && t->targets[surface])
                memcpy(t->targets[surface] + place, bytes + s * SLOT, SLOT);
        }
    }
}

/* ---------------------------------------------------------------- task */

static void sum(const task_t *t, int32_t first, int pixels, int32_t group, int32_t (*sums)[GROUP])
{
    const int16_t *places[STRIP];
    for (int p = 0; p < STRIP; p++) {
        /* Tiles are always whole: what is beyond the strip repeats its last pixel, and is dropped. */
        const int32_t pixel = first + (p < pixels ? p : pixels - 1);
        places[p] = t->padded + (int64_t)(pixel / t->width) * t->stride_y * t->row
                  + (int64_t)(pixel % t->width) * t->stride_x * t->lanes;
    }
    const int64_t size = (int64_t)t->runs * GROUP * (t->depthwise ? 1 : 2 * t->pairs);
    const int16_t *weights = t->weights + group * size;
    if (t->depthwise)
        for (int p = 0; p < pixels; p++)
            multiply_depthwise(t, places[p] + group * GROUP, weights, sums[p]);
    else
        for (int p = 0; p < pixels; p += TILE)
            multiply(t, places + p, weights, sums + p);
}

static void strip(const task_t *t, int32_t first, int pixels, int32_t group)
{
    int32_t sums[STRIP][GROUP];
    tile_t values;
    if (group * GROUP < t->channels) {
        sum(t, first, pixels, group, sums);
        for (int p = 0; p < pixels; p++)
            for (int c = 0; c < GROUP; c++)
                values[p][c] = sums[p][c];
        run_steps(t, values, first, pixels, group);
    } else
        memset(values, 0, sizeof values);
    store(t, values, first, pixels, group);
}

void rocketnpu_convolve(const task_t *t, int32_t start, int32_t stop)
{
    const int32_t groups = (t->surfaces * SLOT / t->size + GROUP - 1) / GROUP;
    for (int32_t row = start; row < stop; row += t->rows_at_once) {
        const int32_t end = row + t->rows_at_once < stop ? row + t->rows_at_once : stop;
        for (int32_t group = 0; group < groups; group++)
            for (int32_t pixel = row * t->width; pixel < end * t->width; pixel += STRIP) {
                const int32_t left = end * t->width - pixel;
                strip(t, pixel, left < STRIP ? left : STRIP, group);
            }
    }
}
