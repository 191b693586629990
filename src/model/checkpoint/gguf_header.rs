//! The header of a GGUF file: metadata and a list of tensors
//! (github.com/ggml-org/ggml/blob/master/docs/gguf.md).
//!
//! It is read here rather than by candle so that nothing a file claims is believed before it is compared with
//! the file's length: no claim leads to a panic, or to more memory than a file of that length deserves.

use std::collections::HashMap;
use std::fs::File;
use std::io::{BufReader, Read};
use std::path::Path;

use candle_core::quantized::GgmlDType;
use candle_core::quantized::gguf_file::{TensorInfo, Value};

use super::error::{Error, quoted};

/// Metadata entries or tensors of one file. The largest Llama has about 1200 tensors.
const MOST_ENTRIES: u64 = 1 << 16;
/// Elements of all arrays of one file. A vocabulary of 262144 has about a million.
const MOST_ELEMENTS: u64 = 1 << 22;
/// Bytes of one string. The longest are chat templates.
const LONGEST_STRING: u64 = 1 << 24;

/// What a GGUF file says of itself.
#[derive(Debug)]
pub(super) struct Header {
    pub(super) metadata: HashMap<String, Value>,
    /// Dimensions are in Hugging Face's order: the last one is contiguous. Each tensor lies inside the file, where the
    /// alignment lets it begin.
    pub(super) tensors: HashMap<String, TensorInfo>,
    /// Where the offsets of the tensors count from.
    pub(super) data: u64,
}

impl Header {
    /// Reads the header of an open file.
    pub(super) fn read(path: &Path, file: &File) -> Result<Self, Error> {
        let length = file.metadata().map_err(Error::io(path))?.len();
        let mut scan = Scan { path, reader: BufReader::new(file), position: 0, length, elements: 0 };
        if scan.bytes::<4>()? != *b"GGUF" {
            return Err(Error::not_a_model(path, "the file does not begin like a .gguf file"));
        }
        match u32::from_le_bytes(scan.bytes()?) {
            2 | 3 => {}
            version => {
                let problem =
                    format!("GGUF version {version} is not supported: versions 2 and 3 in little-endian are");
                return Err(Error::unsupported(path, problem));
            }
        }
        let (tensor_count, entry_count) = (scan.count("tensors")?, scan.count("metadata entries")?);
        let mut metadata = HashMap::new();
        for _ in 0..entry_count {
            let key = scan.string()?;
            let kind = u32::from_le_bytes(scan.bytes()?);
            let value = scan.value(kind)?;
            metadata.insert(key, value);
        }
        let mut tensors = HashMap::new();
        for _ in 0..tensor_count {
            let (name, info) = scan.tensor()?;
            tensors.insert(name, info);
        }
        let alignment = match metadata.get("general.alignment") {
            None => 32,
            // The format asks for a multiple of 8, llama.cpp for a power of two.
            Some(Value::U32(alignment)) if *alignment >= 8 && alignment.is_power_of_two() => {
                u64::from(*alignment)
            }
            Some(_) => return Err(scan.damaged("general.alignment is no power of two of 8 or more")),
        };
        let data = scan.position.next_multiple_of(alignment);
        for (name, info) in &tensors {
            let size =
                (info.shape.elem_count() / info.ggml_dtype.block_size() * info.ggml_dtype.type_size()) as u64;
            let end = info.offset.checked_add(data).and_then(|begin| begin.checked_add(size));
            if end.is_none_or(|end| end > length) {
                let problem = format!("{} reaches beyond the end of the file ({length} bytes)", quoted(name));
                return Err(scan.damaged(problem));
            }
            if !info.offset.is_multiple_of(alignment) {
                let problem = format!(
                    "{} begins at byte {} of the data, no multiple of the alignment, {alignment}",
                    quoted(name),
                    info.offset
                );
                return Err(scan.damaged(problem));
            }
        }
        Ok(Self { metadata, tensors, data })
    }
}

