//! The landscape as a picture, over the cells that show it, in terminals that have pictures.
//!
//! A picture costs more bytes than cells do. So it is drawn only where the person chooses it, in the few colours of the
//! levels, and encoded and sent once, until there is something else to see.

use image::{DynamicImage, RgbImage};
use ratatui::buffer::Buffer;
use ratatui::crossterm::terminal as tty;
use ratatui::layout::Size;
use ratatui::widgets::Widget;
use ratatui_image::Image;
use ratatui_image::protocol::{Protocol, iterm2, kitty, sixel};

use super::query::{Answer, CELL, KITTY};
use crate::theme::Theme;
use crate::ui::PixelMap;

/// Pixels a side that are computed at most: where a picture has more, they are repeated.
const DETAIL: u32 = 512;
/// Cells a side that can be named to kitty.
const MOST_CELLS: u16 = 297;
/// Width and height of a cell in pixels, where nobody tells.
const CELL_SIZE: (u16, u16) = (8, 16);

/// How a terminal shows pictures.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Graphics {
    /// The graphics protocol of kitty, with its placeholders.
    Kitty,
    /// Sixel, as the VT340 had it.
    Sixel,
    /// The inline images of iTerm2.
    ITerm2,
}

impl Graphics {
    /// What it is called.
    pub fn name(self) -> &'static str {
        match self {
            Self::Kitty => "kitty graphics",
            Self::Sixel => "sixel",
            Self::ITerm2 => "iTerm2 images",
        }
    }

    /// By what the terminal has answered, and what the environment says it is.
    pub(super) fn of(answer: &Answer, variable: impl Fn(&str) -> String) -> Option<Self> {
        // Images of iTerm2 can't be asked for. These have them, and of the other two at most a part.
        const NAMES: [&str; 5] = ["iTerm", "WezTerm", "mintty", "rio", "Bobcat"];
        let program = variable("TERM_PROGRAM");
        let is_named = NAMES.iter().any(|name| program.starts_with(name))
            || variable("LC_TERMINAL").starts_with("iTerm")
            || !variable("WEZTERM_EXECUTABLE").is_empty();
        if !is_asked(&variable) {
            None
        } else if is_named {
            Some(Self::ITerm2)
        } else if !variable("KONSOLE_VERSION").is_empty() {
            // It has no placeholders, and leaves sixel behind.
            None
        } else if answer.kitty == Some(true) {
            Some(Self::Kitty)
        } else {
            answer.sixel.then_some(Self::Sixel)
        }
    }
}

/// A variable of the environment; empty where it is not set.
pub(super) fn variable(name: &str) -> String {
    std::env::var(name).unwrap_or_default()
}

/// What to ask a terminal about pictures: nothing where it should not be asked.
pub(super) fn questions() -> Vec<u8> {
    if is_asked(&variable) { [KITTY, CELL].concat() } else { Vec::new() }
}

/// Whether a terminal like this one is asked. tmux and GNU Screen keep cells alone, over which a picture would stay
/// behind; Apple's terminal and the Linux console write the question out.
fn is_asked(variable: &impl Fn(&str) -> String) -> bool {
    let term = variable("TERM");
    let is_inside = term.starts_with("tmux") || term.starts_with("screen");
    let is_plain = matches!(term.as_str(), "" | "dumb" | "linux");
    let is_free = variable("TMUX").is_empty() && variable("STY").is_empty();
    is_free && !is_inside && !is_plain && variable("TERM_PROGRAM") != "Apple_Terminal"
}

/// Width and height of a cell in pixels as the window tells it.
pub(super) fn cell_of_window() -> Option<(u16, u16)> {
    let window = tty::window_size().ok()?;
    let cell = (window.width.checked_div(window.columns)?, window.height.checked_div(window.rows)?);
    is_cell(cell).then_some(cell)
}

/// Whether a cell can be that large. A wrong size would lead a picture out of its pane.
fn is_cell((width, height): (u16, u16)) -> bool {
    (3..=128).contains(&width) && (3..=128).contains(&height)
}

