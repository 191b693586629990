//! Slices over steps as a series of surfaces for `ParaView`.

use std::io::{Error, Result, Write};
use std::path::Path;

use super::surface::Surface;

/// Writes the surface of each step as a `.vtp` beside `path` and then `path` itself, the collection that names them
/// with their steps as times (VTK's "File Formats", `.pvd`). Files of these names are replaced.
pub fn series(path: &Path, surfaces: impl Iterator<Item = (u64, Surface)>) -> Result<()> {
    let stem = path.file_stem().and_then(|stem| stem.to_str());
    let stem = stem.ok_or_else(|| Error::other("the name is no text"))?;
    let mut parts = String::new();
    for (step, surface) in surfaces {
        let name = format!("{stem}-{step:06}.vtp");
        surface.write(&path.with_file_name(&name)).map_err(Error::other)?;
        let name = super::xml::escape(&name);
        parts.push_str(&format!("<DataSet timestep=\"{step}\" part=\"0\" file=\"{name}\"/>\n"));
    }
    let collection = format!(
        "<?xml version=\"1.0\"?>\n<VTKFile type=\"Collection\" version=\"0.1\" byte_order=\"LittleEndian\">\n\
         <Collection>\n{parts}</Collection>\n</VTKFile>\n"
    );
    super::replace(path, |file| file.write_all(collection.as_bytes()))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::protocol::Slice;
    use crate::ui::fixture;

    #[test]
    fn a_collection_names_a_surface_for_each_step() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("run & more.pvd");
        let slices = fixture::film(3);
        let shown = |slice: &Slice| (slice.step, Surface::shown("tidy-otter".to_owned(), slice));
        series(&path, slices.iter().map(shown)).unwrap();
        let text = std::fs::read_to_string(&path).unwrap();
        for slice in &slices {
            let named = format!(
                "timestep=\"{}\" part=\"0\" file=\"run &amp; more-{:06}.vtp\"",
                slice.step, slice.step
            );
            assert!(text.contains(&named), "{text}");
            let surface = folder.path().join(format!("run & more-{:06}.vtp", slice.step));
            let points = slice.loss.iter().filter(|loss| loss.is_finite()).count();
            let surface = std::fs::read_to_string(surface).unwrap();
            assert!(surface.contains(&format!("NumberOfPoints=\"{points}\"")));
        }
        assert_eq!(std::fs::read_dir(folder.path()).unwrap().count(), 4);
    }
}
