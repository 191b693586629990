//! The poster: what stands on it, what it refuses, and how it goes on.

// What fails to unwrap fails the test; the numbers that are compared are exact.
#![allow(clippy::unwrap_used, clippy::float_cmp)]

mod program;

use std::path::Path;
use std::process::Output;

use llamascape::export::poster::{Colors, Layout, Panel, Paper, Poster, View, segments};
use serde_json::Value;
use tempfile::TempDir;

const TEXT: &str = "The capital of France is Paris";

fn fixture(name: &str) -> String {
    let path = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/fixtures").join(name);
    path.to_str().unwrap().to_owned()
}

fn run(folder: &Path, arguments: &[&str]) -> Output {
    program::llamascape(Path::new(env!("CARGO_TARGET_TMPDIR")), arguments)
        .current_dir(folder)
        .output()
        .unwrap()
}

/// The poster of a command that must succeed; it leaves nothing else behind.
fn poster(folder: &Path, arguments: &[&str]) -> String {
    let output = run(folder, &[&["poster"], arguments, &["--quiet"]].concat());
    assert!(output.status.success(), "{arguments:?}: {}", String::from_utf8_lossy(&output.stderr));
    let svg = std::fs::read_to_string(folder.join("poster.svg")).unwrap();
    resvg::usvg::roxmltree::Document::parse(&svg).unwrap();
    svg
}

/// All that is written on a poster, in the order of the file; lines that were wrapped are one.
fn words(svg: &str) -> String {
    let texts = svg.split("<text ").skip(1).map(|rest| {
        let (_, text) = rest.split_once('>').unwrap();
        text.split_once("</text>").unwrap().0
    });
    texts.collect::<Vec<_>>().join(" ")
}

/// A poster of surfaces of this function over -1:1, with so many points a side.
fn drawn(side: usize, losses: &[&dyn Fn(f64, f64) -> f64], change: impl FnOnce(&mut Poster)) -> String {
    let places: Vec<f64> = (0..side).map(|i| 2.0 * i as f64 / (side - 1) as f64 - 1.0).collect();
    let panel = |loss: &&dyn Fn(f64, f64) -> f64| Panel {
        name: "a <model>".to_owned(),
        facts: vec!["mean loss of 5 tokens".to_owned()],
        loss: places.iter().flat_map(|beta| places.iter().map(|alpha| loss(*alpha, *beta))).collect(),
        alphas: places.clone(),
        betas: places.clone(),
        lines: None,
        weights: loss(0.0, 0.0),
    };
    let mut poster = Poster {
        title: "A & B".to_owned(),
        foot: "llamascape".to_owned(),
        layout: Layout::new(Paper::parse("A3").unwrap(), None, losses.len()).unwrap(),
        panels: losses.iter().map(panel).collect(),
        colors: Colors {
            paper: [255; 3],
            ink: [0; 3],
            muted: [90; 3],
            bad: [200, 0, 0],
            stops: vec![[0, 0, 0], [200, 200, 200]],
        },
        view: View::Surface { turn: 30.0, tilt: 35.0 },
        log: false,
        own_scales: false,
        unit: "nats a token",
    };
    change(&mut poster);
    let svg = poster.svg();
    resvg::usvg::roxmltree::Document::parse(&svg).unwrap();
    svg
}

/// The grey of each quadrangle, in the order in which they are painted.
fn greys(svg: &str) -> Vec<u8> {
    let quads = svg.lines().filter(|line| line.starts_with("<path d=\"M") && line.contains("z\" fill=\"#"));
    quads.map(|line| u8::from_str_radix(&line.split("fill=\"#").nth(1).unwrap()[..2], 16).unwrap()).collect()
}

#[test]
fn the_contours_of_a_paraboloid_are_circles() {
    let (side, step) = (40, 0.05);
    let height = |x: f64, y: f64| x * x + y * y;
    let mut lines = 0;
    for (row, column) in (0..side).flat_map(|row| (0..side).map(move |column| (row, column))) {
        let (x, y) = (f64::from(column) * step - 1.0, f64::from(row) * step - 1.0);
        let corners = [height(x, y), height(x + step, y), height(x + step, y + step), height(x, y + step)];
        for [s, t] in segments(corners, 0.49).into_iter().flatten() {
            let radius = (x + s * step).hypot(y + t * step);
            assert!((radius - 0.7).abs() < 1e-3, "{radius}");
            lines += 1;
        }
    }
    // A circle of this radius crosses a row or a column of squares at each quarter this often.
    assert!(lines > 2 * 4 * 14, "{lines}");
}