/// The pictures of a terminal: how it shows them, and those that it has.
#[derive(Default)]
pub(super) struct Pictures {
    /// `None` where there are none.
    graphics: Option<Graphics>,
    /// The terminal was asked and has not answered: it may do so while keys are read.
    pub(super) is_awaited: bool,
    /// Width and height of a cell in pixels.
    cell: (u16, u16),
    /// The same as the window told it last.
    window: Option<(u16, u16)>,
    /// One of each map.
    kept: Vec<Kept>,
    /// Pictures so far.
    count: u8,
    /// What has the terminal forget pictures that are shown no more.
    farewell: String,
}

/// A picture that is encoded.
struct Kept {
    /// The number of the map.
    number: u8,
    /// The number that kitty knows it by.
    id: u32,
    /// What it was made of: the map, the cells, and their size in pixels.
    key: (u64, Size, (u16, u16)),
    /// Nothing where it can't be encoded.
    protocol: Option<Protocol>,
}

impl Pictures {
    /// Those of the terminal that has answered so.
    pub(super) fn new(answer: &Answer) -> Self {
        let window = cell_of_window();
        Self {
            graphics: Graphics::of(answer, variable),
            is_awaited: !questions().is_empty() && !answer.is_whole,
            cell: answer.cell.filter(|cell| is_cell(*cell)).or(window).unwrap_or(CELL_SIZE),
            window,
            ..Self::default()
        }
    }

    /// Whether there are any.
    pub(super) fn are_shown(&self) -> bool {
        self.graphics.is_some()
    }

    /// Takes in what the window tells of its cells: with another font they have another size.
    pub(super) fn measure(&mut self, window: Option<(u16, u16)>) {
        if window != self.window {
            self.window = window;
            self.cell = window.unwrap_or(self.cell);
        }
    }

    /// Draws a map over its cells. Those but the first are skipped when the buffer goes to the terminal, or hold
    /// kitty's placeholders: what is the same in the next frame is not sent again, and where cells come back, they
    /// write over the picture.
    pub(super) fn draw(&mut self, map: &PixelMap, theme: &Theme, buffer: &mut Buffer) {
        let (Some(graphics), area) = (self.graphics, map.cells) else { return };
        // After the first cell the cursor is taken to be in the second.
        let fits = area.width > 1 && area.height > 0 && area.width.max(area.height) <= MOST_CELLS;
        if !fits || buffer.area.intersection(area) != area {
            return;
        }
        let (width, height) =
            (u32::from(area.width) * u32::from(self.cell.0), u32::from(area.height) * u32::from(self.cell.1));
        let key = (map.fingerprint(width, height), area.as_size(), self.cell);
        let place = match self.kept.iter().position(|kept| kept.number == map.number) {
            Some(place) if self.kept[place].key == key => place,
            before => {
                if let Some(place) = before {
                    let outdated = self.kept.swap_remove(place);
                    self.part_with(&outdated);
                }
                let id = self.next_id();
                let protocol = encode(graphics, picture(map, width, height), area.as_size(), id);
                self.kept.push(Kept { number: map.number, id, key, protocol });
                self.kept.len() - 1
            }
        };
        let Some(protocol) = &self.kept[place].protocol else { return };
        for place in area.positions() {
            let cell = &mut buffer[place];
            cell.reset();
            cell.set_style(theme.palette.base);
        }
        Image::new(protocol).render(area, buffer);
    }

    /// kitty's number of the next picture: another one than those that are kept have, and none of another program.
    fn next_id(&mut self) -> u32 {
        loop {
            self.count = self.count.wrapping_add(1);
            let id = std::process::id() << 8 | u32::from(self.count);
            if self.kept.iter().all(|kept| kept.id != id) {
                return id;
            }
        }
    }

    /// Forgets the pictures that are kept. What has the terminal do so, too, is in [`Self::farewell`].
    pub(super) fn forget(&mut self) {
        for kept in std::mem::take(&mut self.kept) {
            self.part_with(&kept);
        }
    }

