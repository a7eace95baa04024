//! What sets one family of models apart from another, as data: [`FAMILIES`] is the list of what this version runs.

use skep_kernels::Activation;

/// What the models of one `general.architecture` have in common. Everything else is read from the file.
#[derive(Debug, PartialEq)]
pub struct Family {
    /// `general.architecture`, and the prefix of the metadata's keys.
    pub architecture: &'static str,
    /// The models that people know it by.
    pub name: &'static str,
    /// The kind of all norms but those of heads, which are RMSNorm.
    pub norm: NormKind,
    /// Where a block has norms.
    pub norms: NormPlaces,
    /// Whether each head of queries and keys is normed before it turns.
    pub head_norms: bool,
    /// Whether query, key and value are one matrix, and gate and up another.
    pub fused: bool,
    /// Which matrices have a bias.
    pub biases: Biases,
    /// Which elements of a head turn together.
    pub rope: RopePairs,
    /// Base of the rotary frequencies where the file has none.
    pub theta: f32,
    /// The same for blocks that have a window, if theirs differ.
    pub local_theta: Option<f32>,
    /// Which blocks see only a window of positions.
    pub windows: Windows,
    /// How many positions that is where the file does not say.
    pub window: Option<usize>,
    /// Caps of attention scores and of logits where the file has none.
    pub caps: [Option<f32>; 2],
    /// Number of blocks of the model whose scores are scaled by `1 / sqrt(d_model / n_heads)`, not by the head's length.
    pub scaled_by_width: Option<u32>,
    /// The feed-forward network's non-linear function.
    pub activation: Activation,
    /// Whether that function's result gates another product.
    pub gated: bool,
    /// Whether the feed-forward network may be a mixture of experts.
    pub experts: Experts,
    /// Whether rows of the embedding are multiplied by the square root of their length.
    pub scaled_embedding: bool,
    /// Whether a position sees only those before it and itself.
    pub causal: bool,
    /// What stands before the first block.
    pub reads: Reads,
    /// What stands after the last block.
    pub makes: Makes,
}

/// What enters the first block.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Reads {
    /// Rows of `token_embd`.
    Tokens,
    /// The same, of which the first tokens begin a text: with the first row of `token_types`, those of `position_embd`, and the norm
    /// `token_embd_norm`.
    PlacedTokens,
    /// A picture, cut into patches: `class_embd`, then products with `patch_embd`, each with its row of `position_embd`.
    Patches,
}

/// What is made of the rows that leave the last block.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Makes {
    /// The logits of the next token: `output_norm`, and `output` or else `token_embd`.
    Logits,
    /// A vector of length 1 for the whole text.
    Embedding,
    /// The scores of a picture's classes: `output_norm`, `cls.output`, of the first row.
    Classes,
}

/// The two norms of the normative text.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
#[allow(missing_docs, reason = "as the normative text names them")]
pub enum NormKind {
    Rms,
    Layer,
}

/// Where a block has norms around attention and around the feed-forward network.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum NormPlaces {
    /// `x + f(norm(x))`: `attn_norm`, `ffn_norm`.
    Before,
    /// `x + norm(f(norm(x)))`: also `post_attention_norm`, `post_ffw_norm`.
    BeforeAndAfter,
    /// `norm(x + f(x))`: `attn_output_norm`, `layer_output_norm`.
    AfterResidual,
}

/// Which matrices of a block have a bias.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Biases {
    /// None has.
    None,
    /// Each that the file has one for.
    Optional,
    /// Query, key and value; others as the file has them.
    QueryKeyValue,
    /// All.
    All,
}

/// How the elements of a head are paired for rotation.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum RopePairs {
    /// Nothing turns: positions are in the embedding.
    None,
    /// (2i, 2i + 1).
    Adjacent,
    /// (i, i + half).
    Halves,
}

/// Which blocks see a window of positions, if the file says how long it is.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Windows {
    /// None: a window in the file is refused.
    Never,
    /// All blocks.
    All,
    /// All but each n-th block, unless the file has a pattern of its own.
    AllButEvery(u32),
}

