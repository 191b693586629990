//! Slices as files that an evaluation goes on from: JSON, CSV and npz.

use std::fs;
use std::path::Path;

use llamascape::export::surface::{Caption, Center, Lines, Surface};
use llamascape::protocol::{BatchInfo, PlaneInfo};
use resvg::usvg::roxmltree::Document;
use tempfile::TempDir;

use super::dice::{Dice, cases};
use super::reads;

const FILES: u64 = 600;

pub(crate) fn surface() -> Surface {
    Surface {
        caption: Caption {
            model: "tidy-otter@3".to_owned(),
            center: Center { loss: Some(1.5) },
            plane: PlaneInfo { kind: "random".to_owned(), seeds: [11, u64::MAX], ..PlaneInfo::default() },
            batch: BatchInfo { tokens: 5, sha256: "ab12".to_owned(), source: "text".to_owned() },
            objective: "mean".to_owned(),
            method: "stack".to_owned(),
            seconds: 0.25,
            points_per_second: 12.5,
            complete: false,
            note: "tidy-otter@3: mean loss -- of 5 tokens".to_owned(),
            lines: Some(Lines::new(vec![1, 2], &[vec![0.5, 1.0], vec![f64::NAN, 2.0]])),
        },
        alphas: vec![-1.0, -0.1, 1e-3],
        betas: vec![0.0, 0.5],
        loss: vec![vec![Some(1.5), None, Some(0.1)], vec![None, Some(2.5), Some(-0.0)]],
    }
}

/// Reads a file, and writes what was read in every form.
fn comes_back(path: &Path) -> bool {
    let bytes = fs::metadata(path).unwrap().len() as usize;
    let Some(read) = reads(bytes, || Surface::read(path)) else { return false };
    let ascends = |axis: &[f64]| axis.is_sorted_by(|a, b| a < b);
    for name in ["again.json", "again.csv", "again.npz"] {
        let again = path.with_file_name(name);
        read.write(&again).unwrap();
        // Lines of points tell a row from the next by its coordinate.
        if ascends(&read.alphas) && ascends(&read.betas) {
            assert_eq!(Surface::read(&again).unwrap(), read, "{name} is read as it was written");
        }
    }
    let vtp = path.with_file_name("again.vtp");
    read.write(&vtp).unwrap();
    Document::parse(&fs::read_to_string(vtp).unwrap()).unwrap();
    true
}

#[test]
fn spoilt_slices_of_json_and_csv_are_gone_on_with_or_refused() {
    let folder = TempDir::new().unwrap();
    let paths = ["s.json", "s.csv"].map(|name| folder.path().join(name));
    for path in &paths {
        surface().write(path).unwrap();
        assert!(comes_back(path));
    }
    let [json, csv] = paths.each_ref().map(|path| fs::read(path).unwrap());
    let value = serde_json::from_slice(&json).unwrap();
    let spoil = |dice: &mut Dice| dice.spoil_json(&value);
    cases("slices as JSON", FILES, spoil, |bytes| {
        fs::write(&paths[0], bytes).unwrap();
        comes_back(&paths[0])
    });
    let (head, rows) = csv.split_at(csv.iter().rposition(|byte| *byte == b'\n').unwrap() - 60);
    let spoil = |dice: &mut Dice| match dice.below(3) {
        0 => dice.spoil(&csv),
        1 => [head, &dice.spoil(rows)].concat(),
        _ => {
            let number = *dice.pick(&["nan", "inf", "-0", "1e999", "", "1e-320", "\u{1b}"]);
            String::from_utf8_lossy(&csv)
                .replace(*dice.pick(&["0.5", "-1", "0.1", "2.5"]), number)
                .into_bytes()
        }
    };
    cases("slices as CSV", FILES, spoil, |bytes| {
        fs::write(&paths[1], bytes).unwrap();
        comes_back(&paths[1])
    });
}

/// CRC-32 of IEEE 802.3, bit by bit.
fn crc32(bytes: &[u8]) -> u32 {
    let step = |crc: u32, _| if crc & 1 == 1 { crc >> 1 ^ 0xedb8_8320 } else { crc >> 1 };
    !bytes.iter().fold(!0, |crc, byte| (0..8).fold(crc ^ u32::from(*byte), step))
}

