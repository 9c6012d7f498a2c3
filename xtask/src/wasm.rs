//! Just enough of the WebAssembly binary format to list what a module imports and what is linked into it.
//!
//! A module is a magic number and sections `id (1) | size (LEB128) | payload`; section 2 holds the imports,
//! a custom section `name` the names of the functions.

/// What the proof needs to know of a module.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(crate) struct Module {
    /// `module.field` of each import.
    pub(crate) imports: Vec<String>,
    /// The payload of the name section, as text: symbols appear in it as they are.
    pub(crate) names: String,
}

/// Reads a module; nothing if the bytes are not one.
pub(crate) fn parse(bytes: &[u8]) -> Option<Module> {
    let mut rest = bytes.strip_prefix(b"\0asm\x01\0\0\0")?;
    let mut module = Module::default();
    while let Some((&id, after)) = rest.split_first() {
        let (payload, after) = sized(after)?;
        match id {
            0 => {
                let (name, content) = sized(payload)?;
                if name == b"name" {
                    module.names = String::from_utf8_lossy(content).into_owned();
                }
            }
            2 => module.imports = imports(payload)?,
            _ => {}
        }
        rest = after;
    }
    Some(module)
}

fn imports(payload: &[u8]) -> Option<Vec<String>> {
    let (count, mut rest) = leb128(payload)?;
    let mut found = Vec::new();
    for _ in 0..count {
        let (module, after) = sized(rest)?;
        let (field, after) = sized(after)?;
        let (&kind, after) = after.split_first()?;
        rest = skip_description(kind, after)?;
        found.push(format!("{}.{}", String::from_utf8_lossy(module), String::from_utf8_lossy(field)));
    }
    rest.is_empty().then_some(found)
}

/// What follows the names of an import: the type of a function, table, memory, global or tag.
fn skip_description(kind: u8, bytes: &[u8]) -> Option<&[u8]> {
    match kind {
        0 => Some(leb128(bytes)?.1),
        1 => skip_limits(bytes.split_first()?.1),
        2 => skip_limits(bytes),
        3 => bytes.get(2..),
        4 => Some(leb128(bytes.split_first()?.1)?.1),
        _ => None,
    }
}

fn skip_limits(bytes: &[u8]) -> Option<&[u8]> {
    let (&flags, bytes) = bytes.split_first()?;
    let (_, bytes) = leb128(bytes)?;
    if flags & 1 == 1 { Some(leb128(bytes)?.1) } else { Some(bytes) }
}

fn sized(bytes: &[u8]) -> Option<(&[u8], &[u8])> {
    let (size, rest) = leb128(bytes)?;
    rest.split_at_checked(usize::try_from(size).ok()?)
}

fn leb128(bytes: &[u8]) -> Option<(u32, &[u8])> {
    let mut value = 0_u64;
    for (place, byte) in bytes.iter().take(5).enumerate() {
        value |= u64::from(byte & 0x7f) << (7 * place);
        if byte & 0x80 == 0 {
            return Some((u32::try_from(value).ok()?, bytes.get(place + 1..)?));
        }
    }
    None
}

#[cfg(test)]
mod tests {
    use super::*;

    const EMPTY: &[u8] = b"\0asm\x01\0\0\0";

    fn section(id: u8, payload: &[u8]) -> Vec<u8> {
        [&[id, u8::try_from(payload.len()).unwrap()], payload].concat()
    }

    #[test]
    fn a_module_without_import_section_imports_nothing() {
        assert_eq!(parse(EMPTY), Some(Module::default()));
    }

    #[test]
    fn every_kind_of_import_is_listed() {
        let payload = [
            &[5][..],
            b"\x03env\x03now\x00\x07",             // function of type 7
            b"\x03env\x03tab\x01\x70\x01\x02\x04", // table, minimum and maximum
            b"\x03env\x03mem\x02\x00\x10",         // memory, minimum
            b"\x03env\x03glb\x03\x7f\x01",         // mutable i32
            b"\x03env\x03tag\x04\x00\x01",         // tag
        ]
        .concat();
        let module = parse(&[EMPTY, &section(2, &payload)].concat()).unwrap();
        assert_eq!(module.imports, ["env.now", "env.tab", "env.mem", "env.glb", "env.tag"]);
    }

    #[test]
    fn names_are_found() {
        let module = parse(&[EMPTY, &section(0, b"\x04name\x01\x02lightning_peer")].concat()).unwrap();
        assert!(module.names.contains("lightning_peer"));
    }

    #[test]
    fn damaged_modules_are_refused() {
        assert_eq!(parse(b"\0asm\x02\0\0\0"), None, "version");
        assert_eq!(parse(&[EMPTY, &[2, 9, 0]].concat()), None, "section longer than the file");
        assert_eq!(parse(&[EMPTY, &section(2, &[1])].concat()), None, "missing import");
        assert_eq!(parse(&[EMPTY, &section(2, &[0, 0])].concat()), None, "bytes left over");
        assert_eq!(leb128(&[0xff; 6]), None, "number without end");
    }
}