    /// Only kitty keeps what no cell shows.
    fn part_with(&mut self, kept: &Kept) {
        if let Some(Protocol::Kitty(_)) = kept.protocol {
            self.farewell.push_str(&format!("\x1b_Ga=d,d=I,i={},q=2\x1b\\", kept.id));
        }
    }

    /// What the terminal is to be told after a frame.
    pub(super) fn farewell(&mut self) -> String {
        std::mem::take(&mut self.farewell)
    }
}

/// A map as a picture of that many pixels.
fn picture(map: &PixelMap, width: u32, height: u32) -> DynamicImage {
    let times = width.max(height).div_ceil(DETAIL).max(1);
    let (columns, rows) = (width.div_ceil(times), height.div_ceil(times));
    let pixels = map.pixels(columns, rows);
    let pixel = |x: u32, y: u32| {
        let at = 3 * (y / times * columns + x / times) as usize;
        image::Rgb([pixels[at], pixels[at + 1], pixels[at + 2]])
    };
    RgbImage::from_fn(width, height, pixel).into()
}

/// A picture as it is sent, to cover that many cells. `None` where that can't be done.
fn encode(graphics: Graphics, picture: DynamicImage, size: Size, id: u32) -> Option<Protocol> {
    match graphics {
        // The terminal was asked for just that: compressed, and outside of tmux.
        Graphics::Kitty => kitty::Kitty::new(picture, size, id, false, true).ok().map(Protocol::Kitty),
        Graphics::Sixel => sixel::Sixel::new(picture, size, false).ok().map(Protocol::Sixel),
        Graphics::ITerm2 => iterm2::Iterm2::new(picture, size, false).ok().map(Protocol::ITerm2),
    }
}

#[cfg(test)]
mod tests {
    use ratatui::layout::Rect;
    use ratatui::prelude::CrosstermBackend;
    use ratatui::{TerminalOptions, Viewport};

    use super::super::Frame;
    use super::*;
    use crate::app::comparison::Comparison;
    use crate::app::{App, Chosen, Marker, Modal};
    use crate::theme::ColorDepth;
    use crate::ui::{self, fixture};

    const ALL: [Graphics; 3] = [Graphics::Kitty, Graphics::Sixel, Graphics::ITerm2];

    /// A screen with a landscape in pixels, on a terminal that shows pictures.
    struct Screen {
        app: App,
        theme: Theme,
        graphics: Graphics,
        pictures: Pictures,
        frame: Frame,
        terminal: ratatui::Terminal<CrosstermBackend<Frame>>,
    }

    impl Screen {
        fn new(graphics: Graphics) -> Self {
            let mut app = fixture::app();
            app.view.landscape.marker = Marker::Picture;
            let theme = Theme::named("dark", ColorDepth::True).unwrap();
            let frame = Frame::default();
            let viewport = Viewport::Fixed(Rect::new(0, 0, 100, 30));
            let backend = CrosstermBackend::new(frame.clone());
            let terminal = ratatui::Terminal::with_options(backend, TerminalOptions { viewport }).unwrap();
            let pictures = Pictures { graphics: Some(graphics), cell: CELL_SIZE, ..Pictures::default() };
            Self { app, theme, graphics, pictures, frame, terminal }
        }

        /// What is sent to draw it.
        fn drawn(&mut self) -> String {
            let Self { app, theme, pictures, terminal, .. } = self;
            terminal
                .draw(|frame| {
                    ui::view(app, theme, frame);
                    for map in ui::pixel_maps(app, theme, frame.area()) {
                        pictures.draw(&map, theme, frame.buffer_mut());
                    }
                })
                .unwrap();
            String::from_utf8(self.frame.take()).unwrap() + &self.pictures.farewell()
        }

        /// How many pictures are in what is sent to draw it.
        fn sent(&mut self) -> usize {
            let begin = match self.graphics {
                Graphics::Kitty => "a=T",
                Graphics::Sixel => "\x1bP",
                Graphics::ITerm2 => "]1337;File=",
            };
            self.drawn().matches(begin).count()
        }
    }

