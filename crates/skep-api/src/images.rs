//! `/v1/images/classifications`, which OpenAI's interface lacks: reads the request and writes the answer.
//!
//! The picture travels in the body, as base64 or as a `data:` URL, as in the image parts of OpenAI's chats. PNG and JPEG are told apart
//! by their first bytes. JPEG is decoded without vector instructions, whose colours differ by a bit between processors.

use crate::error::ApiError;
use crate::options::{Options, brief};
use axum::http::StatusCode;
use data_encoding::BASE64;
use serde::Serialize;
use skep_model::{MAX_PIXELS, MAX_SIDE, Picture};
use skep_node::{EncodeInput, EncodeRequest, Encodings, probabilities};
use std::fmt::Debug;
use zune_jpeg::JpegDecoder;
use zune_jpeg::zune_core::bytestream::ZCursor;
use zune_jpeg::zune_core::colorspace::ColorSpace;
use zune_jpeg::zune_core::options::DecoderOptions;
use zune_png::PngDecoder;

const IMAGE: &str = "send a PNG or JPEG as base64, or as a URL of the form data:image/png;base64,…";
/// Classes that are told unless the request says otherwise.
const TOP_K: u64 = 5;

/// A request that has been understood.
pub(crate) struct Ask {
    /// What the gateway is asked.
    pub(crate) request: EncodeRequest,
    /// How many of the best classes are told.
    pub(crate) top_k: usize,
}

pub(crate) fn read(body: &[u8]) -> Result<Ask, ApiError> {
    let mut options = Options::from_body(body)?;
    let image = options.required("image")?;
    let text = image.as_str().ok_or_else(|| ApiError::invalid("image", format!("is {}", brief(&image)), IMAGE))?;
    let picture = picture(text)?;
    let model = options.text("model")?;
    let top_k = options.integer("top_k", 1..=u64::from(u32::MAX))?.unwrap_or(TOP_K) as usize;
    options.finish()?;
    Ok(Ask { request: EncodeRequest { model, inputs: vec![EncodeInput::Picture(picture)] }, top_k })
}

fn picture(text: &str) -> Result<Picture, ApiError> {
    let refuse = |reason: String| {
        ApiError::refuse(StatusCode::BAD_REQUEST, format!("`image` {reason}"), IMAGE)
            .param("image")
            .code("invalid_image")
    };
    let base64 = match text.strip_prefix("data:") {
        None => text,
        Some(rest) => match rest.split_once(",") {
            Some((kind, base64)) if kind.ends_with(";base64") => base64,
            _ => return Err(refuse("is a data URL without base64".to_owned())),
        },
    };
    let bytes = BASE64.decode(base64.as_bytes()).map_err(|error| refuse(format!("is not base64: {error}")))?;
    let decoded = match bytes.as_slice() {
        [0x89, b'P', b'N', b'G', ..] => png(&bytes),
        [0xff, 0xd8, ..] => jpeg(&bytes),
        _ => Err("is neither PNG nor JPEG".to_owned()),
    };
    let (width, height, pixels) = decoded.map_err(refuse)?;
    Picture::new(width, height, pixels).map_err(|error| refuse(format!("cannot be used: {error}")))
}

/// Width, height and red, green and blue of each pixel.
type Pixels = (u32, u32, Vec<u8>);

fn png(bytes: &[u8]) -> Result<Pixels, String> {
    let wrong = |error: &dyn Debug| format!("is a PNG that cannot be read: {error:?}");
    let options = options().png_set_strip_to_8bit(true).png_set_confirm_crc(true);
    let mut decoder = PngDecoder::new_with_options(ZCursor::new(bytes), options);
    decoder.decode_headers().map_err(|error| wrong(&error))?;
    let (width, height) = size(decoder.dimensions())?;
    let data = decoder.decode_raw().map_err(|error| wrong(&error))?;
    // Transparency is left out, as Pillow does when it turns a picture to RGB.
    let pixels = match decoder.colorspace() {
        Some(ColorSpace::RGB) => data,
        Some(ColorSpace::RGBA) => data.chunks_exact(4).flat_map(|pixel| [pixel[0], pixel[1], pixel[2]]).collect(),
        Some(ColorSpace::Luma) => data.iter().flat_map(|grey| [*grey; 3]).collect(),
        Some(ColorSpace::LumaA) => data.chunks_exact(2).flat_map(|pixel| [pixel[0]; 3]).collect(),
        other => return Err(format!("is a PNG of a kind that is not read: {other:?}")),
    };
    Ok((width, height, pixels))
}

fn jpeg(bytes: &[u8]) -> Result<Pixels, String> {
    let wrong = |error: &dyn Debug| format!("is a JPEG that cannot be read: {error:?}");
    let options = options().jpeg_set_out_colorspace(ColorSpace::RGB);
    let mut decoder = JpegDecoder::new_with_options(ZCursor::new(bytes), options);
    decoder.decode_headers().map_err(|error| wrong(&error))?;
    let (width, height) = size(decoder.dimensions())?;
    let pixels = decoder.decode().map_err(|error| wrong(&error))?;
    Ok((width, height, pixels))
}

fn options() -> DecoderOptions {
    let side = MAX_SIDE as usize;
    DecoderOptions::default().set_use_unsafe(false).set_strict_mode(true).set_max_width(side).set_max_height(side)
}

/// The sides of a picture, checked before anything is allocated by them.
fn size(sides: Option<(usize, usize)>) -> Result<(u32, u32), String> {
    let (width, height) = sides.ok_or("has no size")?;
    let fits = |side: usize| u32::try_from(side).ok().filter(|side| *side <= MAX_SIDE);
    match (fits(width), fits(height)) {
        (Some(width), Some(height)) if u64::from(width) * u64::from(height) <= MAX_PIXELS => Ok((width, height)),
        _ => Err(format!("has {width} x {height} pixels: sides are up to {MAX_SIDE} pixels, {MAX_PIXELS} in all")),
    }
}

/// The answer.
#[derive(Serialize)]
pub(crate) struct Classification {
    object: &'static str,
    model: String,
    data: Vec<Class>,
}

#[derive(Serialize)]
struct Class {
    label: String,
    /// Its number in the model.
    index: usize,
    /// Its probability among all classes.
    score: f32,
    /// What the model put out.
    logit: f32,
}

/// The best classes, best first, ties by the lower number.
pub(crate) fn answer(made: Encodings, top_k: usize) -> Classification {
    let logits = made.vectors.into_iter().next().unwrap_or_default();
    let scores = probabilities(&logits);
    let classes = made.labels.into_iter().zip(logits).zip(scores).enumerate();
    let mut data: Vec<Class> =
        classes.map(|(index, ((label, logit), score))| Class { label, index, score, logit }).collect();
    data.sort_by(|a, b| b.logit.total_cmp(&a.logit).then(a.index.cmp(&b.index)));
    data.truncate(top_k);
    Classification { object: "image.classification", model: made.model.to_string(), data }
}
