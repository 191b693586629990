//! What the tour tells, and what it does.

use crate::app::{Pane, View};

/// A chapter.
#[derive(Debug)]
pub struct Chapter {
    /// Its title.
    pub title: &'static str,
    /// Its parts, one at least.
    pub beats: &'static [Beat],
}

/// A part of a chapter.
#[derive(Debug)]
pub struct Beat {
    /// Done when a person comes to it.
    pub deeds: &'static [Deed],
    /// Two or three sentences, or four short ones: what is on the screen, and what to see.
    pub text: &'static str,
}

/// What a part of a chapter does on the live model.
#[derive(Debug, Clone, Copy, PartialEq)]
pub enum Deed {
    /// Shows a view.
    Show(View),
    /// Gives a pane the focus.
    Focus(Pane),
    /// Trains for so many steps.
    Steps {
        /// Of a model that begins at random.
        fresh: u64,
        /// Of a model that was loaded.
        knowing: u64,
    },
    /// Stops training.
    Pause,
    /// Draws two new directions.
    NewPlane,
    /// Looks at more of the plane, or at less.
    Zoom(f64),
    /// Asks how the loss curves around the weights.
    Curvature,
    /// Lists the parameters with the largest gradients.
    OpenProbe,
    /// Turns the parameter to where the loss is least.
    TurnToBest,
    /// Tunes the first two parameters of the list by turns, for so many rounds.
    Walk(usize),
    /// Lays a plane for the wormhole.
    Lay,
    /// Puts the weights on the plateau.
    Jump,
    /// Trains them from there.
    Descend(u64),
    /// Shows two models side by side.
    Compare,
}

/// The tour.
pub const CHAPTERS: &[Chapter] = &[
    Chapter {
        title: "What comes next",
        beats: &[
            Beat {
                deeds: &[Deed::Show(View::Observatory), Deed::Focus(Pane::NextToken)],
                text: "A language model reads a text and says how likely each word is to come next. The bars \
                       at the right are what it says; the marked one is the word that really follows.",
            },
            Beat {
                deeds: &[Deed::Steps { fresh: 60, knowing: 1 }],
                text: "Now it trains. The loss is the surprise at what really follows: 0 where the model was \
                       sure of it, large where it was not. Watch the loss fall and the bars take shape.",
            },
        ],
    },
    Chapter {
        title: "One weight",
        beats: &[
            Beat {
                deeds: &[Deed::Pause, Deed::Show(View::Probe), Deed::OpenProbe],
                text: "A model is a heap of numbers, its weights. The list holds those that matter most just \
                       now. The curve is the loss while the first of them turns and all others stay.",
            },
            Beat {
                deeds: &[Deed::TurnToBest],
                text: "Here it is turned to its best. The loss falls a little and stops: one weight alone \
                       cannot do much. Turn it yourself: tab goes to the curve, and the arrows turn.",
            },
        ],
    },
    Chapter {
        title: "Two weights",
        beats: &[Beat {
            deeds: &[Deed::Show(View::Probe), Deed::Walk(8)],
            text: "Tune one weight, then another. Now the best place of the first has moved: tune it again, \
                   and so on. With every weight of a model this would never end. The path on the map soon \
                   gets nowhere.",
        }],
    },
    Chapter {
        title: "The gradient",
        beats: &[
            Beat {
                deeds: &[
                    Deed::Show(View::Observatory),
                    Deed::Focus(Pane::Gradient),
                    Deed::Steps { fresh: 1, knowing: 1 },
                ],
                text: "The gradient says, for every weight at once, which way the loss falls and how fast. \
                       That was one step along it: all weights moved, each by very little. The numbers at \
                       the right say how much each part of the model pulls.",
            },
            Beat {
                deeds: &[Deed::Show(View::Layers), Deed::Steps { fresh: 40, knowing: 2 }],
                text: "Some more steps. Each row is one part of the model, each column a step: how strong the \
                       gradient is, how large the weights are, and how far a step moves them. The last is \
                       about a thousandth.",
            },
        ],
    },
    Chapter {
        title: "A picture of very many dimensions",
        beats: &[
            Beat {
                deeds: &[Deed::Pause, Deed::Show(View::Observatory), Deed::Focus(Pane::Landscape)],
                text: "A picture has two directions; the model has one for each weight. This map is a slice: \
                       the loss along two random directions, the weights in its middle.",
            },
            Beat {
                deeds: &[Deed::NewPlane],
                text: "Two other random directions, the same weights: another picture. Neither is the \
                       landscape. Each is one thin cut through it, and there are more cuts than anyone can draw.",
            },
        ],
    },
    Chapter {
        title: "Stuck in a valley?",
        beats: &[Beat {
            deeds: &[Deed::Curvature],
            text: "People once feared that training would get stuck in a valley that is not the lowest. A \
                   valley must rise on every side. Here the loss is felt along the directions that bend \
                   most. One that goes down is a way out, and with very many directions there nearly always is one.",
        }],
    },
    Chapter {
        title: "The landscape moves",
        beats: &[Beat {
            deeds: &[Deed::Show(View::Timeline), Deed::Steps { fresh: 200, knowing: 2 }],
            text: "Each small picture is a slice around the weights of one step. A mountain would stay while \
                   one walks down. This does not: the whole picture sinks and changes shape as the model learns.",
        }],
    },
    Chapter {
        title: "The wormhole",
        beats: &[
            Beat {
                deeds: &[Deed::Pause, Deed::Show(View::Wormhole), Deed::Lay],
                text: "Now the strangest thing. This plane goes through the weights as they are, in the pit \
                       at its middle. The cursor at the left is far out on the plateau, where the model knows nothing.",
            },
            Beat {
                deeds: &[Deed::Jump],
                text: "The weights were put there. From here the pit looks far away, and nothing on the \
                       plateau points to it. The left picture will stay as it is. The right one goes with the weights.",
            },
            Beat {
                deeds: &[Deed::Descend(24)],
                text: "All weights are trained. The point does not walk to the pit: in the picture it hardly \
                       moves. A pit opens under it instead. It went through directions that no picture shows.",
            },
        ],
    },
    Chapter {
        title: "Pretrained and instruct",
        beats: &[Beat {
            deeds: &[Deed::Compare],
            text: "Two models from the same start: one has read statements, the other was then taught to \
                   answer. Their landscapes and their bars differ, though their weights are close. The first \
                   time, they are trained before your eyes.",
        }],
    },
    Chapter {
        title: "What such pictures hide",
        beats: &[
            Beat {
                deeds: &[Deed::Show(View::Observatory), Deed::Focus(Pane::Landscape), Deed::Zoom(0.01)],
                text: "This is the same place a hundred times closer. Where a step looks like nothing on the \
                       large map, the ground here is nearly a slope. What one sees depends on how far one looks.",
            },
            Beat {
                deeds: &[Deed::Zoom(100.0)],
                text: "So the line below the map says what it cannot show: which loss, which directions, how \
                       long a step is, and how much of the weights' way lies within the picture: next to \
                       nothing. That is why training does not get stuck: it has room that we cannot see.",
            },
        ],
    },
];
