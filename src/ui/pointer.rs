//! What the mouse is over.

use ratatui::crossterm::event::MouseEvent;
use ratatui::layout::{Position, Rect};

use crate::app::{Gesture, Pointed};

/// Finds the pane under the mouse; `cells` tells where in a pane its map is, if it has one.
pub(super) fn over<P: Copy>(
    event: MouseEvent,
    panes: &[(P, Rect)],
    cells: impl FnOnce(P, Rect) -> Option<Rect>,
) -> Option<Pointed<P>> {
    let gesture = Gesture::of(event)?;
    let at = Position::new(event.column, event.row);
    let (pane, area) = *panes.iter().find(|(_, area)| area.contains(at))?;
    let place = cells(pane, area).filter(|cells| cells.contains(at)).map(|cells| middle(cells, at));
    Some(Pointed { gesture, pane, place })
}

/// The middle of a cell, from (0, 0) in the lower left corner of the area to (1, 1) in the upper right one.
fn middle(area: Rect, cell: Position) -> [f64; 2] {
    let share = |cells: u16, of: u16| (f64::from(cells) + 0.5) / f64::from(of);
    [share(cell.x - area.x, area.width), 1.0 - share(cell.y - area.y, area.height)]
}

#[cfg(test)]
mod tests {
    use ratatui::crossterm::event::{KeyModifiers, MouseButton, MouseEventKind};

    use super::*;

    fn event(kind: MouseEventKind, column: u16, row: u16) -> MouseEvent {
        MouseEvent { kind, column, row, modifiers: KeyModifiers::NONE }
    }

    #[test]
    fn the_pane_under_the_mouse_is_found_and_the_place_on_its_map() {
        let panes = [('a', Rect::new(0, 0, 10, 10)), ('b', Rect::new(10, 0, 10, 10))];
        let cells = |pane: char, _: Rect| (pane == 'b').then(|| Rect::new(12, 2, 4, 2));
        let click = |column, row| {
            over(event(MouseEventKind::Down(MouseButton::Left), column, row), &panes, cells)
                .map(|pointed| (pointed.pane, pointed.place))
        };
        assert_eq!(click(9, 9), Some(('a', None)));
        assert_eq!(click(10, 9), Some(('b', None)));
        assert_eq!(click(12, 3), Some(('b', Some([0.125, 0.25]))));
        assert_eq!(click(15, 2), Some(('b', Some([0.875, 0.75]))));
        assert_eq!(click(20, 0), None);
        let released = event(MouseEventKind::Up(MouseButton::Left), 0, 0);
        assert_eq!(over(released, &panes, cells), None);
    }
}