    #[test]
    fn a_picture_is_sent_once_until_there_is_something_else_to_see() {
        for graphics in ALL {
            let mut screen = Screen::new(graphics);
            assert_eq!(screen.sent(), 1, "{graphics:?}");
            screen.app.engine.status.as_mut().unwrap().step = 777;
            let numbers = screen.drawn();
            assert!(numbers.contains("777") && numbers.len() < 4000, "{graphics:?}: {}", numbers.len());
            assert_eq!(screen.sent(), 0, "{graphics:?}");
            screen.app.view.landscape.chosen = Some(Chosen { alpha: 0.5, beta: -0.5 });
            assert_eq!(screen.sent(), 1, "{graphics:?}: with a cursor");
        }
    }

    #[test]
    fn what_lies_over_the_screen_hides_the_picture_and_cells_come_back_for_it() {
        for (graphics, again) in [(Graphics::Kitty, 0), (Graphics::Sixel, 1), (Graphics::ITerm2, 1)] {
            let mut screen = Screen::new(graphics);
            screen.drawn();
            let is_braille = |c: char| ('\u{2801}'..='\u{28ff}').contains(&c);
            screen.app.view.modal = Some(Modal::Leave);
            let under = screen.drawn();
            assert!(
                under.chars().filter(|c| is_braille(*c)).count() > 50 && under.len() < 60_000,
                "{graphics:?}"
            );
            screen.app.view.modal = None;
            // kitty has kept it.
            assert_eq!(screen.sent(), again, "{graphics:?}");
            screen.app.view.landscape.marker = Marker::Braille;
            assert_eq!(screen.sent(), 0, "{graphics:?}");
        }
    }

    #[test]
    fn kitty_is_told_to_forget_what_it_has_kept() {
        let mut screen = Screen::new(Graphics::Kitty);
        let forget = |id: u32| format!("\x1b_Ga=d,d=I,i={id},q=2\x1b\\");
        let first = screen.drawn();
        let number = screen.pictures.kept[0].id;
        assert!(
            first.contains(&format!("i={number},a=T"))
                && first.contains("o=z")
                && first.contains('\u{10EEEE}')
        );
        assert!(!first.contains("a=d"));
        screen.app.view.landscape.map += 1;
        let second = screen.drawn();
        assert!(
            second.ends_with(&forget(number)) && screen.pictures.kept[0].id != number,
            "after the new one is there"
        );
        let number = screen.pictures.kept[0].id;
        screen.pictures.forget();
        assert_eq!(screen.pictures.farewell(), forget(number));
        screen.pictures.forget();
        assert_eq!(screen.pictures.farewell(), "", "nothing is kept");
        assert_eq!(screen.sent(), 1, "it is sent again to a terminal that was given back");

        let mut sixel = Screen::new(Graphics::Sixel);
        sixel.drawn();
        sixel.pictures.forget();
        assert_eq!(sixel.pictures.farewell(), "");
    }

    #[test]
    fn two_maps_have_a_picture_each_and_only_the_one_that_changes_is_sent_again() {
        let (Screen { theme, .. }, mut app) = (Screen::new(Graphics::Kitty), ui::comparison::fixture::live());
        app.landscape.marker = Marker::Picture;
        let area = Rect::new(0, 0, 120, 40);
        let mut pictures =
            Pictures { graphics: Some(Graphics::Kitty), cell: CELL_SIZE, ..Pictures::default() };
        let mut ids = |app: &Comparison| {
            let mut buffer = Buffer::empty(area);
            for map in ui::comparison::pixel_maps(app, &theme, area) {
                pictures.draw(&map, &theme, &mut buffer);
            }
            let id = |number| pictures.kept.iter().find(|kept| kept.number == number).map(|kept| kept.id);
            ([id(0).unwrap(), id(1).unwrap()], pictures.farewell().matches("a=d").count())
        };
        let (first, none) = ids(&app);
        assert!(first[0] != first[1] && none == 0);
        assert_eq!(ids(&app), (first, 0), "nothing has changed");
        let drift =
            crate::protocol::Drift { distance: 1.0, inside: [0.5, 0.5], captured: None, step_length: None };
        app.scene.sides[1].drift = Some(drift);
        let (second, forgotten) = ids(&app);
        assert!(second[0] == first[0] && second[1] != first[1] && forgotten == 1);
        app.landscape.chosen = Some(Chosen { alpha: 0.5, beta: 0.5 });
        assert_eq!(ids(&app).1, 2, "the cursor is on both");
    }

