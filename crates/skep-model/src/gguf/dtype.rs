//! The element types of GGUF tensors: all are known by name and size, some are computed with.

use skep_kernels::Format;

/// Element type of a tensor, by its number in the file.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct DType(u32);

/// number, name, elements per group, bytes per group (ggml `type_traits`).
const TYPES: [(u32, &str, u64, u64); 30] = [
    (0, "F32", 1, 4),
    (1, "F16", 1, 2),
    (2, "Q4_0", 32, 18),
    (3, "Q4_1", 32, 20),
    (6, "Q5_0", 32, 22),
    (7, "Q5_1", 32, 24),
    (8, "Q8_0", 32, 34),
    (9, "Q8_1", 32, 36),
    (10, "Q2_K", 256, 84),
    (11, "Q3_K", 256, 110),
    (12, "Q4_K", 256, 144),
    (13, "Q5_K", 256, 176),
    (14, "Q6_K", 256, 210),
    (15, "Q8_K", 256, 292),
    (16, "IQ2_XXS", 256, 66),
    (17, "IQ2_XS", 256, 74),
    (18, "IQ3_XXS", 256, 98),
    (19, "IQ1_S", 256, 50),
    (20, "IQ4_NL", 32, 18),
    (21, "IQ3_S", 256, 110),
    (22, "IQ2_S", 256, 82),
    (23, "IQ4_XS", 256, 136),
    (24, "I8", 1, 1),
    (25, "I16", 1, 2),
    (26, "I32", 1, 4),
    (27, "I64", 1, 8),
    (28, "F64", 1, 8),
    (29, "IQ1_M", 256, 56),
    (30, "BF16", 1, 2),
    (39, "MXFP4", 32, 17),
];

impl DType {
    /// The type with this number, if GGUF defines it.
    pub fn from_number(number: u32) -> Option<Self> {
        TYPES.iter().any(|entry| entry.0 == number).then_some(Self(number))
    }

    /// The number in the file.
    pub fn number(self) -> u32 {
        self.0
    }

    /// The type's name, such as `Q8_0`.
    pub fn name(self) -> &'static str {
        self.entry().1
    }

    /// Elements in one group; a row holds a whole number of groups.
    pub fn group(self) -> u64 {
        self.entry().2
    }

    /// Bytes of `elements` elements, or `None` when they are not whole groups or the size overflows.
    pub fn bytes(self, elements: u64) -> Option<u64> {
        let (_, _, group, bytes) = *self.entry();
        elements.is_multiple_of(group).then_some(elements / group)?.checked_mul(bytes)
    }

    /// The kernels' name of the type, if this version computes with it.
    pub fn format(self) -> Option<Format> {
        Format::ALL.into_iter().find(|format| Self::from(*format) == self)
    }

    fn entry(self) -> &'static (u32, &'static str, u64, u64) {
        // A value exists only for a number of the table, so the fallback is never taken.
        TYPES.iter().find(|entry| entry.0 == self.0).unwrap_or(&TYPES[0])
    }
}

impl From<Format> for DType {
    fn from(format: Format) -> Self {
        Self(match format {
            Format::F32 => 0,
            Format::F16 => 1,
            Format::Q4_0 => 2,
            Format::Q8_0 => 8,
            Format::Q4_K => 12,
            Format::Q5_K => 13,
            Format::Q6_K => 14,
            Format::BF16 => 30,
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_kernels_and_the_table_agree_on_sizes() {
        for format in Format::ALL {
            let dtype = DType::from(format);
            assert_eq!(dtype.name(), format.to_string());
            assert_eq!(
                (dtype.group(), dtype.bytes(dtype.group())),
                (format.block() as u64, Some(format.block_bytes() as u64))
            );
            assert_eq!(dtype.format(), Some(format));
        }
        assert_eq!(DType::from_number(3).and_then(DType::format), None);
    }
}
