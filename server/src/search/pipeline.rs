//! Which parts of the search take part.

/// How far a question goes through the search. Requests go all the way; measuring what each part
/// is worth takes the ways that end earlier.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Pipeline {
    /// BM25 of the words alone.
    Lexical,
    /// The nearest passages alone.
    Vector,
    /// Both, their scores fused.
    Fused,
    /// Both, fused with the overlap of the expansions and with what notes near to a note get.
    Reranked,
    /// The same, its best notes in the order of the cross-encoder; where there is none, the same.
    #[default]
    CrossEncoded,
}

impl Pipeline {
    /// Every way, from the shortest to the whole.
    pub const ALL: [Pipeline; 5] = [
        Pipeline::Lexical,
        Pipeline::Vector,
        Pipeline::Fused,
        Pipeline::Reranked,
        Pipeline::CrossEncoded,
    ];

    /// One word.
    pub fn as_str(self) -> &'static str {
        match self {
            Pipeline::Lexical => "lexical",
            Pipeline::Vector => "vector",
            Pipeline::Fused => "fused",
            Pipeline::Reranked => "reranked",
            Pipeline::CrossEncoded => "cross-encoded",
        }
    }

    /// Whether words bring candidates.
    pub(super) fn words(self) -> bool {
        self != Pipeline::Vector
    }

    /// Whether vectors bring candidates: the question has to be embedded.
    pub fn vectors(self) -> bool {
        self != Pipeline::Lexical
    }

    /// Whether expansions and neighbours count.
    pub(super) fn reranks(self) -> bool {
        matches!(self, Pipeline::Reranked | Pipeline::CrossEncoded)
    }

    /// Whether it ends with the cross-encoder, if there is one.
    pub fn cross_encodes(self) -> bool {
        self == Pipeline::CrossEncoded
    }
}
