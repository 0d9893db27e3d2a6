"""The NN instruction: one convolution, in words of 32 bits that lie in memory at a multiple of 64 bytes.

Names are ours; positions and meanings are those that the open driver writes (facts 4: Mesa's ``etnaviv_ml_nn.c``, and
every recorded instruction). A field that lies in pieces is written as ``NAME_high_low``, the bits of NAME that the
piece holds; :mod:`rocketnpu.verisilicon.registers.instruction` joins them. Words 23 to 33 hold constants.
"""

from __future__ import annotations

from rocketnpu.fields import block
from rocketnpu.verisilicon.registers.instruction import Layout

_BLOCK = block(
    "NN",
    base=0,
    target=None,
    enable_bit=None,
    table="""
    0x00 WORD0   LAYER_TYPE[0] NO_Z_OFFSET[1] KERNEL_X[5:2] KERNEL_Z_13_0[19:6] KERNELS_PER_CORE[26:20] POOLING[28:27] POOLING_XY[29] PRELU[30] LAYER_FLUSH[31]
    0x04 WORD1   KERNEL_TYPE_1_0[1:0] IN_TYPE_1_0[3:2] OUT_TYPE_1_0[5:4] IN_X[18:6] IN_Y[31:19]
    0x08 WORD2   IN_X_OFFSET_2_0[2:0] IN_Y_OFFSET_2_0[5:3] BRICK[7] BRICK_DISTANCE[23:8] RELU[24] MULTIPLIER_0_0[26] SHIFT_4_0[31:27]
    0x0c WORD3   NO_FLUSH[3] OUT_X[18:6] OUT_Y[31:19]
    0x10 WORD4   OUT_Z[13:0] ROUNDING[15:14] IN_X_OFFSET_3_3[16] IN_Y_OFFSET_3_3[17] TILE_X[24:18] TILE_Y[31:25]
    0x14 WORD5   COEFFICIENTS_64[25:0] KERNEL_Z_19_14[31:26]
    0x18 WORD6   IN_ADDRESS[31:0]
    0x1c WORD7   OUT_ADDRESS[31:0]
    0x20 WORD8   IMAGE_CACHING[1:0] KERNEL_CACHING[3:2] PARTIAL_UNIT[5:4] PATTERN_MSB[11:6] KERNEL_Y[15:12] OUT_Y_STRIDE[31:16]
    0x24 WORD9   PATTERN_31_0[31:0]
    0x28 WORD10  PATTERN_63_32[31:0]
    0x2c WORD11  KERNEL_CACHE_START[31:0]
    0x30 WORD12  KERNEL_CACHE_END[31:0]
    0x34 WORD13  IMAGE_CACHE_START[31:0]
    0x38 WORD14  IMAGE_CACHE_END[31:0]
    0x3c WORD15  BORDER_MODE[1:0] BORDER_CONSTANT[17:2] KERNEL_TYPE_2_2[19] IN_TYPE_2_2[20] OUT_TYPE_2_2[21] MULTIPLIER_6_1[27:22] SHIFT_6_5[29:28]
    0x40 WORD16  IN_X_STRIDE[15:0] IN_Y_STRIDE[31:16]
    0x44 WORD17  OUT_X_STRIDE[15:0] MULTIPLIER_14_7[31:24]
    0x48 WORD18  CIRCULAR_OUT_SIZE[25:0] PER_CHANNEL_MULTIPLIER[26] IN_X_OFFSET_4_4[29] IN_Y_OFFSET_4_4[30] OFFSET_EXTENSION[31]
    0x4c WORD19  CIRCULAR_OUT_END[25:0]
    0x50 WORD20  CIRCULAR_IN_SIZE[25:0]
    0x54 WORD21  CIRCULAR_IN_END[25:0]
    0x58 WORD22  COEFFICIENT_ZERO_POINT[7:0] OUT_ZERO_POINT[15:8] DIRECT_STREAM[16] DEPTHWISE[17] MULTIPLIER_22_15[25:18]
    0x5c WORD23
    0x60 WORD24
    0x64 WORD25
    0x68 WORD26  CONSTANT_26[31:0]
    0x6c WORD27  CONSTANT_27[31:0]
    0x70 WORD28  CONSTANT_28[31:0]
    0x74 WORD29  CONSTANT_29[31:0]
    0x78 WORD30  CONSTANT_30[31:0]
    0x7c WORD31  CONSTANT_31[31:0]
    0x80 WORD32  CONSTANT_32[31:0]
    0x84 WORD33  CONSTANT_33[31:0]
""",
)

NN = Layout(_BLOCK)
"""The layout of an NN instruction: 34 words."""
