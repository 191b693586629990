//! `events.out.tfevents.*`: what `TensorBoard` reads.
//!
//! A file is a sequence of records, each its length, the length's checksum, a protocol buffer and its checksum
//! (`tensorflow/core/lib/io/record_writer.h`). The buffers are `Event`s of `tensorflow/core/util/event.proto` with
//! `Summary`s of `tensorflow/core/framework/summary.proto`, of which only a few fields are written.

use std::fs::File;
use std::io::Write;
use std::path::Path;
use std::time::{SystemTime, UNIX_EPOCH};

/// An event file, to which events are appended whole.
#[derive(Debug)]
pub struct EventFile {
    file: File,
    /// Bytes of whole records.
    length: u64,
}

/// A value of a step under its name.
#[derive(Debug, Clone, Copy)]
pub enum Value<'a> {
    /// A number.
    Scalar(f64),
    /// Text, read as Markdown.
    Text(&'a str),
    /// A picture.
    Image {
        /// Its height and width.
        size: (u32, u32),
        /// Its bytes as PNG.
        png: &'a [u8],
    },
}

impl EventFile {
    /// Begins a new file in `folder`. `TensorBoard` drops what other files there say of steps behind `step`.
    pub fn create(folder: &Path, step: u64) -> std::io::Result<Self> {
        let name = format!("events.out.tfevents.{:.0}.{}", now(), std::process::id());
        let file = File::options().create(true).append(true).open(folder.join(name))?;
        let mut file = Self { length: file.metadata()?.len(), file };
        let mut version = event(0);
        bytes(&mut version, 3, b"brain.Event:2");
        file.write(&version)?;
        file.rewind(step)?;
        Ok(file)
    }

    /// Has `TensorBoard` drop the steps behind this one.
    pub fn rewind(&mut self, step: u64) -> std::io::Result<()> {
        const START: u64 = 1;
        let mut session = Vec::new();
        varint(&mut session, 1, START);
        let mut event = event(step + 1);
        bytes(&mut event, 7, &session);
        self.write(&event)
    }

    /// Appends values of one step.
    pub fn append<'a>(
        &mut self,
        step: u64,
        values: impl IntoIterator<Item = (&'a str, Value<'a>)>,
    ) -> std::io::Result<()> {
        let mut summary = Vec::new();
        for (tag, value) in values {
            bytes(&mut summary, 1, &of_value(tag, value));
        }
        let mut event = event(step);
        bytes(&mut event, 5, &summary);
        self.write(&event)
    }

    fn write(&mut self, event: &[u8]) -> std::io::Result<()> {
        let length = (event.len() as u64).to_le_bytes();
        let mut record = Vec::with_capacity(event.len() + 16);
        record.extend(length);
        record.extend(checksum(&length).to_le_bytes());
        record.extend(event);
        record.extend(checksum(event).to_le_bytes());
        if let Err(error) = self.file.write_all(&record) {
            // What of it was written would hide all that follows.
            self.file.set_len(self.length)?;
            return Err(error);
        }
        self.length += record.len() as u64;
        Ok(())
    }
}

/// Seconds since 1970.
fn now() -> f64 {
    SystemTime::now().duration_since(UNIX_EPOCH).map_or(0.0, |time| time.as_secs_f64())
}

/// An `Event` with its time and step.
fn event(step: u64) -> Vec<u8> {
    let mut event = vec![1 << 3 | 1];
    event.extend(now().to_le_bytes());
    varint(&mut event, 2, step);
    event
}

/// A `Summary.Value`.
fn of_value(tag: &str, value: Value) -> Vec<u8> {
    let mut message = Vec::new();
    bytes(&mut message, 1, tag.as_bytes());
    match value {
        Value::Scalar(value) => {
            message.push(2 << 3 | 5);
            message.extend((value as f32).to_le_bytes());
        }
        Value::Text(text) => {
            const DT_STRING: u64 = 7;
            let (mut dim, mut shape, mut tensor) = (Vec::new(), Vec::new(), Vec::new());
            varint(&mut dim, 1, 1);
            bytes(&mut shape, 2, &dim);
            varint(&mut tensor, 1, DT_STRING);
            bytes(&mut tensor, 2, &shape);
            bytes(&mut tensor, 8, text.as_bytes());
            bytes(&mut message, 8, &tensor);
            let (mut plugin, mut metadata) = (Vec::new(), Vec::new());
            bytes(&mut plugin, 1, b"text");
            bytes(&mut metadata, 1, &plugin);
            bytes(&mut message, 9, &metadata);
        }
        Value::Image { size: (height, width), png } => {
            const RGB: u64 = 3;
            let mut image = Vec::new();
            varint(&mut image, 1, u64::from(height));
            varint(&mut image, 2, u64::from(width));
            varint(&mut image, 3, RGB);
            bytes(&mut image, 4, png);
            bytes(&mut message, 4, &image);
        }
    }
    message
}

/// Appends a field of a number.
fn varint(message: &mut Vec<u8>, field: u64, value: u64) {
    raw_varint(message, field << 3);
    raw_varint(message, value);
}

/// Appends a field of bytes, text or another message.
fn bytes(message: &mut Vec<u8>, field: u64, value: &[u8]) {
    raw_varint(message, field << 3 | 2);
    raw_varint(message, value.len() as u64);
    message.extend(value);
}

fn raw_varint(message: &mut Vec<u8>, mut value: u64) {
    while value >= 0x80 {
        message.push(value as u8 | 0x80);
        value >>= 7;
    }
    message.push(value as u8);
}

/// CRC-32C, rotated and shifted as `tensorflow/core/lib/hash/crc32c.h` has it, so that a checksum of checksums
/// is none of zeros.
fn checksum(bytes: &[u8]) -> u32 {
    crc32c::crc32c(bytes).rotate_right(15).wrapping_add(0xa282_ead8)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn records_are_framed_as_tensorflow_frames_them() {
        assert_eq!(checksum(b"123456789"), 0xe306_9283_u32.rotate_right(15).wrapping_add(0xa282_ead8));
        let folder = tempfile::tempdir().unwrap();
        let mut file = EventFile::create(folder.path(), 0).unwrap();
        file.append(300, [("loss", Value::Scalar(2.5))]).unwrap();
        let path = std::fs::read_dir(folder.path()).unwrap().next().unwrap().unwrap().path();
        let written = std::fs::read(path).unwrap();
        let mut rest = &written[..];
        let mut events = Vec::new();
        while !rest.is_empty() {
            let length = u64::from_le_bytes(rest[..8].try_into().unwrap()) as usize;
            assert_eq!(rest[8..12], checksum(&rest[..8]).to_le_bytes());
            let event = &rest[12..12 + length];
            assert_eq!(rest[12 + length..16 + length], checksum(event).to_le_bytes());
            events.push(event.to_vec());
            rest = &rest[16 + length..];
        }
        assert!(events[0].ends_with(b"\x1a\x0dbrain.Event:2"));
        // step 300; summary of 13 bytes; value of 11: the tag, and 2.5 as a float.
        let scalar = b"\x10\xac\x02\x2a\x0d\x0a\x0b\x0a\x04loss\x15\x00\x00\x20\x40";
        assert_eq!(events[2][9..], scalar[..]);
    }
}
