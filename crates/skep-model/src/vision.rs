//! From a picture to what a vision model reads: resized, normalised, cut into patches.
//!
//! Resizing gives the bytes of Pillow's bilinear filter, which the models were trained with: a triangle as wide as the reduction,
//! first along lines, then along columns, weights of 22 fractional bits, bytes between the two passes. All of it is integers but the
//! weights, so every gateway feeds the same bits to the network.

use crate::{Metadata, ModelError};

/// Longest side of a picture, in pixels.
pub const MAX_SIDE: u32 = 8192;
/// Most pixels of a picture.
pub const MAX_PIXELS: u64 = 16 << 20;
/// Largest side that a model may read, in pixels: 1024 patches of 16.
const MAX_IMAGE_SIZE: usize = 512;
/// Fractional bits of a filter's weights.
const PRECISION: u32 = 22;

/// A picture of three bytes a pixel.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Picture {
    width: usize,
    height: usize,
    /// Red, green and blue of each pixel, lines from the top.
    pixels: Vec<u8>,
}

impl Picture {
    /// A picture of `width` × `height` × 3 bytes.
    ///
    /// # Errors
    /// [`ModelError::Input`] when a side is 0 or over [`MAX_SIDE`], there are more than [`MAX_PIXELS`], or the bytes are not as many.
    pub fn new(width: u32, height: u32, pixels: Vec<u8>) -> Result<Self, ModelError> {
        let count = u64::from(width) * u64::from(height);
        if width == 0 || height == 0 || width.max(height) > MAX_SIDE || count > MAX_PIXELS {
            let reason = format!("a picture of {width} x {height} pixels was given: sides are 1 to {MAX_SIDE} pixels");
            return Err(ModelError::Input(format!("{reason}, {MAX_PIXELS} in all")));
        }
        if pixels.len() as u64 != 3 * count {
            return Err(ModelError::Input(format!("{} bytes are not {width} x {height} pixels", pixels.len())));
        }
        Ok(Self { width: width as usize, height: height as usize, pixels })
    }

    /// The picture at another size, whatever its proportions.
    fn resized(&self, size: usize) -> Vec<u8> {
        let lines = match self.width == size {
            true => self.pixels.clone(),
            false => {
                let weights = weights(self.width, size);
                self.pixels.chunks_exact(self.width * 3).flat_map(|line| filtered(line, 3, &weights)).collect()
            }
        };
        match self.height == size {
            true => lines,
            false => filtered(&lines, size * 3, &weights(self.height, size)),
        }
    }
}

/// For each output of a filter, its first input and the weights of the inputs from there on.
fn weights(from: usize, to: usize) -> Vec<(usize, Vec<i32>)> {
    let scale = from as f64 / to as f64;
    let reach = scale.max(1.0);
    let one = |at: usize| {
        let centre = (at as f64 + 0.5) * scale;
        let first = (centre - reach + 0.5).max(0.0) as usize;
        let end = ((centre + reach + 0.5) as usize).min(from);
        let triangle = |x: usize| (1.0 - ((x as f64 - centre + 0.5) / reach).abs()).max(0.0);
        let total: f64 = (first..end).map(triangle).sum();
        let fixed = |x: usize| (triangle(x) / total * f64::from(1 << PRECISION) + 0.5) as i32;
        (first, (first..end).map(fixed).collect())
    };
    (0..to).map(one).collect()
}

/// Applies a filter along items of `step` bytes.
fn filtered(items: &[u8], step: usize, weights: &[(usize, Vec<i32>)]) -> Vec<u8> {
    let mut out = Vec::with_capacity(weights.len() * step);
    for (first, weights) in weights {
        for byte in 0..step {
            let inputs = items[first * step + byte..].iter().step_by(step);
            // The weights are not negative and sum to 2^22, give or take their rounding, so this fits.
            let sum: i32 = inputs.zip(weights).map(|(input, weight)| i32::from(*input) * weight).sum();
            out.push(((sum + (1 << (PRECISION - 1))) >> PRECISION).clamp(0, 255) as u8);
        }
    }
    out
}

/// What a vision model reads.
#[derive(Debug, Clone, PartialEq)]
pub struct Vision {
    /// Side of the square picture, in pixels.
    pub image_size: usize,
    /// Side of the square patches; divides `image_size`.
    pub patch_size: usize,
    /// Taken off each channel after pixels were scaled to 0..1.
    pub mean: [f32; 3],
    /// What each channel is divided by then.
    pub std: [f32; 3],
    /// Names of the classes.
    pub labels: Vec<String>,
}

