//! Lists that are bounded while they are read: a read element takes far more memory than its text.

use std::{fmt, marker::PhantomData};

use serde::{
    Deserialize, Deserializer,
    de::{self, SeqAccess, Visitor},
};

/// A list of at most `MOST` elements.
pub(in crate::proto::dialect) struct List<T, const MOST: usize>(pub(in crate::proto::dialect) Vec<T>);

impl<T, const MOST: usize> Default for List<T, MOST> {
    fn default() -> Self {
        Self(Vec::new())
    }
}

impl<'de, T: Deserialize<'de>, const MOST: usize> Deserialize<'de> for List<T, MOST> {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        struct ListVisitor<T, const MOST: usize>(PhantomData<T>);

        impl<'de, T: Deserialize<'de>, const MOST: usize> Visitor<'de> for ListVisitor<T, MOST> {
            type Value = List<T, MOST>;

            fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                f.write_str("a list")
            }

            fn visit_seq<A: SeqAccess<'de>>(self, seq: A) -> Result<Self::Value, A::Error> {
                at_most(MOST, seq).map(List)
            }
        }

        deserializer.deserialize_seq(ListVisitor(PhantomData))
    }
}

/// Reads a list of at most `most` elements.
pub(in crate::proto::dialect) fn at_most<'de, A: SeqAccess<'de>, T: Deserialize<'de>>(
    most: usize,
    mut seq: A,
) -> Result<Vec<T>, A::Error> {
    let mut list = Vec::new();
    while let Some(element) = seq.next_element()? {
        if list.len() == most {
            return Err(de::Error::custom(format_args!("more than {most} entries in a list")));
        }
        list.push(element);
    }
    Ok(list)
}

/// As a list, with its bound.
#[cfg(test)]
impl<T: schemars::JsonSchema, const MOST: usize> schemars::JsonSchema for List<T, MOST> {
    fn inline_schema() -> bool {
        true
    }

    fn schema_name() -> std::borrow::Cow<'static, str> {
        format!("{}List{MOST}", T::schema_name()).into()
    }

    fn json_schema(generator: &mut schemars::SchemaGenerator) -> schemars::Schema {
        schemars::json_schema!({ "type": "array", "items": generator.subschema_for::<T>(), "maxItems": MOST })
    }
}