/// A zip of these files, unpacked, whose sums are right.
fn zip(files: &[(&str, Vec<u8>)]) -> Vec<u8> {
    let (mut bytes, mut directory) = (Vec::new(), Vec::new());
    for (name, file) in files {
        let (begin, size) = ((bytes.len() as u32).to_le_bytes(), (file.len() as u32).to_le_bytes());
        let entry = [
            &[20, 0, 0, 0, 0, 0, 0, 0, 0, 0][..],
            &crc32(file).to_le_bytes(),
            &size,
            &size,
            &(name.len() as u16).to_le_bytes(),
            &[0, 0],
        ]
        .concat();
        bytes.extend([b"PK\x03\x04", &*entry, name.as_bytes(), file].concat());
        directory.extend([b"PK\x01\x02\x14\x00", &*entry, &[0; 10], &begin, name.as_bytes()].concat());
    }
    let [begin, size] = [bytes.len() as u32, directory.len() as u32].map(u32::to_le_bytes);
    let count = (files.len() as u16).to_le_bytes();
    bytes.extend(directory);
    bytes.extend([b"PK\x05\x06\0\0\0\0", &count[..], &count, &size, &begin, &[0, 0]].concat());
    bytes
}

/// An array of `NumPy`.
fn npy(kind: &str, shape: &str, data: &[u8]) -> Vec<u8> {
    let header = format!("{{'descr': '{kind}', 'fortran_order': False, 'shape': ({shape}), }}\n");
    [b"\x93NUMPY\x01\0", &(header.len() as u16).to_le_bytes()[..], header.as_bytes(), data].concat()
}

fn floats(numbers: &[f64]) -> Vec<u8> {
    numbers.iter().flat_map(|number| number.to_le_bytes()).collect()
}

/// An npz with one array that lies, or bytes that are wrong.
fn arrays(dice: &mut Dice, caption: &[u8]) -> Vec<u8> {
    const SHAPES: [&str; 9] = [
        "2,",
        "3,",
        "2, 3",
        "3, 2",
        "",
        "0, 3",
        "18446744073709551615, 2",
        "1099511627776,",
        "4294967296, 4294967296",
    ];
    const KINDS: [&str; 8] = ["<f8", "<f4", "|u1", ">f8", "<i8", "<", "é", "<f99999999999999999999"];
    let whole = surface();
    let losses: Vec<f64> = whole.loss.iter().flatten().map(|loss| loss.unwrap_or(f64::NAN)).collect();
    let parts = [
        ("alphas.npy", "3,", floats(&whole.alphas)),
        ("betas.npy", "2,", floats(&whole.betas)),
        ("loss.npy", "2, 3", floats(&losses)),
    ];
    let mut files: Vec<(&str, Vec<u8>)> = parts
        .into_iter()
        .map(|(name, shape, data)| {
            let shape = if dice.one_in(6) { *dice.pick(&SHAPES) } else { shape };
            let kind = if dice.one_in(8) { *dice.pick(&KINDS) } else { "<f8" };
            (name, npy(kind, shape, &data))
        })
        .collect();
    let count = format!("{},", caption.len());
    files.push(("caption.npy", npy("|u1", &count, caption)));
    let at = dice.below(files.len());
    match dice.below(6) {
        0 => files[at].1 = dice.spoil_near(&files[at].1, 120),
        1 => drop(files.remove(at)),
        2 => files[at].0 = *dice.pick(&["\u{1b}[31m.npy", "../loss.npy", "loss.npy", ""]),
        3 => files[at].1[6] = dice.below(4) as u8,
        _ => {}
    }
    let bytes = zip(&files);
    match dice.below(4) {
        0 => dice.spoil(&bytes),
        // The directory is at the end.
        1 => {
            let tail = bytes.len() - 300;
            [&bytes[..tail], &dice.spoil(&bytes[tail..])].concat()
        }
        _ => bytes,
    }
}

#[test]
fn spoilt_slices_of_npz_are_gone_on_with_or_refused() {
    let folder = TempDir::new().unwrap();
    let path = folder.path().join("s.npz");
    surface().write(&path).unwrap();
    assert!(comes_back(&path));
    let caption = serde_json::to_value(surface().caption).unwrap();
    let make = |dice: &mut Dice| {
        let caption =
            if dice.one_in(4) { dice.spoil_json(&caption) } else { caption.to_string().into_bytes() };
        arrays(dice, &caption)
    };
    cases("slices as npz", FILES, make, |bytes| {
        fs::write(&path, bytes).unwrap();
        comes_back(&path)
    });
}