#[test]
fn opposite_corners_are_joined_where_the_middle_is_and_what_is_not_finite_has_no_contour() {
    let saddle = |level| segments([1.0, 0.0, 1.0, 0.0], level);
    assert_eq!(saddle(0.625), [[[0.0, 0.375], [0.375, 0.0]], [[1.0, 0.625], [0.625, 1.0]]]);
    assert_eq!(saddle(0.375), [[[0.625, 0.0], [1.0, 0.375]], [[0.375, 1.0], [0.0, 0.625]]]);
    assert_eq!(segments([0.0; 4], 0.5).len() + segments([1.0; 4], 0.5).len(), 0);
    assert!(segments([f64::NAN, 0.0, 1.0, 1.0], 0.5).is_empty());
    assert_eq!(segments([0.0, 0.0, 1.0, 1.0], 0.25), [[[1.0, 0.25], [0.0, 0.25]]]);
}

#[test]
fn colours_follow_the_loss() {
    // On a slope the light is the same everywhere.
    let svg = drawn(9, &[&|alpha, _| 3.0 + alpha], |poster| poster.view = View::Relief);
    let greys = greys(&svg);
    assert_eq!(greys.len(), 64);
    for row in greys.chunks(8) {
        assert!(row.windows(2).all(|pair| pair[0] > pair[1]), "painted from the right: {row:?}");
    }
}

#[test]
fn a_map_has_the_bare_colours_of_the_losses() {
    let height = |alpha: f64, beta: f64| (5.0 * alpha).sin() + beta;
    let svg = drawn(9, &[&height], |poster| poster.view = View::Map);
    let place = |index: i32| f64::from(index) / 4.0 - 1.0;
    // A quadrangle has the mean of its corners, in shares of what lies between the least and the greatest.
    let points = || (0..9).flat_map(|row| (0..9).map(move |column| height(place(column), place(row))));
    let (low, high) =
        points().fold((f64::MAX, f64::MIN), |(low, high), loss| (low.min(loss), high.max(loss)));
    let mean = |row: i32, column: i32| {
        let corners = [(0, 0), (1, 0), (1, 1), (0, 1)];
        corners.map(|(right, up)| height(place(column + right), place(row + up))).iter().sum::<f64>() / 4.0
    };
    let shares = (0..8).rev().flat_map(|row| (0..8).rev().map(move |column| (row, column)));
    let shares = shares.map(|(row, column)| (mean(row, column) - low) / (high - low));
    for (grey, share) in greys(&svg).into_iter().zip(shares) {
        assert!((f64::from(grey) - 200.0 * share).abs() <= 1.0, "{grey} for {share}");
    }
    assert!(words(&svg).contains(" colour from ") && !words(&svg).contains("height"), "{}", words(&svg));
}

#[test]
fn no_numbers_of_a_surface_lie_on_each_other_however_it_is_turned() {
    for turn in (0..360).step_by(5).map(f64::from) {
        let svg = drawn(3, &[&|alpha, beta| 12.34 + alpha * beta], |poster| {
            poster.view = View::Surface { turn, tilt: 35.0 };
        });
        let document = resvg::usvg::roxmltree::Document::parse(&svg).unwrap();
        let texts = document.descendants().filter(|node| node.has_tag_name("text"));
        let boxes: Vec<(String, [f64; 4])> = texts
            .map(|node| {
                let number = |name| node.attribute(name).unwrap().parse::<f64>().unwrap();
                let (text, size) = (node.text().unwrap(), number("font-size"));
                let width = 0.56 * size * text.chars().count() as f64;
                let left = match node.attribute("text-anchor").unwrap() {
                    "start" => number("x"),
                    "middle" => number("x") - width / 2.0,
                    _ => number("x") - width,
                };
                (text.to_owned(), [left, left + width, number("y") - 0.7 * size, number("y")])
            })
            .collect();
        for (index, (text, a)) in boxes.iter().enumerate() {
            for (other, b) in &boxes[index + 1..] {
                let apart = a[1] <= b[0] || b[1] <= a[0] || a[3] <= b[2] || b[3] <= a[2];
                assert!(apart, "{text} and {other}, turned by {turn}");
            }
        }
    }
}

#[test]
fn panels_share_a_scale_unless_each_has_its_own_and_say_so() {
    let losses: [&dyn Fn(f64, f64) -> f64; 2] = [&|alpha, _| 2.0 + alpha, &|alpha, _| 5.0 + alpha];
    let shared = drawn(3, &losses, |_| ());
    assert_eq!(words(&shared).matches("height and colour from 1 to 6;").count(), 2);
    assert!(words(&shared).contains("one scale for all panels"));
    let own = drawn(3, &losses, |poster| poster.own_scales = true);
    assert!(words(&own).contains("height and colour from 1 to 3;"), "{}", words(&own));
    assert!(words(&own).contains("height and colour from 4 to 6; a scale of its own"));
    assert_eq!(greys(&own)[..4], greys(&own)[4..], "the same shape");
    assert!(greys(&shared)[..4] != greys(&shared)[4..]);
}