/// A reader that knows how much is left.
struct Scan<'a> {
    path: &'a Path,
    reader: BufReader<&'a File>,
    position: u64,
    length: u64,
    /// Array elements read so far.
    elements: u64,
}

impl Scan<'_> {
    fn damaged(&self, problem: impl Into<String>) -> Error {
        Error::damaged(self.path, problem)
    }

    fn advance(&mut self, count: u64) -> Result<(), Error> {
        if count > self.length - self.position {
            return Err(self.damaged("ends in the middle of its header"));
        }
        self.position += count;
        Ok(())
    }

    fn bytes<const N: usize>(&mut self) -> Result<[u8; N], Error> {
        self.advance(N as u64)?;
        let mut bytes = [0; N];
        self.reader.read_exact(&mut bytes).map_err(Error::io(self.path))?;
        Ok(bytes)
    }

    fn count(&mut self, what: &str) -> Result<u64, Error> {
        let count = u64::from_le_bytes(self.bytes()?);
        if count > MOST_ENTRIES {
            return Err(self.damaged(format!("claims {count} {what}, more than {MOST_ENTRIES}")));
        }
        Ok(count)
    }

    fn string(&mut self) -> Result<String, Error> {
        let length = u64::from_le_bytes(self.bytes()?);
        if length > LONGEST_STRING {
            return Err(self.damaged(format!("claims a text of {length} bytes, more than {LONGEST_STRING}")));
        }
        self.advance(length)?;
        let mut bytes = vec![0; length as usize];
        self.reader.read_exact(&mut bytes).map_err(Error::io(self.path))?;
        String::from_utf8(bytes).map_err(|_| self.damaged("has a text that is not UTF-8"))
    }

    fn value(&mut self, kind: u32) -> Result<Value, Error> {
        Ok(match kind {
            0 => Value::U8(u8::from_le_bytes(self.bytes()?)),
            1 => Value::I8(i8::from_le_bytes(self.bytes()?)),
            2 => Value::U16(u16::from_le_bytes(self.bytes()?)),
            3 => Value::I16(i16::from_le_bytes(self.bytes()?)),
            4 => Value::U32(u32::from_le_bytes(self.bytes()?)),
            5 => Value::I32(i32::from_le_bytes(self.bytes()?)),
            6 => Value::F32(f32::from_le_bytes(self.bytes()?)),
            7 => Value::Bool(self.bytes::<1>()? != [0]),
            8 => Value::String(self.string()?),
            9 => self.array()?,
            10 => Value::U64(u64::from_le_bytes(self.bytes()?)),
            11 => Value::I64(i64::from_le_bytes(self.bytes()?)),
            12 => Value::F64(f64::from_le_bytes(self.bytes()?)),
            _ => return Err(self.damaged(format!("has a value of the unknown type {kind}"))),
        })
    }

    fn array(&mut self) -> Result<Value, Error> {
        const ARRAY: u32 = 9;
        let kind = u32::from_le_bytes(self.bytes()?);
        if kind == ARRAY {
            return Err(self.damaged("has an array of arrays"));
        }
        let count = u64::from_le_bytes(self.bytes()?);
        self.elements = self.elements.saturating_add(count);
        if self.elements > MOST_ELEMENTS {
            return Err(self.damaged(format!("claims arrays of more than {MOST_ELEMENTS} elements")));
        }
        // It grows as elements are found, so a false count runs into the end of the file first.
        let mut values = Vec::new();
        for _ in 0..count {
            values.push(self.value(kind)?);
        }
        Ok(Value::Array(values))
    }

    fn tensor(&mut self) -> Result<(String, TensorInfo), Error> {
        const MOST_DIMENSIONS: u32 = 4;
        let name = self.string()?;
        let rank = u32::from_le_bytes(self.bytes()?);
        if !(1..=MOST_DIMENSIONS).contains(&rank) {
            return Err(self.damaged(format!("{} has {rank} dimensions", quoted(&name))));
        }
        let mut dims = Vec::new();
        for _ in 0..rank {
            dims.push(u64::from_le_bytes(self.bytes()?) as usize);
        }
        if dims.contains(&0) {
            return Err(self.damaged(format!("{} has no numbers", quoted(&name))));
        }
        let kind = u32::from_le_bytes(self.bytes()?);
        let offset = u64::from_le_bytes(self.bytes()?);
        let Some(ggml_dtype) = dtype(kind) else {
            let problem = format!(
                "{} has the type {}, which is not supported: F32, F16, BF16, Q4_0 to Q8_0 and Q2_K to Q6_K \
                 are",
                quoted(&name),
                unsupported_name(kind)
            );
            return Err(Error::unsupported(self.path, problem));
        };
        // No type packs more than 4 numbers into a byte, so more than that cannot be in the file.
        let numbers = dims.iter().try_fold(1_usize, |product, dim| product.checked_mul(*dim));
        if numbers.is_none_or(|numbers| numbers as u64 / 8 > self.length) {
            return Err(self.damaged(format!("{} has more numbers than the file", quoted(&name))));
        }
        if !dims[0].is_multiple_of(ggml_dtype.block_size()) {
            return Err(self.damaged(format!("{} has rows that are not whole blocks", quoted(&name))));
        }
        dims.reverse();
        Ok((name, TensorInfo { ggml_dtype, shape: dims.into(), offset }))
    }
}