/// Whether feed-forward networks are mixtures of experts.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Experts {
    /// Never.
    Never,
    /// Where the file says how many there are.
    Optional,
    /// Always.
    Always,
}

/// The plainest family, which the others are told apart from.
const LLAMA: Family = Family {
    architecture: "llama",
    name: "Llama 2 and 3, Mistral, Mixtral, SmolLM",
    norm: NormKind::Rms,
    norms: NormPlaces::Before,
    head_norms: false,
    fused: false,
    biases: Biases::Optional,
    rope: RopePairs::Adjacent,
    theta: 10_000.0,
    local_theta: None,
    windows: Windows::All,
    window: None,
    caps: [None, None],
    scaled_by_width: None,
    activation: Activation::Silu,
    gated: true,
    experts: Experts::Optional,
    scaled_embedding: false,
    causal: true,
    reads: Reads::Tokens,
    makes: Makes::Logits,
};

const QWEN2: Family = Family {
    architecture: "qwen2",
    name: "Qwen2, Qwen2.5",
    biases: Biases::QueryKeyValue,
    rope: RopePairs::Halves,
    windows: Windows::Never,
    experts: Experts::Never,
    ..LLAMA
};

const QWEN3: Family =
    Family { architecture: "qwen3", name: "Qwen3", head_norms: true, biases: Biases::Optional, ..QWEN2 };

const GEMMA: Family = Family {
    architecture: "gemma",
    name: "Gemma",
    biases: Biases::None,
    rope: RopePairs::Halves,
    windows: Windows::Never,
    activation: Activation::GeluTanh,
    experts: Experts::Never,
    scaled_embedding: true,
    ..LLAMA
};

const GEMMA2: Family = Family {
    architecture: "gemma2",
    name: "Gemma 2",
    norms: NormPlaces::BeforeAndAfter,
    windows: Windows::AllButEvery(2),
    window: Some(4096),
    caps: [Some(50.0), Some(30.0)],
    scaled_by_width: Some(46),
    ..GEMMA
};

/// Pictures in, classes out. The names and keys are those of `tools/encoder_to_gguf.py`.
const VIT: Family = Family {
    architecture: "vit",
    name: "ViT image classifiers",
    norm: NormKind::Layer,
    biases: Biases::All,
    rope: RopePairs::None,
    windows: Windows::Never,
    activation: Activation::GeluErf,
    gated: false,
    experts: Experts::Never,
    causal: false,
    reads: Reads::Patches,
    makes: Makes::Classes,
    ..LLAMA
};

/// Every family that this version runs.
pub const FAMILIES: &[Family] = &[
    LLAMA,
    QWEN2,
    QWEN3,
    Family { architecture: "qwen3moe", name: "Qwen3, mixture of experts", experts: Experts::Always, ..QWEN3 },
    GEMMA,
    GEMMA2,
    Family {
        architecture: "gemma3",
        name: "Gemma 3",
        norms: NormPlaces::BeforeAndAfter,
        head_norms: true,
        theta: 1_000_000.0,
        local_theta: Some(10_000.0),
        windows: Windows::AllButEvery(6),
        scaled_by_width: Some(62),
        ..GEMMA
    },
    Family {
        architecture: "phi3",
        name: "Phi-3, Phi-3.5, Phi-4",
        fused: true,
        biases: Biases::None,
        rope: RopePairs::Halves,
        experts: Experts::Never,
        ..LLAMA
    },
    Family {
        architecture: "bert",
        name: "BERT sentence embedders",
        norms: NormPlaces::AfterResidual,
        reads: Reads::PlacedTokens,
        makes: Makes::Embedding,
        ..VIT
    },
    VIT,
];

impl Family {
    /// The family of an architecture.
    pub fn of(architecture: &str) -> Option<&'static Self> {
        FAMILIES.iter().find(|family| family.architecture == architecture)
    }
}

/// The architectures that this version runs, for people.
pub(crate) fn architectures() -> String {
    FAMILIES.iter().map(|family| family.architecture).collect::<Vec<_>>().join(", ")
}
