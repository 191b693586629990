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
    /// The same of a model that was loaded, where that differs.
    pub knowing: Option<&'static str>,
}

impl Beat {
    /// What is told of a model that was loaded, or that begins at random.
    pub fn told(&self, loaded: bool) -> &'static str {
        self.knowing.filter(|_| loaded).unwrap_or(self.text)
    }
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
    /// Evaluates the slice around the weights as they are.
    Redraw,
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
    /// Compares the slices of the plane with its first one.
    CompareWithFirst,
    /// Shows two models side by side.
    Compare,
}

/// What is told while the two models are made.
pub const WAITING: &str = "Two models are made now, which takes a few minutes, but only once: the first reads statements, the \
                           second is the first taught to answer questions. Wait to see them side by side, or go on.";

/// The tour.
pub const CHAPTERS: &[Chapter] = &[
    Chapter {
        title: "What comes next",
        beats: &[
            Beat {
                deeds: &[Deed::Show(View::Observatory), Deed::Focus(Pane::NextToken)],
                text: "A language model says how likely each word is to come next. The bars at the right are its \
                       guesses; the marked word is the one that really follows. This model began at random: until \
                       it trains, even a sure guess means nothing.",
                knowing: Some(
                    "A language model reads a text and says how likely each word is to come next. This one has \
                     learnt much already. The bars at the right are its guesses; the marked one is the word that \
                     really follows.",
                ),
            },
            Beat {
                deeds: &[Deed::Steps { fresh: 60, knowing: 1 }],
                text: "Now it trains. The loss is how surprised the model was by the word that came: 0 if it was \
                       sure of it. Watch the loss fall. Soon the bars name capitals, though seldom the right one yet.",
                knowing: Some(
                    "Now it learns this one text. The loss is how surprised the model was by the words that came: 0 \
                     if it was sure of them. That was one step; the bars say what has changed.",
                ),
            },
        ],
    },
    Chapter {
        title: "One weight",
        beats: &[
            Beat {
                deeds: &[Deed::Pause, Deed::Show(View::Probe), Deed::OpenProbe],
                text: "A model is a long list of numbers, its weights. Here are those to which the loss is most \
                       sensitive just now. The curve is the loss if the first one were larger or smaller and all \
                       others stayed.",
                knowing: None,
            },
            Beat {
                deeds: &[Deed::TurnToBest],
                text: "Here that weight is at its best within this range. The loss falls only a little: one weight \
                       alone cannot do much. Try it: the left and right arrows turn the weight.",
                knowing: None,
            },
        ],
    },
    Chapter {
        title: "Two weights",
        beats: &[Beat {
            deeds: &[Deed::Show(View::Probe), Deed::Walk(8)],
            text: "Now two weights, tuned by turns: the line on the map. It soon stops, and the loss has hardly \
                   fallen. Compare the two lines of numbers: eight steps of all weights at once go much further \
                   than eight rounds of these two.",
            knowing: None,
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
                text: "How could one tune all weights at once? The gradient says for each of them which way the loss \
                       falls, and how steeply. One step was just taken with it: every weight moved a little. The \
                       bars show the gradient in each part.",
                knowing: None,
            },
            Beat {
                deeds: &[Deed::Show(View::Layers), Deed::Steps { fresh: 40, knowing: 2 }],
                text: "More steps. Each row is a part of the model, each column a step; brighter is more. There \
                       are the gradient, the weights, and how far a step moves them. A model this young is moved by \
                       up to a few percent, more than the 1e-3 above, which is healthy once it has learnt much.",
                knowing: Some(
                    "More steps. Each row is a part of the model, each column a step; brighter is more. There are \
                     the gradient, the weights, and how far a step moves them. A model that has learnt much is moved \
                     by far less than a percent.",
                ),
            },
        ],
    },
    Chapter {
        title: "A picture of very many dimensions",
        beats: &[Beat {
            deeds: &[Deed::Pause, Deed::Show(View::Observatory), Deed::Focus(Pane::Landscape), Deed::Redraw],
            text: "A map has two directions; the model has one for each weight. So this map is only a slice. The \
                   weights are in its middle, and it shows the loss if they are moved along two directions chosen at \
                   random. Dark is low.",
            knowing: None,
        }],
    },
    Chapter {
        title: "The landscape moves",
        beats: &[Beat {
            deeds: &[
                Deed::Show(View::Timeline),
                Deed::CompareWithFirst,
                Deed::Steps { fresh: 200, knowing: 2 },
            ],
            text: "Each small picture is the same slice around the weights of another step. A mountain stays while \
                   one walks down it; this ground changes. The line above the small pictures says how far it sank \
                   or rose since the one marked B.",
            knowing: None,
        }],
    },
    Chapter {
        title: "Stuck in a valley?",
        beats: &[
            Beat {
                deeds: &[
                    Deed::Pause,
                    Deed::Show(View::Observatory),
                    Deed::Focus(Pane::Landscape),
                    Deed::NewPlane,
                ],
                text: "The same weights, two other random directions: another picture. Both are true, and neither \
                       is the landscape. Each is one thin cut through it, and there are more cuts than anyone could \
                       draw.",
                knowing: None,
            },
            Beat {
                deeds: &[Deed::Curvature],
                text: "Can training get stuck in a valley that is not the lowest? Only where the loss rises in every \
                       direction. Here it is asked along some that bend the most. Wherever one goes down there is a \
                       way out.",
                knowing: None,
            },
        ],
    },
    Chapter {
        title: "The wormhole",
        beats: &[
            Beat {
                deeds: &[Deed::Show(View::Wormhole), Deed::Lay],
                text: "Now the strangest thing. The weights lie in the middle of this slice, the cursor far from \
                       them. Below are the losses of both places: where that of the cursor is much higher, the \
                       model has lost most of what it knew.",
                knowing: None,
            },
            Beat {
                deeds: &[Deed::Jump],
                text: "The weights were moved there. Look where the low ground of this picture is, and how far away. \
                       The left picture stays as it is; the right one is drawn again around the weights as they \
                       train.",
                knowing: None,
            },
            Beat {
                deeds: &[Deed::Descend(24)],
                text: "All weights were trained. The point did not walk to the low ground: in the picture it has hardly \
                       moved. Instead the ground under it has sunk. The way down led through directions that the \
                       picture does not show.",
                knowing: None,
            },
        ],
    },
    Chapter {
        title: "Pretrained and instruct",
        beats: &[Beat {
            deeds: &[Deed::Compare],
            text: "Both were asked for the capital of France. The first has only read statements. The second is the \
                   first, taught to answer: it says Paris. The line named path is the loss on the way from one to the \
                   other.",
            knowing: None,
        }],
    },
    Chapter {
        title: "What such pictures hide",
        beats: &[
            Beat {
                deeds: &[Deed::Show(View::Observatory), Deed::Focus(Pane::Landscape), Deed::Zoom(0.01)],
                text: "The same place, a hundred times closer. Of the shapes of the large map nothing is left: the \
                       lowest and the highest loss, below, hardly differ. What one sees depends on how far one \
                       looks.",
                knowing: None,
            },
            Beat {
                deeds: &[Deed::Zoom(100.0)],
                text: "To be stuck, the weights would need a wall on every side. A map shows two directions, and \
                       training hardly moves along them: it goes down along the others. With so many, one nearly \
                       always leads down.",
                knowing: None,
            },
        ],
    },
];