/// The numbers of `enum ggml_type` in ggml.h.
fn dtype(kind: u32) -> Option<GgmlDType> {
    Some(match kind {
        0 => GgmlDType::F32,
        1 => GgmlDType::F16,
        2 => GgmlDType::Q4_0,
        3 => GgmlDType::Q4_1,
        6 => GgmlDType::Q5_0,
        7 => GgmlDType::Q5_1,
        8 => GgmlDType::Q8_0,
        10 => GgmlDType::Q2K,
        11 => GgmlDType::Q3K,
        12 => GgmlDType::Q4K,
        13 => GgmlDType::Q5K,
        14 => GgmlDType::Q6K,
        30 => GgmlDType::BF16,
        _ => return None,
    })
}

fn unsupported_name(kind: u32) -> String {
    let name = match kind {
        16 => "IQ2_XXS",
        17 => "IQ2_XS",
        18 => "IQ3_XXS",
        19 => "IQ1_S",
        20 => "IQ4_NL",
        21 => "IQ3_S",
        22 => "IQ2_S",
        23 => "IQ4_XS",
        29 => "IQ1_M",
        34 => "TQ1_0",
        35 => "TQ2_0",
        39 => "MXFP4",
        _ => return kind.to_string(),
    };
    name.to_owned()
}

#[cfg(test)]
mod tests {
    use std::io::Write;

    use super::*;

    /// A version 3 header with these counts, followed by `rest`.
    fn header(tensors: u64, entries: u64, rest: &[&[u8]]) -> Result<Header, Error> {
        let mut file = tempfile::NamedTempFile::new().unwrap();
        file.write_all(b"GGUF\x03\0\0\0").unwrap();
        file.write_all(&tensors.to_le_bytes()).unwrap();
        file.write_all(&entries.to_le_bytes()).unwrap();
        for part in rest {
            file.write_all(part).unwrap();
        }
        Header::read(file.path(), &File::open(file.path()).unwrap())
    }

    fn text(text: &str) -> Vec<u8> {
        [&(text.len() as u64).to_le_bytes(), text.as_bytes()].concat()
    }

    fn alignment(value: u32) -> Vec<u8> {
        [text("general.alignment"), vec![4, 0, 0, 0], value.to_le_bytes().into()].concat()
    }

    fn tensor(dims: &[u64], kind: u32, offset: u64) -> Vec<u8> {
        let mut bytes = text("blk.0.x");
        bytes.extend((dims.len() as u32).to_le_bytes());
        bytes.extend(dims.iter().flat_map(|dim| dim.to_le_bytes()));
        bytes.extend(kind.to_le_bytes());
        bytes.extend(offset.to_le_bytes());
        bytes
    }