    #[test]
    fn without_pictures_and_out_of_place_the_cells_stay() {
        let mut screen = Screen::new(Graphics::Sixel);
        screen.pictures = Pictures::default();
        assert!(screen.sent() == 0 && !screen.pictures.are_shown());

        let screen = Screen::new(Graphics::Sixel);
        let (mut pictures, small) = (screen.pictures, Buffer::empty(Rect::new(0, 0, 20, 10)));
        let map = &ui::pixel_maps(&screen.app, &screen.theme, Rect::new(0, 0, 100, 30))[0];
        let mut buffer = small.clone();
        pictures.draw(map, &screen.theme, &mut buffer);
        assert_eq!(buffer, small);
    }

    #[test]
    fn a_picture_covers_its_cells_to_the_pixel_whatever_its_detail() {
        let screen = Screen::new(Graphics::Sixel);
        let map = &ui::pixel_maps(&screen.app, &screen.theme, Rect::new(0, 0, 100, 30))[0];
        for (width, height) in [(8, 16), (512, 300), (513, 300), (1601, 1025)] {
            let picture = picture(map, width, height);
            assert_eq!((picture.width(), picture.height()), (width, height));
        }
    }

    #[test]
    fn another_font_has_cells_of_another_size() {
        let mut pictures = Pictures { cell: (9, 18), window: Some((10, 20)), ..Pictures::default() };
        pictures.measure(Some((10, 20)));
        assert_eq!(pictures.cell, (9, 18), "the terminal itself knows best");
        pictures.measure(Some((12, 24)));
        assert_eq!(pictures.cell, (12, 24));
        pictures.measure(None);
        assert_eq!(pictures.cell, (12, 24));
        assert!(is_cell((8, 16)) && !is_cell((0, 16)) && !is_cell((8, 9000)));
    }

    #[test]
    fn the_answers_and_the_name_of_a_terminal_say_how_it_shows_pictures() {
        let kitty = Answer::read(b"\x1b_Gi=31;OK\x1b\\\x1b[?62;4c");
        let [sixel, nothing] = [b"\x1b[?62;4c".as_slice(), b"\x1b[?62c"].map(Answer::read);
        let found = |answer: &Answer, variables: &[(&str, &str)]| {
            let value = |name: &str| {
                let set = variables.iter().rfind(|(known, _)| *known == name);
                let plain = if name == "TERM" { "xterm-256color" } else { "" };
                set.map_or(plain, |(_, value)| *value).to_owned()
            };
            Graphics::of(answer, value)
        };
        assert_eq!(found(&kitty, &[]), Some(Graphics::Kitty));
        assert_eq!(found(&sixel, &[]), Some(Graphics::Sixel));
        assert_eq!(found(&nothing, &[]), None);
        for named in [("TERM_PROGRAM", "iTerm.app"), ("LC_TERMINAL", "iTerm2"), ("WEZTERM_EXECUTABLE", "/w")]
        {
            assert_eq!(found(&kitty, &[named]), Some(Graphics::ITerm2), "{named:?}");
        }
        for inside in [("TMUX", "/tmp/tmux"), ("STY", "1.a"), ("TERM", "tmux-256color"), ("TERM", "screen")] {
            assert_eq!(found(&kitty, &[("LC_TERMINAL", "iTerm2"), inside]), None, "{inside:?}");
        }
        for other in [("KONSOLE_VERSION", "250400"), ("TERM", "dumb"), ("TERM_PROGRAM", "Apple_Terminal")] {
            assert_eq!(found(&sixel, &[other]), None, "{other:?}");
        }
    }
}
