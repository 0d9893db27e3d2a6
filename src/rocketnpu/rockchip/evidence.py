"""What speaks for each hardware rule of the RK3588 that compiler or simulator rely on.

A rule is named where it is used (tasks carry the names of the unproven rules they need), described here once, and
pinned by a test. ``docs/hardware/evidence.md`` is printed from :data:`TABLE` by ``rocketnpu evidence``.
"""

from __future__ import annotations

from rocketnpu.evidence import EvidenceTable


class Unproven:
    """Names of the rules that are not proven on this chip; tasks that need one carry its name."""

    CHANNEL_RECORDS_DEPTHWISE = "depthwise-channel-records"
    ELEMENTWISE_MAXIMUM = "elementwise-maximum"
    ELEMENTWISE_MULTIPLY = "elementwise-multiply"
    LOOKUP = "byte-lookup-table"
    OPERAND_PER_CHANNEL = "elementwise-operand-per-channel"
    PARAMETRIC_RELU = "parametric-relu"
    POOLING_UNIT = "byte-pooling-unit"
    CEILING = "integer-relux"
    DILATION = "dilation"
    ELEMENTWISE_RELU = "elementwise-relu"
    LIFT = "constant-summand-in-bn"
    FLYING_START = "flying-start"
    SOURCE_GAP = "feature-line-gap"
    PACKED_PICTURE = "packed-byte-picture"


