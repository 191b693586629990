//! Arrays of an npz, as `NumPy` and we write them (numpy.lib.format): what a file claims is held against what is there
//! before anything is made of it.

use std::fs::File;
use std::io::{BufReader, Read};
use std::path::Path;

use zip::ZipArchive;

/// Bytes of what stands before an array's numbers at most.
const LONGEST_HEADER: usize = 1 << 16;

/// An open file.
pub(super) struct Npz {
    archive: ZipArchive<BufReader<File>>,
    /// Bytes of the file: no array that lies in it unpacked is longer.
    length: u64,
}

/// An array as it lies in the file.
struct Array {
    /// What its numbers are, such as `f8`.
    kind: String,
    dims: Vec<usize>,
    bytes: Vec<u8>,
}

impl Npz {
    /// Opens a file; what is wrong with it is said in one line.
    pub(super) fn open(path: &Path) -> Result<Self, String> {
        let file = File::open(path).map_err(|error| error.to_string())?;
        let length = file.metadata().map_err(|error| error.to_string())?.len();
        let archive = ZipArchive::new(BufReader::new(file)).map_err(|error| one_line(&error))?;
        Ok(Self { archive, length })
    }

    /// The dimensions of an array of floats, and its numbers row by row.
    pub(super) fn numbers(&mut self, name: &str) -> Result<(Vec<usize>, Vec<f64>), String> {
        let Array { kind, dims, bytes } = self.array(name)?;
        let numbers = match kind.as_str() {
            "f8" => bytes.as_chunks().0.iter().map(|bytes| f64::from_le_bytes(*bytes)).collect(),
            "f4" => bytes.as_chunks().0.iter().map(|bytes| f64::from(f32::from_le_bytes(*bytes))).collect(),
            _ => return Err(format!("{name} is of another type than f8 and f4")),
        };
        Ok((dims, numbers))
    }

    /// An array of bytes.
    pub(super) fn bytes(&mut self, name: &str) -> Result<Vec<u8>, String> {
        let Array { kind, bytes, .. } = self.array(name)?;
        if kind == "u1" { Ok(bytes) } else { Err(format!("{name} is of another type than u1")) }
    }

    fn array(&mut self, name: &str) -> Result<Array, String> {
        let entry = self.archive.by_name(&format!("{name}.npy")).map_err(|error| one_line(&error))?;
        let mut file = Vec::new();
        entry.take(self.length).read_to_end(&mut file).map_err(|error| one_line(&error))?;
        parse(&file).ok_or_else(|| format!("{name} is no array of NumPy"))
    }
}

fn one_line(error: &impl std::fmt::Display) -> String {
    error.to_string().escape_debug().to_string()
}

/// An array whose numbers are as many as its dimensions ask for.
fn parse(file: &[u8]) -> Option<Array> {
    let rest = file.strip_prefix(b"\x93NUMPY")?;
    let ([major, _], rest) = rest.split_first_chunk()?;
    let (length, rest) = match major {
        1 => {
            rest.split_first_chunk().map(|(length, rest)| (usize::from(u16::from_le_bytes(*length)), rest))?
        }
        _ => rest.split_first_chunk().map(|(length, rest)| (u32::from_le_bytes(*length) as usize, rest))?,
    };
    let (header, bytes) = rest.split_at_checked(length).filter(|_| length <= LONGEST_HEADER)?;
    let header = std::str::from_utf8(header).ok()?;
    let field = |name: &str| Some(header.split_once(&format!("'{name}':"))?.1.trim_start());
    if !field("fortran_order")?.starts_with("False") {
        return None;
    }
    let (kind, _) = field("descr")?.strip_prefix('\'')?.split_once('\'')?;
    let kind = kind.trim_start_matches(['<', '|', '=']).to_owned();
    let (dims, _) = field("shape")?.strip_prefix('(')?.split_once(')')?;
    let dims = dims.split(',').map(str::trim).filter(|dim| !dim.is_empty());
    let dims = dims.map(|dim| dim.parse().ok()).collect::<Option<Vec<usize>>>()?;
    let size = kind.get(1..)?.parse().ok()?;
    let needed = dims.iter().try_fold(size, |product: usize, dim| product.checked_mul(*dim))?;
    (needed == bytes.len()).then(|| Array { kind, dims, bytes: bytes.to_vec() })
}

#[cfg(test)]
mod tests {
    use super::*;

    fn npy(header: &str, bytes: &[u8]) -> Vec<u8> {
        let length = u16::try_from(header.len()).unwrap().to_le_bytes();
        [b"\x93NUMPY\x01\0", &length[..], header.as_bytes(), bytes].concat()
    }

    #[test]
    fn an_array_is_read_as_numpy_writes_it() {
        let header = "{'descr': '<f8', 'fortran_order': False, 'shape': (1, 2), }\n";
        let array = parse(&npy(header, &[0; 16])).unwrap();
        assert_eq!((array.kind.as_str(), &array.dims[..], array.bytes.len()), ("f8", &[1, 2][..], 16));
    }

    #[test]
    fn a_claim_that_the_file_does_not_keep_is_no_array() {
        for header in [
            "{'descr': '<f8', 'fortran_order': True, 'shape': (2,), }",
            "{'descr': '<f8', 'fortran_order': False, 'shape': (3,), }",
            "{'descr': '<f8', 'fortran_order': False, 'shape': (18446744073709551615, 2), }",
            "{'descr': '<', 'fortran_order': False, 'shape': (2,), }",
            "{'fortran_order': False, 'shape': (2,), }",
            "",
        ] {
            assert!(parse(&npy(header, &[0; 16])).is_none(), "{header}");
        }
        assert!(parse(b"\x93NUMPY\x02\0\xff\xff\xff\xff").is_none());
    }
}
