//! Closed sets of words: the same word in SQL, JSON, Rust and docs.

/// Defines a closed set of words as an enum. Add the enum to [`every_word`](super::every_word) to give it a form
/// in SQL and JSON.
macro_rules! words {
    ($(#[doc = $doc:literal])+ $name:ident { $($(#[$variant_doc:meta])* $variant:ident = $word:literal),+ $(,)? }) => {
        $(#[doc = $doc])+
        #[derive(Clone, Copy, PartialEq, Eq, Hash, Debug)]
        pub enum $name {
            $($(#[$variant_doc])* $variant,)+
        }

        impl $name {
            /// Every word of the set.
            pub const ALL: &'static [Self] = &[$(Self::$variant),+];

            /// The same as text.
            pub const WORDS: &'static [&'static str] = &[$($word),+];

            /// What the set is about, for documents.
            pub const MEANING: &'static str = concat!($($doc),+);

            /// The word, as it stands in SQL and JSON.
            pub const fn as_str(self) -> &'static str {
                match self { $(Self::$variant => $word),+ }
            }
        }

        impl std::str::FromStr for $name {
            type Err = String;

            fn from_str(text: &str) -> Result<Self, String> {
                match text {
                    $($word => Ok(Self::$variant),)+
                    _ => Err(format!("must be one of {}", Self::WORDS.join(", "))),
                }
            }
        }
    };
}

pub(crate) use words;
