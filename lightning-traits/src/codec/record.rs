//! `record!`: field-by-field encodings of plain structs and enums, declared beside the type as a table.
//!
//! A table of data and nothing else: no control flow is hidden in it.

/// Implements `Encode` and `Decode` for a struct by its fields in order, or for an enum by a tag byte and its fields.
///
/// `record!(struct Name { a, b list, c });` encodes `b` (a `Vec<T>`) as a list.
/// `record!(enum Name { 0 => A { x, y list }, 1 => B {} });` encodes the tag first; unknown tags do not decode.
#[macro_export]
macro_rules! record {
    (struct $name:ident { $($field:ident $($list:ident)?),* $(,)? }) => {
        impl $crate::codec::Encode for $name {
            #[allow(unused_variables, reason = "a struct without fields writes nothing")]
            fn encode(&self, out: &mut alloc::vec::Vec<u8>) {
                $($crate::record!(@enc &self.$field, out $(, $list)?);)*
            }
        }
        impl $crate::codec::Decode for $name {
            #[allow(unused_variables, reason = "a struct without fields reads nothing")]
            fn decode(reader: &mut $crate::codec::Reader<'_>) -> Result<Self, $crate::codec::DecodeError> {
                Ok(Self { $($field: $crate::record!(@dec reader $(, $list)?)),* })
            }
        }
    };
    (enum $name:ident { $($tag:literal => $variant:ident { $($field:ident $($list:ident)?),* $(,)? }),* $(,)? }) => {
        impl $crate::codec::Encode for $name {
            fn encode(&self, out: &mut alloc::vec::Vec<u8>) {
                match self {
                    $(Self::$variant { $($field),* } => {
                        out.push($tag);
                        $($crate::record!(@enc $field, out $(, $list)?);)*
                    })*
                }
            }
        }
        impl $crate::codec::Decode for $name {
            fn decode(reader: &mut $crate::codec::Reader<'_>) -> Result<Self, $crate::codec::DecodeError> {
                match reader.read::<u8>()? {
                    $($tag => Ok(Self::$variant { $($field: $crate::record!(@dec reader $(, $list)?)),* }),)*
                    _ => Err($crate::codec::DecodeError::InvalidValue(concat!("tag of ", stringify!($name)))),
                }
            }
        }
    };
    (@enc $value:expr, $out:ident) => { $crate::codec::Encode::encode($value, $out) };
    (@enc $value:expr, $out:ident, list) => { $crate::codec::encode_list($value, $out) };
    (@dec $reader:ident) => { $reader.read()? };
    (@dec $reader:ident, list) => { $crate::codec::decode_list($reader)? };
}
