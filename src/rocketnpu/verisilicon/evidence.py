"""Every hardware rule that this family's simulator relies on, and what speaks for it.

There is no rule of the strongest kind: no byte that these chips wrote is public. ``docs/hardware/verisilicon.md`` is
printed from :data:`TABLE` by ``rocketnpu evidence --chip a311d --page evidence``. "Facts" are the sections of
``docs/hardware/verisilicon-facts.md``; "lists" are Mesa's published lists of its generated tests that pass or fail on
real chips, with a tolerance of two steps.
"""

from __future__ import annotations

from rocketnpu.evidence import EvidenceTable

NOTE = """No byte that these chips wrote is public. What speaks for a rule is a driver that people run, or published
lists of tests that pass or fail on real chips with a tolerance of two steps. So nothing here is said to be exact:
simulated streams are compared with LiteRT's reference kernels, each operator given its own inputs, and are *within 1*
of them. Rounding at ties, saturation, the accumulator's width and all that caches do are assumed."""
_TABLE = """
## Front end
load-state: A stream is LOAD_STATE commands of 32-bit words at even places; words of zero between them do nothing.
    open driver known to run; facts 3: Mesa's etnaviv_ml.c and all recordings
    verisilicon/registers/test_vsi_instructions.py::test_commands_come_back
job-start: Writing PS_NN_INST_ADDR or PS_TP_INST_ADDR starts the instruction there; the low six bits carry a number.
    open driver known to run; facts 3
    verisilicon/simulator/test_vsi_streams.py::test_jobs_run_in_their_order_and_low_bits_are_a_number
job-order: Jobs of a stream run one after another.
    open driver known to run; facts 3: GL_NN_CONFIG has the small-batch bit set
    verisilicon/simulator/test_vsi_streams.py::test_jobs_run_in_their_order_and_low_bits_are_a_number
other-states: States that start nothing do not change results.
    assumed; facts 3: their values are the same in all recordings
    verisilicon/simulator/test_vsi_streams.py::test_unknown_states_are_remarked_and_do_nothing
patience: The kernel drops a job that makes no progress for half a second, and tells nobody.
    open driver known to run; etnaviv_sched.c of Linux
    verisilicon/drivers/test_etnaviv_node.py::test_a_job_that_fails_is_dropped_and_nobody_is_told
modes: PA_SYSTEM_MODE 0x11 and GL_API_MODE 2 are set in a submission of their own before the first job.
    open driver known to run; facts 3: once a process, in all recordings
    verisilicon/drivers/test_etnaviv.py::test_one_submission_a_part_and_one_for_the_modes_after_a_rest
mode-loss: An NPU that the kernel has switched off, 0.2 s after its last job, or reset needs the modes again.
    assumed; autosuspend in etnaviv_gpu.c of Linux: setting them once more does nothing where they have been kept
    verisilicon/drivers/test_etnaviv.py::test_one_submission_a_part_and_one_for_the_modes_after_a_rest
submission-size: A submission's stream has at most 128 KiB; jobs of a later one follow those of an earlier one.
    open driver known to run; SZ_128K in etnaviv_gem_submit.c of Linux
    verisilicon/drivers/test_etnaviv.py::test_commands_beyond_what_the_kernel_takes_go_in_several_submissions
soft-pinning: User space chooses addresses from 4 MiB up to 4 GiB; with them a stream has no relocations.
    open driver known to run; facts 2, etnaviv_gem_submit.c of Linux
    verisilicon/drivers/test_etnaviv_node.py::test_soft_pinning
## Data in memory
unsigned-bytes: All tensors are unsigned bytes; INT8 tensors, their zero points and weights are stored plus 128.
    open driver known to run; facts 4
    verisilicon/simulator/test_vsi_recordings.py::test_one_operator_is_within_one_of_the_reference_unless_its_stream_is_wrong
planes: An image lies plane after plane, rows and planes apart by the instruction's strides.
    open driver known to run; facts 4, lists
    verisilicon/simulator/test_vsi_nn.py::test_a_tensor_among_others_and_rows_with_gaps
border: Outside the image the cores read BORDER_CONSTANT, and nothing else pads.
    open driver known to run; facts 4, lists
    verisilicon/simulator/test_vsi_nn.py::test_any_convolution
window-offset: The window begins at the offset from pixel (0, 0), a number in two's complement of four or five bits.
    open driver known to run; facts 1, 4, lists
    verisilicon/simulator/test_vsi_nn.py::test_any_convolution
## Coefficients
core-shares: Kernels are dealt out to the cores in superblocks; each core's stream begins at 64 bytes.
    open driver known to run; facts 5, 6, lists
    verisilicon/coefficients/test_vsi_coefficients.py::test_zero_runs_come_back
zero-runs: Generation 7 writes weights as bytes, or as runs of the zero point with the byte behind.
    open driver known to run; facts 5, lists
    verisilicon/coefficients/test_vsi_coefficients.py::test_zero_runs_come_back
row-pairs: Generation 7 takes a kernel in pairs of rows, of each pair the first three columns first.
    open driver known to run; facts 5: failures in the lists are predicted by it and by no other order tried
    verisilicon/coefficients/test_vsi_coefficients.py::test_the_order_of_a_five_by_five_kernel
blocks-of-six: Generation 7 takes 1x1 kernels in blocks of six input channels.
    open driver known to run; facts 5, lists
    verisilicon/coefficients/test_vsi_coefficients.py::test_zero_runs_come_back
surplus-kernels: The last core's surplus kernels point behind the tensor and are dropped.
    open driver known to run; facts 5
    verisilicon/coefficients/test_vsi_coefficients.py::test_zero_runs_come_back
entropy-code: Generation 8 codes bytes in pairs, three stages deep, with eight symbols of given lengths.
    open driver known to run; facts 6, lists
    verisilicon/coefficients/test_vsi_coefficients.py::test_entropy_coded_kernels_come_back
depthwise-order: Generation 8 deals depthwise kernels out to its cores from the last channel of each group on.
    open driver known to run; facts 6, lists
    verisilicon/coefficients/test_vsi_coefficients.py::test_entropy_coded_kernels_come_back
## Coefficients as they are written
tiles: Tiles and superblocks follow from a job's sizes; the instruction names them, coefficients lie in their order.
    open driver known to run; facts 4: as in all recorded instructions, but for tiles of sums and of oblong maps
    verisilicon/tasks/test_vsi_tiling.py::test_tiles_are_those_of_the_open_driver
run-ends: Runs of the zero point end before each bias and place, in the last superblock also where a channel does.
    open driver known to run; every recorded buffer whose order is the core's
    verisilicon/coefficients/test_vsi_writers.py::test_generation_7_is_written_as_recorded
own-symbols: Symbols stand for bit lengths in any order that the header names.
    open driver known to run; facts 6: recorded headers have many orders, none of them by the count of what is coded
    verisilicon/coefficients/test_vsi_writers.py::test_generation_8_is_written_as_recorded_and_smaller_by_our_own_count
## Arithmetic
stored-bias: Generation 7 multiplies bytes as they are, generation 8 less 128; biases are stored to fit.
    open driver known to run; facts 4, lists
    verisilicon/simulator/test_vsi_nn.py::test_any_convolution
multiplier: The scale is a multiplier of 15 or 23 bits behind a leading one, above a right shift.
    open driver known to run; facts 4, lists
    verisilicon/simulator/test_vsi_nn.py::test_any_convolution
first-pixel: First-pixel pooling keeps pixel (2x, 2y) of a convolution whose size is written doubled.
    open driver known to run; facts 4, lists
    verisilicon/simulator/test_vsi_nn.py::test_any_convolution
rounding: Products are rounded half away from zero.
    assumed; facts 4, 11: the lists allow two steps, so they do not tell
    verisilicon/simulator/test_vsi_nn.py::test_rounding_is_half_away_from_zero
clamp: Results are clamped to a byte, from the zero point on where RELU is set.
    open driver known to run; facts 4, lists
    verisilicon/simulator/test_vsi_nn.py::test_any_convolution
accumulator: Sums fit 32 bits; what happens beyond is not known, and refused.
    assumed; facts 11
    verisilicon/simulator/test_vsi_nn.py::test_sums_beyond_what_is_known_are_refused
caches: Caching kernels and images in the chip's memory changes no result.
    assumed; facts 4, 11: two tests at 112x112 fail on the A311D and one on both chips, which may belong here
    verisilicon/simulator/test_vsi_recordings.py::test_published_verdicts
depthwise-channels: A depthwise kernel without an input channel of its own reads channel k modulo their number.
    assumed; facts 9.8: such streams are wrong on silicon, in a way that nobody described
    verisilicon/streams/test_vsi_replay.py::test_defects_are_named_and_right_streams_have_none
## Tensor processors
scan: A scan passes planes, tiles down, tiles across, rows of a tile, columns; outside lies the zero point.
    open driver known to run; facts 7
    verisilicon/simulator/test_vsi_tp.py::test_reshuffling_into_four_maps
counters: Nested counters, the first the fastest and a seventh without end, say where each value is written.
    open driver known to run; facts 7
    verisilicon/simulator/test_vsi_tp.py::test_transposing_pixels_to_planes_and_back
tile-counters: With counts 1 and 2 zero, counters 1 to 4 follow column, row and tile of the scan.
    open driver known to run; facts 7: look-up jobs
    verisilicon/simulator/test_vsi_tp.py::test_looking_up_with_the_identity_table_changes_nothing
overfetch: Planes before and after the image are read as the zero point.
    open driver known to run; facts 7
    verisilicon/simulator/test_vsi_tp.py::test_padding
lookup: A look-up is 1,024 words of a 21-bit float, read between two entries, scaled and rounded.
    open driver known to run; facts 7
    verisilicon/simulator/test_vsi_tp.py::test_looking_up_relu_and_a_scale
lookup-rounding: What a look-up gives is rounded half away from zero and clamped to a byte.
    assumed; facts 7, 11
    verisilicon/simulator/test_vsi_tp.py::test_looking_up_relu_and_a_scale
table-ends: Exponents 0 and 31 of the float, and the entry behind the last, are read as the simulator does.
    assumed; no known table has the one or is read at the other
    verisilicon/simulator/test_vsi_tp.py::test_the_float_of_the_tables
one-bend: Whole numbers up to 31 have entries of their own, so that a function with one bend comes out exactly.
    open driver known to run; facts 7: the table of RELU
    verisilicon/tasks/test_vsi_numbers.py::test_one_bend_is_exact
free-distance: A job reads planes that other jobs, or the host, have written side by side.
    open driver known to run; facts 8: additions, splits and concatenations
    verisilicon/models/test_vsi_operators.py::test_seeded_operators
## Optional rules
inner-window: A window that begins or ends inside the image reads that part of it alone.
    assumed; facts 7: known windows hold the whole image, or go beyond it
    verisilicon/simulator/test_vsi_tp.py::test_a_window_inside_the_image
placed-scan: Counters may leave gaps between rows and planes, so that a map is written into a part of a larger one.
    assumed; facts 7: transposing jobs leave gaps between values, none is known that leaves them between rows
    verisilicon/models/test_vsi_operators.py::test_seeded_operators
"""


class Unproven:
    """Names of the rules that a program can do without: tasks list those that they need."""

    INNER_WINDOW = "inner-window"
    PLACED_SCAN = "placed-scan"


TABLE = EvidenceTable.read("A311D or i.MX 8M Plus", _TABLE, NOTE)
"""All rules, of both generations."""
