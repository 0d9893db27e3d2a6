/* Read by the C compiler, and by Python (cffi), which fills the structures. Sizes and steps in bytes, unless said. */

typedef struct {
    const int8_t *source;
    int64_t slot, line, pixel; /* steps to the next slot of 16 channels, row, column */
    int64_t group;             /* step from one run of lines to the next */
    int32_t lines;             /* rows of a run */
    int32_t width, height, slots;
    int32_t packed;        /* channels of a packed pixel, 0 where slots are fetched */
    const int8_t *table;   /* [packed][256]: what the input converter makes of a byte */
    int8_t *kept;          /* [height][width][slots * 16], or none */
    int32_t rows, columns; /* with padding */
    int32_t top, left;
    int32_t lanes;       /* channels kept in padded, an even number */
    const int16_t *pads; /* [lanes] */
    int16_t *padded;     /* [rows][columns][lanes], and room for 64 more */
} fetch_t;

enum { STEP_ADD, STEP_CLIP, STEP_SCALE, STEP_OPERAND };
enum { OPERATION_MAX = 0, OPERATION_MIN = 1, OPERATION_ADD = 2, OPERATION_MINUS = 4 };

typedef struct {
    int32_t kind;
    int32_t choice;     /* of STEP_SCALE: round half away; of STEP_OPERAND: the operation */
    const double *a, *b; /* a value a channel, whole groups of 32; of STEP_SCALE for values from 0 on, and below */
    double low, high;
} step_t;

typedef struct {
    const int8_t *base[2];
    int64_t surface[2], line[2];
    int32_t engines, surfaces;
    int32_t convert, offset_first, half_away;
    double offset, scale;
} operand_t;

typedef struct {
    const int16_t *padded;
    int64_t row;   /* values of a row */
    int32_t lanes; /* values of a pixel */
    int32_t stride_x, stride_y;
    int32_t width; /* of the output, pixels */
    int32_t depthwise;
    int32_t runs, pairs;    /* unbroken runs of a window, and pairs of lanes in each; of depthwise: taps, an even number, and 0 */
    const int32_t *offsets; /* [runs], values from a window's first */
    const int16_t *weights; /* [groups][runs][pairs][32][2]; of depthwise: [groups][taps / 2][32][2] */
    int32_t channels;       /* real ones */
    const step_t *steps;
    int32_t step_count;
    operand_t operand;
    int32_t size;     /* bytes of a result */
    int32_t surfaces; /* of the output, those of padding channels included */
    int8_t *const *targets;
    int64_t line;
    int64_t fill; /* what padding channels hold */
    int32_t rows_at_once;
} task_t;

void rocketnpu_fetch(const fetch_t *);
void rocketnpu_convolve(const task_t *, int32_t, int32_t);
