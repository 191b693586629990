//! What a screen remembers of a run from one time to the next.

use serde::{Deserialize, Serialize};

use super::{Curve, Marker, Stretch, View, ViewState, Viewpoint};

/// How a run was looked at. What is missing is as ever.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default)]
pub struct Remembered {
    /// The theme that was chosen on the screen.
    pub theme: Option<String>,
    /// What was shown.
    pub view: View,
    /// What the cells of the landscape were made of.
    pub marker: Marker,
    /// How the colours were spread over the losses.
    pub stretch: Stretch,
    /// The number of the colour map.
    pub map: usize,
    /// The landscape was a surface.
    pub surface: bool,
    /// From where it was seen.
    pub viewpoint: Viewpoint,
    /// The charts showed logarithms.
    pub log_charts: bool,
    /// What the first chart showed.
    pub curve: Curve,
    /// The log was shown where it is hidden by default, and the other way round.
    pub log_flipped: bool,
}

impl Remembered {
    /// What a view is, with the theme that was chosen on it.
    pub(super) fn of(view: &ViewState, theme: Option<String>) -> Self {
        let landscape = &view.landscape;
        Self {
            theme,
            view: view.shown,
            marker: landscape.marker,
            stretch: landscape.stretch,
            map: landscape.map,
            surface: landscape.relief,
            viewpoint: landscape.viewpoint,
            log_charts: view.log_charts,
            curve: view.curve,
            log_flipped: view.log_flipped,
        }
    }

    /// The view as it was.
    pub(super) fn view(self) -> ViewState {
        let mut view = ViewState {
            shown: self.view,
            log_charts: self.log_charts,
            curve: self.curve,
            log_flipped: self.log_flipped,
            ..ViewState::default()
        };
        view.landscape.marker = self.marker;
        view.landscape.stretch = self.stretch;
        view.landscape.map = self.map;
        view.landscape.relief = self.surface;
        view.landscape.viewpoint = self.viewpoint.whole();
        view
    }
}

#[cfg(test)]
mod tests {
    use ratatui::crossterm::event::{KeyCode, KeyEvent, KeyModifiers};

    use super::*;
    use crate::app::{App, Message, Options};

    fn app(remembered: Remembered) -> App {
        let themes = vec!["dark".to_owned(), "nord".to_owned()];
        App::new(Options { themes, remembered, ..Options::default() })
    }

    fn after(keys: &str, mut app: App) -> Remembered {
        for key in keys.chars() {
            app.update(Message::Key(KeyEvent::new(KeyCode::Char(key), KeyModifiers::NONE)));
        }
        app.remembered()
    }

    #[test]
    fn a_run_is_looked_at_as_the_last_time() {
        let first = after("mLcx>7T5", app(Remembered::default()));
        assert_eq!(first.theme.as_deref(), Some("nord"));
        assert_eq!(
            (first.view, first.marker, first.stretch),
            (View::Layers, Marker::HalfBlock, Stretch::Linear)
        );
        assert!(first.surface && first.log_flipped && first.map == 1 && first.viewpoint.turn == 45);
        let written = serde_json::to_string(&first).unwrap();
        let read: Remembered = serde_json::from_str(&written).unwrap();
        assert_eq!(read, first);
        assert_eq!(after("", app(read)), first, "nothing was changed");
    }

    #[test]
    fn a_theme_that_nobody_chose_on_the_screen_is_not_remembered() {
        assert_eq!(after("m", app(Remembered::default())).theme, None);
    }

    #[test]
    fn what_is_missing_is_as_ever_and_degrees_are_those_that_keys_lead_to() {
        let read: Remembered =
            serde_json::from_str(r#"{"view": "timeline", "viewpoint": {"turn": 1000, "tilt": 89}}"#).unwrap();
        assert_eq!(read.marker, Marker::Braille);
        let again = after("", app(read));
        assert_eq!((again.view, again.viewpoint.turn, again.viewpoint.tilt), (View::Timeline, 270, 75));
    }
}