#[test]
fn what_is_not_finite_or_cut_is_said_and_shown() {
    let pit = |alpha: f64, beta: f64| match (alpha, beta) {
        (1.0, 1.0) => f64::NAN,
        (-1.0, -1.0) => 1e9,
        _ => 1.0 + alpha * alpha + beta * beta,
    };
    let svg = drawn(21, &[&pit], |_| ());
    let words = words(&svg);
    assert!(words.contains("not finite at 1 of 441 points: hatched"), "{words}");
    assert!(words.contains("points above are cut") && words.contains("1.00e9"), "{words}");
    assert_eq!((greys(&svg).len(), svg.matches("fill=\"url(#hole)\"").count()), (399, 2));
    assert!(words.contains("a &lt;model&gt;") && words.contains("loss 1 at the weights"), "{words}");
    assert!(svg.contains("<title>A &amp; B</title>"));
    let nothing = drawn(3, &[&|_, _| f64::NAN], |poster| poster.log = true);
    assert!(greys(&nothing).is_empty());
}

#[test]
fn a_fine_panel_stays_below_a_megabyte() {
    let waves = |alpha: f64, beta: f64| 3.0 + (7.0 * alpha).sin() * (5.0 * beta).cos() + alpha * alpha;
    let svg = drawn(65, &[&waves], |_| ());
    assert_eq!(greys(&svg).len(), 64 * 64);
    assert!(svg.len() < 1_000_000, "{} bytes", svg.len());
}

#[test]
fn a_poster_of_a_pair_names_both_and_says_what_it_shows() {
    let folder = TempDir::new().unwrap();
    let model = fixture("tiny-hf");
    let pair = [&model[..], &model, "--grid", "9x7", "--range=-0.5:1", "--title", "Before & after"];
    let svg = poster(folder.path(), &pair);
    let words = words(&svg);
    for said in [
        "Before &amp; after",
        "mean loss of",
        "“The capital of France is Paris” #",
        "one pair of random directions",
        "seeds 11 and 111",
        "filter normalisation",
        "d1 from -0.5 to 1, d2 from -0.5 to 1, 9x7 points",
        "one scale for all panels",
        "nats a token",
    ] {
        assert!(words.contains(said), "{said}: {words}");
    }
    assert_eq!(words.matches("tiny-hf").count(), 2 + 2, "two panels, and the command: {words}");
    assert!(words.contains(&format!("poster {model} {model} --grid 9x7 --range=-0.5:1 --title")), "{words}");
    let eval = run(folder.path(), &["eval", &model, "--text", TEXT, "--json"]);
    let eval: Value = serde_json::from_slice(&eval.stdout).unwrap();
    let (before, _) = words.split_once(" at the weights").unwrap();
    let loss: f64 = before.rsplit(' ').next().unwrap().parse().unwrap();
    assert!((loss - eval["loss"].as_f64().unwrap()).abs() < 1e-3, "{loss}");
    assert_eq!(std::fs::read_dir(folder.path()).unwrap().count(), 1, "only the poster is left");

    assert_eq!(svg, poster(folder.path(), &[&pair[..], &["--threads", "1"]].concat()), "it has no date");
    let film = poster(folder.path(), &[&model, "--film", "--grid", "3x3", "--view", "relief", "--log"]);
    let film = self::words(&film);
    assert!(film.contains("layer normalisation") && film.contains("The loss landscape of tiny-hf"), "{film}");
}

#[test]
fn an_interrupted_poster_goes_on_to_the_same_bytes() {
    let folder = TempDir::new().unwrap();
    let model = fixture("tiny-hf");
    let base = [&model[..], &model, "--grid", "9x9"];
    let whole = poster(folder.path(), &base);

    // What an interruption leaves: the first model's losses, and some of the second one's rows.
    let part = |number: usize| folder.path().join(format!("poster.svg.{number}.json"));
    let slice = ["slice", &model, "--text", TEXT, "--grid", "9x9", "--quiet", "--out"];
    for number in [1, 2] {
        let file = part(number);
        assert!(run(folder.path(), &[&slice[..], &[file.to_str().unwrap()]].concat()).status.success());
    }
    let mut torn: Value = serde_json::from_slice(&std::fs::read(part(2)).unwrap()).unwrap();
    for (row, column) in [(1, 4), (6, 0), (6, 8), (7, 3)] {
        torn["loss"][row][column] = Value::Null;
    }
    torn["complete"] = false.into();
    std::fs::write(part(2), torn.to_string()).unwrap();

    let other = run(folder.path(), &[&["poster"], &base[..], &["--resume", "--seeds", "1,2"]].concat());
    let error = String::from_utf8(other.stderr).unwrap();
    assert!(other.status.code() == Some(1) && error.contains("is of another plane"), "{error}");
    assert_eq!(poster(folder.path(), &[&base[..], &["--resume"]].concat()), whole);
    assert!(!part(1).exists() && !part(2).exists());
}