    #[test]
    fn dimensions_are_turned_round_and_data_is_aligned() {
        let header = header(1, 0, &[&tensor(&[4, 2], 0, 0), &[0; 200]]).unwrap();
        assert_eq!(header.tensors["blk.0.x"].shape.dims(), [2, 4]);
        assert!(header.data.is_multiple_of(32));
    }

    #[test]
    fn a_tensor_begins_at_a_multiple_of_the_alignment() {
        let with = |entries: &[u8], offset: u64| {
            header(1, u64::from(!entries.is_empty()), &[entries, &tensor(&[4], 0, offset), &[0; 200]])
        };
        for (entries, offset) in [(vec![], 32), (alignment(8), 8), (alignment(64), 64)] {
            assert_eq!(with(&entries, offset).unwrap().tensors["blk.0.x"].offset, offset);
        }
        for (entries, offset, multiple) in
            [(vec![], 8, 32), (vec![], 33, 32), (alignment(8), 4, 8), (alignment(64), 32, 64)]
        {
            let found = with(&entries, offset).unwrap_err().to_string();
            let message =
                format!("begins at byte {offset} of the data, no multiple of the alignment, {multiple};");
            assert!(found.contains(&message), "{found} is not about: {message}");
        }
    }

    #[test]
    fn what_a_header_claims_is_compared_with_the_file() {
        let array = |kind: u8, count: u64| {
            [text("a"), vec![9, 0, 0, 0, kind, 0, 0, 0], count.to_le_bytes().into()].concat()
        };
        let long_text = [text("a"), vec![8, 0, 0, 0], (1_u64 << 23).to_le_bytes().into()].concat();
        let longer_text = [text("a"), vec![8, 0, 0, 0], u64::MAX.to_le_bytes().into()].concat();
        for (tensors, entries, rest, message) in [
            (u64::MAX, 0, vec![], "claims 18446744073709551615 tensors"),
            (0, 1 << 40, vec![], "claims 1099511627776 metadata entries"),
            (0, 1, vec![], "ends in the middle of its header"),
            (0, 1, long_text, "ends in the middle of its header"),
            (0, 1, longer_text, "claims a text of 18446744073709551615 bytes"),
            (0, 1, array(0, 1 << 20), "ends in the middle of its header"),
            (0, 1, array(0, u64::MAX), "claims arrays of more than 4194304 elements"),
            (0, 1, array(9, 1), "has an array of arrays"),
            (0, 1, array(77, 1), "has a value of the unknown type 77"),
            (0, 1, alignment(0), "general.alignment is no power of two"),
            (0, 1, alignment(4), "general.alignment is no power of two of 8 or more"),
            (0, 1, alignment(24), "general.alignment is no power of two"),
            (1, 0, tensor(&[], 0, 0), "\"blk.0.x\" has 0 dimensions"),
            (1, 0, tensor(&[4, 0], 0, 0), "\"blk.0.x\" has no numbers"),
            (1, 0, tensor(&[1; 5], 0, 0), "\"blk.0.x\" has 5 dimensions"),
            (1, 0, tensor(&[1 << 40, 1 << 40], 0, 0), "\"blk.0.x\" has more numbers than the file"),
            (1, 0, tensor(&[1 << 40], 0, 0), "\"blk.0.x\" has more numbers than the file"),
            (1, 0, tensor(&[33], 8, 0), "\"blk.0.x\" has rows that are not whole blocks"),
            (1, 0, tensor(&[32], 8, u64::MAX), "\"blk.0.x\" reaches beyond the end of the file"),
            (1, 0, tensor(&[32], 8, 0), "\"blk.0.x\" reaches beyond the end of the file"),
            (1, 0, tensor(&[32], 20, 0), "\"blk.0.x\" has the type IQ4_NL, which is not supported"),
        ] {
            let found = header(tensors, entries, &[&rest]).unwrap_err().to_string();
            assert!(found.contains(message), "{found} is not about: {message}");
        }
    }
}