impl Vision {
    pub(crate) fn read(metadata: &Metadata) -> Result<Self, ModelError> {
        let size = |key: &str| match metadata.integer(key)? {
            Some(n) if (1..=MAX_IMAGE_SIZE as u64).contains(&n) => Ok(n as usize),
            Some(n) => Err(ModelError::metadata(key, format!("is {n}, but must be from 1 to {MAX_IMAGE_SIZE}"))),
            None => Err(ModelError::metadata(key, "is absent")),
        };
        let channels = |key: &str| {
            let list = metadata.floats(key)?.ok_or_else(|| ModelError::metadata(key, "is absent"))?;
            let three = <[f32; 3]>::try_from(list).ok().filter(|list| list.iter().all(|value| value.is_finite()));
            three.ok_or_else(|| ModelError::metadata(key, "is not one number for each of three channels"))
        };
        let (image_size, patch_size) = (size("vit.image_size")?, size("vit.patch_size")?);
        if !image_size.is_multiple_of(patch_size) {
            let reason = format!("is {patch_size}, which does not divide the image's {image_size} pixels");
            return Err(ModelError::metadata("vit.patch_size", reason));
        }
        let std = channels("vit.image_std")?;
        if std.iter().any(|value| *value <= 0.0) {
            return Err(ModelError::metadata("vit.image_std", "holds a number that is not positive"));
        }
        let key = "vit.classifier.output_labels";
        let labels = metadata.texts(key)?.ok_or_else(|| ModelError::metadata(key, "is absent"))?.to_vec();
        if labels.is_empty() {
            return Err(ModelError::metadata(key, "is empty"));
        }
        Ok(Self { image_size, patch_size, mean: channels("vit.image_mean")?, std, labels })
    }

    /// Values of one patch.
    pub fn d_patch(&self) -> usize {
        3 * self.patch_size * self.patch_size
    }

    /// Positions of a picture: the class token's, and one for each patch.
    pub fn positions(&self) -> usize {
        (self.image_size / self.patch_size).pow(2) + 1
    }

    /// What the model reads of a picture: positions × [`Vision::d_patch`]. The row of the class token, which is not of the picture, is
    /// zeros; a patch is its red, green and blue in turn, each by lines.
    pub fn patches(&self, picture: &Picture) -> Vec<f32> {
        let pixels = picture.resized(self.image_size);
        let per_line = self.image_size / self.patch_size;
        let mut rows = vec![0.0; self.d_patch()];
        for patch in 0..per_line * per_line {
            let (top, left) = (patch / per_line * self.patch_size, patch % per_line * self.patch_size);
            for channel in 0..3 {
                for y in top..top + self.patch_size {
                    let line = &pixels[(y * self.image_size + left) * 3..][..self.patch_size * 3];
                    rows.extend(line.chunks_exact(3).map(|pixel| self.normalised(channel, pixel[channel])));
                }
            }
        }
        rows
    }

    fn normalised(&self, channel: usize, byte: u8) -> f32 {
        // As the published preprocessing: the scaling in f64, the rest in f32.
        let scaled = (f64::from(byte) * (1.0 / 255.0)) as f32;
        (scaled - self.mean[channel]) / self.std[channel]
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn vision() -> Vision {
        let labels = vec!["a".into(), "b".into()];
        Vision { image_size: 4, patch_size: 2, mean: [0.0, 0.5, 1.0], std: [1.0, 0.5, 1.0], labels }
    }

    #[test]
    fn patches_go_by_channel_and_line() {
        let pixels = (0..16u8).flat_map(|at| [at, 255, 0]).collect();
        let rows = vision().patches(&Picture::new(4, 4, pixels).unwrap());
        assert_eq!((rows.len(), vision().positions()), (5 * 12, 5));
        assert_eq!(rows[..12], [0.0; 12]);
        let second: Vec<f32> = rows[24..28].iter().map(|value| (value * 255.0).round()).collect();
        assert_eq!(second, [2.0, 3.0, 6.0, 7.0]);
        assert_eq!((rows[28], rows[32]), (1.0, -1.0));
    }

    #[test]
    fn a_plain_picture_stays_plain_at_every_size() {
        for (width, height) in [(1, 1), (3, 7), (640, 11), (2, 300)] {
            let picture = Picture::new(width, height, [200, 3, 77].repeat((width * height) as usize)).unwrap();
            assert_eq!(picture.resized(4), [200, 3, 77].repeat(16), "{width} x {height}");
        }
    }

    #[test]
    fn pictures_beyond_the_bounds_are_refused() {
        for (width, height, bytes) in [(0, 1, 0), (1, 1, 2), (MAX_SIDE + 1, 1, 0), (8000, 8000, 0)] {
            assert!(Picture::new(width, height, vec![0; bytes]).is_err(), "{width} x {height}");
        }
    }
}