_TABLE = """
## Command lists
command-word: A command word is 64 bits: target unit, 32-bit value, register offset.
    open driver known to run; spec 1.3
    rockchip/registers/test_command.py::test_words_of_a_known_stream
marker: A marker word must stand before the enable word.
    open driver known to run; spec 1.3: manual, and every stream that runs
    rockchip/simulator/test_sim_pc.py::test_enable_word_without_marker
fetch-amount: The PC fetches 128-bit beats; REGISTER_AMOUNTS holds their number minus one.
    open driver known to run; spec 1.5: both kernel drivers
    rockchip/simulator/test_sim_pc.py::test_the_vendor_way_follows_links
fetched-too-far: Words behind the enable word have no effect.
    recorded on silicon; spec 1.5: RK3588 programs that fetch too much
    rockchip/simulator/test_sim_pc.py::test_words_fetched_too_far_have_no_effect
one-list-a-start: The mainline kernel starts each list itself; links in lists are not followed.
    open driver known to run; spec 1.5: Linux 7.2
    rockchip/simulator/test_sim_pc.py::test_the_mainline_way_does_not_follow_links
chained-start: The vendor's kernel starts a chain; the PC follows the links through all its lists.
    recorded on silicon; outside 3: three authors on RK3588
    rockchip/simulator/test_sim_pc.py::test_the_vendor_way_follows_links
register-groups: Each unit has two register groups; its pointers toggle with every task.
    recorded on silicon; spec 1.6, addendum 8.2: interrupt bits of recorded tasks alternate
    rockchip/simulator/test_sim_pc.py::test_groups_alternate_and_keep_their_registers
pointer-bit: The pointer bit of S_POINTER counts only while toggling is off.
    assumed; spec 1.6: every stream writes 0 there, and groups alternate all the same
    rockchip/simulator/test_sim_pc.py::test_pointer_clear_returns_to_the_first_group
unit-pointers: Lists write S_POINTER of DPU, DPU_RDMA and the pooling units themselves.
    open driver known to run; addendum 8.1
    rockchip/simulator/test_sim_pc.py::test_units_that_the_list_points_nowhere
atom-alignment: Lists and tensors lie at multiples of 16 bytes.
    open driver known to run; spec 1.5, addendum 9.2
    rockchip/simulator/test_sim_errors.py::test_misaligned_addresses
guard-page: Address 0 is valid, so a register left at 0 reads or writes whatever lies there.
    recorded on silicon; addendum 9.1
    rockchip/drivers/test_rocket.py::test_address_zero_is_guarded
handles-once: A buffer named twice in a job's lists makes the kernel drop the job silently.
    recorded on silicon; addendum 9.1
    rockchip/drivers/test_rocket.py::test_no_handle_is_listed_twice
silent-failure: The mainline kernel reports no failed job.
    recorded on silicon; addendum 9.1
    rockchip/drivers/test_rocket.py::test_a_job_that_the_kernel_drops_is_noticed
dpu-interrupt: The mainline kernel waits for the DPU's interrupt alone.
    open driver known to run; addendum 4.6, 9.1
    rockchip/drivers/test_rocket.py::test_lists_are_checked_before_the_kernel_sees_them
## Data in memory
surfaces: Feature maps lie in surfaces of 16 channels, a 16-byte slot a pixel.
    open driver known to run; spec 3.1
    program/test_program_layout.py::test_pack_and_unpack
signed-bytes: The MACs multiply signed bytes; UINT8 tensors are stored less 128.
    open driver known to run; spec 3.1
    program/test_program_layout.py::test_pack_and_unpack
line-groups: The feature fetch takes four lines as one run, or one with GROUP_LINE_OFF.
    open driver known to run; spec 3.3: all of Mesa's tasks and 614 of 614 of the vendor's
    rockchip/simulator/test_sim_convolution.py::test_groups_of_four_lines_with_a_gap_between_them
signed-surface-stride: SURF_STRIDE is a signed distance, negative for maps of fewer than four lines.
    open driver known to run; spec 3.3, addendum 6.2
    rockchip/simulator/test_sim_recordings.py::test_sound_streams_equal_the_integer_model_and_are_within_one_of_litert
packed-input: Packed input of one to four channels passes the input converter.
    open driver known to run; spec 3.4
    rockchip/simulator/test_sim_convolution.py::test_packed_input_and_its_converter
weight-order: Kernels lie in groups of 32, and in these in groups of 32 channels.
    open driver known to run; spec 3.5
    rockchip/tasks/test_tasks_weights.py::test_convolution_order
depthwise-weight-order: Depthwise kernels lie in groups of 64 channels.
    open driver known to run; spec 3.5
    rockchip/tasks/test_tasks_weights.py::test_depthwise_order
padding-lanes: Weight lanes beyond the last channel hold the zero point, so that they count for nothing.
    open driver known to run; spec 3.5, 5.2
    rockchip/tasks/test_tasks_weights.py::test_convolution_order
even-kernels: An odd number of kernels is programmed as an even one, the last of zero bytes.
    open driver known to run; spec 3.5
    rockchip/streams/test_streams.py::test_packaged_streams_differ_only_as_listed
output-groups: The writer fills SIZE_E + 1 surfaces a kernel group, then moves on by SURFACE_ADD.
    open driver known to run; spec 3.6
    rockchip/simulator/test_sim_convolution.py::test_any_geometry
written-padding: Channels beyond the real ones are written as OFFSET_PEND.
    assumed; spec 3.1, 10.4
    rockchip/simulator/test_sim_convolution.py::test_channels_beyond_the_real_ones_hold_offset_pend
written-outside: Surfaces of padding channels that leave the buffer are lost.
    assumed; addendum 6.7
    rockchip/simulator/test_sim_convolution.py::test_surfaces_of_padding_that_leave_the_buffer_are_lost
plain-biases: Biases alone are a plain array of int32.
    open driver known to run; spec 3.7
    rockchip/tasks/test_tasks_weights.py::test_biases_are_padded_with_zero
channel-records: Per-channel operands lie in records of 64 bytes for 8 channels, their feature offsets in effect.
    recorded on silicon; outside 1, 2.6: a fully connected layer, and ones against a record of 128 on mainline RK3588
    rockchip/simulator/test_sim_silicon.py::test_ones_with_a_record_of_128_witness_three_rules_together
balanced-operands: BRDMA fetches exactly the operands that BS consumes, or a later task of the core may hang.
    open driver known to run; outside 2.6a: mainline RK3588
    rockchip/drivers/test_drivers_check.py::test_brdma_fetches_what_bs_consumes
byte-output-line-gap: The writer leaves slots out behind each line of bytes.
    recorded on silicon; outside 3: row-major int8 matrix products on RK3588, K >= 512, 2,038 ties; spec 3.6
    rockchip/simulator/test_sim_silicon.py::test_row_major_bytes
shared-operand: Behind a convolution MRDMA reads an operand's even surfaces, ERDMA its odd ones.
    open driver known to run; spec 3.8
    rockchip/simulator/test_sim_convolution.py::test_an_added_tensor_is_read_by_two_engines_in_turn
## Convolution buffer and tiling
twelve-banks: The convolution buffer has 12 banks of 32 KiB, shared by features and weights.
    open driver known to run; spec 4.1
    rockchip/tasks/test_tasks_cbuf.py::test_a_share_leaves_room_for_weights
fetched-rows: DATAIN_HEIGHT says how many rows are read; DMA_HEIGHT may say less.
    open driver known to run; outside 1: a shape that is exact on RK3588
    rockchip/simulator/test_sim_errors.py::test_fewer_rows_fetched_than_given_are_right
row-limit: (entries of a pixel - 1) * width is at most 2047, or the last channels are read wrongly.
    open driver known to run; outside 2.6b: mainline RK3588, for every precision
    rockchip/simulator/test_sim_errors.py::test_a_row_may_be_so_long
row-entries: A row takes whole 64-byte entries; three slots left over a pixel take one each.
    recorded on silicon; spec 3.3: CI
    rockchip/tasks/test_tasks_cbuf.py::test_row_entries
bank-rule: Rows times entries must fit the data banks; bytes do not decide.
    recorded on silicon; addendum 7.1: a sweep on RK3588; outside 1: its list of bad cases comes out
    rockchip/tasks/test_tasks_cbuf.py::test_the_sweep_over_rows
streamed-weights: Weights larger than their banks stream through them, a kernel group at a time.
    open driver known to run; spec 4.1
    rockchip/simulator/test_sim_errors.py::test_one_kernel_must_fit_the_weight_banks
weight-reuse: WEIGHT_REUSE takes what the job's previous task left in the same banks.
    recorded on silicon; addendum 7.2
    rockchip/simulator/test_sim_convolution.py::test_rows_split_over_two_tasks_share_weights
reuse-within-jobs: Nothing in the buffer survives from one job to the next for certain.
    recorded on silicon; outside 3: reuse by a task of its own is wrong; addendum 7.2
    rockchip/simulator/test_sim_errors.py::test_reuse_does_not_reach_across_jobs
data-reuse: DATA_REUSE takes the features that the previous task left.
    recorded on silicon; addendum 7.2
    rockchip/simulator/test_sim_convolution.py::test_data_reuse_keeps_what_was_fetched
runts: A task that reads fewer rows than its kernel reaches over may hang.
    recorded on silicon; spec 4.3, 10.1
    rockchip/tasks/test_tasks_tiling.py::test_tiles_cover_the_output_once_and_fit
trailing-padding: Padding below and to the right follows from the output's size.
    open driver known to run; spec 4.3
    rockchip/simulator/test_sim_convolution.py::test_any_geometry
## Arithmetic
feature-offset: The OW operand times the sum of the window's inputs is added to the accumulator.
    open driver known to run; spec 5.1, 5.2
    rockchip/simulator/test_sim_recordings.py::test_sound_streams_equal_the_integer_model_and_are_within_one_of_litert
pad-byte: A convolution pads with the low byte of PAD_CON1.
    recorded on silicon; spec 5.3: CI
    rockchip/simulator/test_sim_convolution.py::test_regular_convolutions_pad_with_the_low_byte
depthwise-pad-bytes: A depthwise convolution pads odd channels below 32 with the second byte of PAD_CON1.
    recorded on silicon; outside 2.1: 4,096 bytes of an RK3588
    rockchip/simulator/test_sim_silicon.py::test_a_depthwise_convolution_of_an_rk3588
depthwise-pad-lanes: These are the first 32 of all channels, not of each 64.
    assumed; outside 2.1: no recording has more than 64 channels
    rockchip/simulator/test_sim_convolution.py::test_the_second_byte_pads_odd_channels_below_32
row-major: Lines run along the width; maps need not be square.
    recorded on silicon; spec 3.9: CI
    rockchip/simulator/test_sim_recordings.py::test_prediction_of_the_published_lists
truncation: The accumulator is truncated before the bias is added.
    open driver known to run; spec 5.1, 5.2
    rockchip/simulator/test_sim_convolution.py::test_truncation_comes_before_the_bias
half-even: Shifts round to nearest, ties to even.
    recorded on silicon; outside 3: 30.5 gives 30, 39.5 gives 40, -7.5 gives -8 on RK3588; addendum 2.2: relatives
    rockchip/simulator/test_sim_silicon.py::test_requantisation_of_an_rv1103
two-roundings: Per-channel multiplication rounds, and the output converter rounds again.
    recorded on a relative; addendum 1.1, 2.2: 960 bytes of an RV1103, 194 ties; outside 1: 378 more
    rockchip/simulator/test_sim_silicon.py::test_requantisation_of_an_rv1103
offset-last: The output offset is added behind the shift.
    open driver known to run; addendum 2.2
    rockchip/simulator/test_sim_flying.py::test_output_converter_order_and_ties
offset-ties: Ties are rounded to even before an odd output offset is added, not with it.
    assumed; addendum 2.2: no recording has such ties
    rockchip/simulator/test_sim_flying.py::test_output_converter_order_and_ties
int16-output: The DPU can write int16, in row-major order; it completes.
    reported to run; outside 2.2: 128 of 128 values on RK3588, against an older report that it hangs
    rockchip/simulator/test_sim_silicon.py::test_int16_output_in_one_line
int32-output: The DPU can write the accumulator as int32, in row-major order.
    recorded on silicon; addendum 6.1
    rockchip/simulator/test_sim_silicon.py::test_matmul_with_int32_output
stage-saturation: BS, BN and EW saturate to 32 bits. Compiled programs never get there.
    assumed; spec 5.4: NVDLA
    rockchip/simulator/test_sim_flying.py::test_products_of_32_bit_values_are_exact
multiplier-range: The output multiplier stays within 15 bits; whether 16 are signed is not known.
    open driver known to run; spec 5.7, addendum 2.3
    rockchip/tasks/test_tasks_requantise.py::test_the_multiplier_is_the_nearest_of_15_bits
bn-relu: BN can be a ReLU and nothing else.
    open driver known to run; spec 5.4, addendum 1.4
    rockchip/simulator/test_sim_convolution.py::test_per_channel_records
fused-addition: EW adds a converted operand to the accumulator before the output is converted.
    open driver known to run; spec 5.6
    rockchip/simulator/test_sim_recordings.py::test_fused_additions_equal_the_integer_model
## Optional rules
depthwise-channel-records: Depthwise convolutions take per-channel records like dense ones.
    assumed; addendum 1.6: proven on relatives, with other records
    rockchip/simulator/test_sim_convolution.py::test_per_channel_records
dilation: ATROUS_X/Y_DILATION spread the taps of a kernel.
    recorded on a relative; spec 6: RV1103/RV1106 up to 17
    rockchip/simulator/test_sim_convolution.py::test_any_geometry
integer-relux: RELUX clamps integers at its compare value.
    assumed; spec 5.4: shown on RK3588 for floating point only
    rockchip/simulator/test_sim_flying.py::test_relux_has_a_ceiling
constant-summand-in-bn: BN adds a constant from its register.
    manual; spec 5.4
    rockchip/models/test_operator_model.py::test_simulated_operators_equal_the_integer_model
elementwise-relu: EW rectifies behind its operation.
    manual; spec 5.5
    rockchip/simulator/test_sim_flying.py::test_fused_relu_cuts_before_the_conversion
elementwise-maximum: EW takes the maximum or minimum with a byte operand.
    reported to run; outside 3: RK3588 in fp16; spec 5.5, addendum 3.6
    rockchip/simulator/test_sim_flying.py::test_alu_operations
elementwise-multiply: EW multiplies by a byte operand.
    recorded under the vendor's kernel; outside 3: flying, on RK3588; spec 5.5, addendum 3.6
    rockchip/simulator/test_sim_flying.py::test_multiplication_and_its_two_shifts
elementwise-operand-per-channel: ERDMA can read one factor a channel instead of one a value; no summand.
    reported to run; outside 2.4: fp16 and int8 multiplication on RK3588, additions 69 to 99 % wrong
    rockchip/simulator/test_sim_flying.py::test_an_operand_for_each_channel
parametric-relu: BS multiplies negative values only, by a slope a channel.
    manual; spec 5.4: NVDLA
    rockchip/simulator/test_sim_flying.py::test_parametric_relu_leaves_positive_values
byte-lookup-table: Behind a convolution EW looks 16-bit values up in two tables of 513 entries.
    reported to run; outside 2.5a: RK3588 in fp16, where others saw it time out; addendum 5: relatives
    rockchip/simulator/test_sim_lut.py::test_even_and_odd_table_share_the_axis
flying-start!: A flying task may be started by itself, whatever ran on the core before.
    recorded under the vendor's kernel; outside 2.5: in one chain; a look-up started behind a convolution hung RK3588
    rockchip/drivers/test_drivers_check.py::test_flying_tasks_are_not_started_by_themselves
byte-pooling-unit: The pooling unit works on bytes with IN_PRECISION 1.
    recorded on a relative; addendum 4: three of them
    rockchip/simulator/test_sim_ppu.py::test_extremes
feature-line-gap: The feature fetch leaves slots out between its runs of lines where LINE_STRIDE says so.
    assumed; spec 3.3: shown on RK3588 for matmuls that take one line a run
    rockchip/simulator/test_sim_convolution.py::test_groups_of_four_lines_with_a_gap_between_them
packed-byte-picture: A picture of one to four channels of bytes is read as the host has it.
    assumed; spec 3.4, addendum 6.9: Mesa for one channel, vendor streams for three
    rockchip/lowering/test_lowering_pictures.py::test_pictures_stay_as_the_host_has_them
## Rules of the simulator alone
lookup-task: A flying task looks bytes up in two tables of 513 entries.
    reported to run; outside 3: RK3588, errors up to 2 to 6 accepted there
    rockchip/proofs/test_proofs_rules.py::test_every_rule_is_proven_on_the_simulator
flying-addition: DPU and DPU_RDMA alone add two maps.
    recorded under the vendor's kernel; outside 3: RK3588, 7 of 7; addendum 3.1
    rockchip/simulator/test_sim_flying.py::test_addition_of_differently_quantised_tensors
lut-interpolation: Between two entries a look-up table is linear, and the answer is floored.
    recorded on silicon; outside 3: 14 of 17 published figures of RK3588 in fp16; addendum 5.3
    rockchip/simulator/test_sim_lut.py::test_linear_interpolation_between_entries
lut-slopes: Beyond its ends a look-up table continues with a slope.
    manual; addendum 5.1: NVDLA
    rockchip/simulator/test_sim_lut.py::test_slopes_continue_beyond_the_ends
pooling-average: The pooling unit averages by truncated reciprocals, half to even, counting padding.
    recorded on a relative; outside 1: 336 bytes of an RV1103, 83 ties; addendum 4.4
    rockchip/simulator/test_sim_silicon.py::test_average_pooling_of_an_rv1103
pooling-leftover: Rows behind the last window starve the pooling unit.
    vendor stream; addendum 4.2
    rockchip/simulator/test_sim_ppu.py::test_leftover_rows_starve_the_unit
spoiled-output: A task with a known defect computes something wrong; what, nobody has described.
    assumed; spec 3.3: CI says wrong, not how
    rockchip/streams/test_replay.py::test_a_defect_must_be_spoiled_evenly
"""
"""Sections; in each, rules of three lines: name and statement; evidence and source; test, below ``tests/``.

Sources are sections of the hardware documents, which name the people and boards behind each statement. "CI" are the
published lists of Mesa's test models that pass or fail on an RK3588.
"""
TABLE = EvidenceTable.read("RK3588", _TABLE)
"""All rules of this chip."""
