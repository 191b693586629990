//! The lines of a file that another process writes: what there is, and later what has come since.

use std::fs::File;
use std::io::{BufRead, BufReader, Read, Result, Seek, SeekFrom};
use std::path::PathBuf;

/// A file and how far it is read. A file that is not there has no lines yet.
#[derive(Debug)]
pub struct Tail {
    path: PathBuf,
    read: u64,
}

impl Tail {
    /// Bytes of a line that are read at once: what is longer is no line of ours, and must not fill the memory.
    const LONGEST: u64 = 1 << 20;

    /// A file of which nothing is read.
    pub fn new(path: PathBuf) -> Self {
        Self { path, read: 0 }
    }

    /// Whether the file is shorter than what was read of it: it was cut, or written anew.
    pub fn is_cut(&self) -> bool {
        std::fs::metadata(&self.path).map_or(0, |file| file.len()) < self.read
    }

    /// Calls `each` with every whole line that has come since the last time.
    pub fn read(&mut self, mut each: impl FnMut(&[u8])) -> Result<()> {
        let mut file = match File::open(&self.path) {
            Ok(file) => file,
            Err(error) if error.kind() == std::io::ErrorKind::NotFound => return Ok(()),
            Err(error) => return Err(error),
        };
        file.seek(SeekFrom::Start(self.read))?;
        let (mut reader, mut line) = (BufReader::new(file), Vec::new());
        loop {
            let length = reader.by_ref().take(Self::LONGEST).read_until(b'\n', &mut line)? as u64;
            // What is torn is read once it is whole.
            if length < Self::LONGEST && line.last() != Some(&b'\n') {
                return Ok(());
            }
            self.read += length;
            each(&line);
            line.clear();
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn lines_come_once_each_and_whole() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("lines");
        let mut tail = Tail::new(path.clone());
        let mut read = || {
            let mut lines = Vec::new();
            tail.read(|line| lines.push(String::from_utf8_lossy(line).trim().to_owned())).unwrap();
            (lines, tail.is_cut())
        };
        assert_eq!(read(), (vec![], false), "there is no file yet");
        std::fs::write(&path, "one\ntwo\nthr").unwrap();
        assert_eq!(read(), (vec!["one".to_owned(), "two".to_owned()], false));
        std::fs::write(&path, "one\ntwo\nthree\n").unwrap();
        assert_eq!(read(), (vec!["three".to_owned()], false));
        std::fs::write(&path, "one\n").unwrap();
        assert_eq!(read(), (vec![], true));
    }

    #[test]
    fn a_line_without_an_end_is_read_in_pieces() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("lines");
        std::fs::write(&path, [vec![b'x'; 2_500_000], b"\nend\n".to_vec()].concat()).unwrap();
        let mut lengths = Vec::new();
        Tail::new(path).read(|line| lengths.push(line.len())).unwrap();
        assert_eq!(lengths, [1 << 20, 1 << 20, 2_500_001 - (2 << 20), 4]);
    }
}