#[test]
fn models_of_other_tokens_are_drawn_on_scales_of_their_own_or_not_at_all() {
    let folder = TempDir::new().unwrap();
    let (a, b) = (fixture("tiny-hf"), fixture("tiny.gguf"));
    let base = [&a[..], &b, "--grid", "3x3"];
    let output = run(folder.path(), &[&["poster"], &base[..]].concat());
    let error = String::from_utf8(output.stderr).unwrap();
    assert!(output.status.code() == Some(1) && error.contains("the tokenizers of tiny-hf and"), "{error}");
    assert!(error.contains("--own-scale") && error.lines().count() == 1, "{error}");
    assert_eq!(std::fs::read_dir(folder.path()).unwrap().count(), 0);
    let own = poster(folder.path(), &[&base[..], &["--own-scale"]].concat());
    assert_eq!(words(&own).matches("a scale of its own").count(), 2);
}

#[test]
fn a_poster_in_pixels_is_the_same_picture_with_its_text() {
    let folder = TempDir::new().unwrap();
    let model = fixture("tiny-hf");
    let flags =
        ["poster", &model, "--grid", "5x5", "--paper", "A5", "--dpi", "72", "--out", "p.png", "--quiet"];
    let pixels = |title: &str| {
        let output = run(folder.path(), &[&flags[..], &["--title", title]].concat());
        assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
        let file = std::fs::File::open(folder.path().join("p.png")).unwrap();
        let mut reader = png::Decoder::new(std::io::BufReader::new(file)).read_info().unwrap();
        let (width, height) = (reader.info().width, reader.info().height);
        let mut pixels = vec![0; reader.output_buffer_size().unwrap()];
        reader.next_frame(&mut pixels).unwrap();
        // 148 x 210 mm at 72 dots an inch.
        assert_eq!((width, height), (420, 596));
        pixels
    };
    let [plain, titled] = [" ", "Landscapes"].map(pixels);
    let differ = plain.chunks(4).zip(titled.chunks(4)).filter(|(a, b)| a != b).count();
    assert!(differ > 200, "the title has {differ} pixels");
    assert!(plain.chunks(4).collect::<std::collections::HashSet<_>>().len() > 20, "a picture has colours");
}

#[test]
fn what_makes_no_poster_is_refused_before_it_is_computed() {
    let folder = TempDir::new().unwrap();
    let model = fixture("tiny-hf");
    let refused = |flags: &[&str]| {
        let output = run(folder.path(), &[&["poster", &model], flags].concat());
        let error = String::from_utf8(output.stderr).unwrap();
        assert!(output.stdout.is_empty(), "{flags:?}");
        (output.status.code().unwrap(), error)
    };
    for (wanted, flags, said) in [
        (1, vec!["--text", ""], "token: a prompt needs two"),
        (2, vec!["--grid", "9x1"], "two points a side at least"),
        (2, vec!["--seeds", "1"], "two seeds"),
        (1, vec!["--seeds", "5,5"], "the same but for their length"),
        (2, vec!["--range", "0:0"], "need a width"),
        (1, vec!["--layers", "0..9"], "which has 2"),
        (2, vec!["--theme", "nowhere"], "--theme"),
        (2, vec!["--out", "poster.pdf"], "must end in .svg or .png"),
        (1, vec!["--out", "no/folder/p.svg"], "no/folder"),
        (1, vec!["--memory", "100k"], "kB are allowed"),
        (1, vec!["./nowhere"], "nowhere"),
    ] {
        let (code, error) = refused(&flags);
        assert!(code == wanted && error.contains(said), "{flags:?}: {code} {error}");
        assert!(error.starts_with("llamascape: "), "{flags:?}: {error}");
    }
    let many = vec![&model[..]; 30];
    let (code, error) = refused(&[&many[..], &["--paper", "A5"]].concat());
    assert!(code == 1 && error.contains("31 panels"), "{error}");
    for flags in [
        &["--paper", "A9"][..],
        &["--view", "sideways"],
        &["--tilt", "90"],
        &["--turn", "x"],
        &["--dpi", "1"],
        &["--film", "--norm", "filter"],
    ] {
        assert_eq!(refused(flags).0, 2, "{flags:?}");
    }
    assert_eq!(run(folder.path(), &["poster"]).status.code(), Some(2));
    assert_eq!(std::fs::read_dir(folder.path()).unwrap().count(), 0, "nothing is left behind");
}
