//! Quantises a GGUF file of a Llama with candle's port of the reference quantiser, in llama.cpp's mixtures of types.

use std::fs::File;
use std::io::{BufWriter, Seek, SeekFrom, Write};
use std::path::Path;

use anyhow::{Context, Result, bail};
use candle_core::Device;
use candle_core::quantized::gguf_file::{Content, Value, write};
use candle_core::quantized::{GgmlDType, QTensor};

/// The kinds of file that we measure on.
#[derive(Clone, Copy, PartialEq)]
enum Kind {
    Q8_0,
    Q4_0,
    Q4KM,
}

impl Kind {
    fn parse(name: &str) -> Result<Kind> {
        match name {
            "Q8_0" => Ok(Kind::Q8_0),
            "Q4_0" => Ok(Kind::Q4_0),
            "Q4_K_M" => Ok(Kind::Q4KM),
            _ => bail!("{name} is none of Q8_0, Q4_0, Q4_K_M"),
        }
    }

    /// What `general.file_type` says of such a file.
    fn file_type(self) -> u32 {
        match self {
            Kind::Q8_0 => 7,
            Kind::Q4_0 => 2,
            Kind::Q4KM => 15,
        }
    }

    /// The type that llama.cpp gives a matrix: the head is finer than the rest, and in Q4_K_M so are the values and the
    /// second half of the feed-forward layer in the blocks at both ends and in every third between.
    fn type_of(self, name: &str, blocks: usize) -> GgmlDType {
        let block = name.strip_prefix("blk.").and_then(|rest| rest.split('.').next()?.parse::<usize>().ok());
        let finer_block = block.is_some_and(|i| i < blocks / 8 || i >= 7 * blocks / 8 || (i - blocks / 8) % 3 == 2);
        let finer_role = name.ends_with("attn_v.weight") || name.ends_with("ffn_down.weight");
        match self {
            Kind::Q8_0 => GgmlDType::Q8_0,
            _ if name == "output.weight" => GgmlDType::Q6K,
            Kind::Q4_0 => GgmlDType::Q4_0,
            Kind::Q4KM if finer_block && finer_role => GgmlDType::Q6K,
            Kind::Q4KM => GgmlDType::Q4K,
        }
    }
}

pub fn quantize(input: &Path, output: &Path, kind: &str) -> Result<()> {
    let kind = Kind::parse(kind)?;
    let mut file = File::open(input).with_context(|| format!("cannot open {}", input.display()))?;
    let mut content = Content::read(&mut file)?;
    content.metadata.insert("general.file_type".into(), Value::U32(kind.file_type()));
    let blocks = content.metadata.get("llama.block_count").context("no llama.block_count")?.to_u32()? as usize;

    let mut names: Vec<String> = content.tensor_infos.keys().cloned().collect();
    names.sort_by_key(|name| content.tensor_infos[name].offset);
    let workers = std::thread::available_parallelism()?.get();
    let mut tensors = Vec::new();
    for some in names.chunks(workers) {
        let sources = some.iter().map(|name| content.tensor(&mut file, name, &Device::Cpu));
        let sources = sources.collect::<candle_core::Result<Vec<_>>>()?;
        let made = std::thread::scope(|scope| {
            let jobs = some.iter().map(|name| kind.type_of(name, blocks)).zip(sources);
            let threads: Vec<_> = jobs.map(|(to, source)| scope.spawn(move || convert(source, to))).collect();
            threads.into_iter().map(|thread| thread.join()).collect::<Vec<_>>()
        });
        for result in made {
            tensors.push(result.map_err(|_| anyhow::anyhow!("a quantising thread died"))??);
        }
    }

    let mut metadata: Vec<(&str, &Value)> = content.metadata.iter().map(|(key, value)| (key.as_str(), value)).collect();
    metadata.sort_by_key(|(key, _)| *key);
    let tensors: Vec<(&str, &QTensor)> = names.iter().map(String::as_str).zip(&tensors).collect();
    let mut out = BufWriter::new(File::create(output)?);
    write(&mut out, &metadata, &tensors)?;
    // candle says version 2. Version 3 has the same layout, and is what every tool writes today.
    out.seek(SeekFrom::Start(4))?;
    out.write_all(&3u32.to_le_bytes())?;
    Ok(out.flush()?)
}

/// Vectors, which are norms, stay as they are.
fn convert(source: QTensor, to: GgmlDType) -> Result<QTensor> {
    if source.rank() < 2 {
        return Ok(source);
    }
    Ok(QTensor::quantize(&source.dequantize(&Device::Cpu)?, to)?)
}
