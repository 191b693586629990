//! Chat templates: how a model that answers people wants to be spoken to.
//!
//! A template is a program in Jinja that its author wrote for Python. What it gives here is what transformers'
//! `apply_chat_template(tokenize=False, add_generation_prompt=True)` gives for a single message of a user.
//! It comes from a stranger, so its steps, its text and its widths are bounded; what it holds in variables is not.

use std::collections::BTreeMap;
use std::io;

use minijinja::filters::{batch, format, indent, slice};
use minijinja::value::{Kwargs, Rest};
use minijinja::{Environment, Error, ErrorKind, State, Value};
use minijinja_contrib::pycompat::unknown_method_callback;
use serde::Serialize;
use serde_json::Serializer;
use serde_json::ser::{Formatter, PrettyFormatter};

use super::checkpoint::quoted;

/// Instructions of one rendering. The longest templates that are in use take some thousand for one message.
const MOST_STEPS: u64 = 500_000;
/// Loops and macros inside one another, a macro counting as four. Small enough for the stack of any thread.
const DEEPEST: usize = 100;
/// Bytes of a text at most: far more than any model reads.
const LONGEST: usize = 1 << 24;
/// Digits of a number in a format, and so of its width: the library panics on more.
const WIDEST: usize = 4;

/// What a new template is tried with.
const TRIAL: &str = "What is the capital of France?";

/// Why a chat template cannot be used.
#[derive(Debug, thiserror::Error)]
pub enum ChatError {
    /// It is no template, or asks for what is not there, or refuses the message.
    #[error("the chat template fails at line {line} ({problem}): write the model's prompt in full instead")]
    Failed {
        /// The line in the template.
        line: usize,
        /// What is wrong there, quoted.
        problem: String,
    },
    /// It writes too much.
    #[error("the chat template gives more than {LONGEST} bytes: write the model's prompt in full instead")]
    Long,
    /// It takes too many steps.
    #[error("the chat template comes to no end: write the model's prompt in full instead")]
    Endless,
    /// The text has no word before the one that begins the answer.
    #[error("a chat template needs a message and, as the last word, what begins its answer: give more text")]
    Short,
    /// The message of the user is not in the text.
    #[error("the chat template leaves out what the user says: write the model's prompt in full instead")]
    Deaf,
}

impl From<Error> for ChatError {
    fn from(cause: Error) -> Self {
        match cause.kind() {
            ErrorKind::OutOfFuel => return Self::Endless,
            ErrorKind::WriteFailure => return Self::Long,
            _ => {}
        }
        let kind = cause.kind().to_string();
        let problem = quoted(cause.detail().unwrap_or(&kind));
        Self::Failed { line: cause.line().unwrap_or(1), problem }
    }
}

/// A template that gave a text for a first message.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ChatTemplate {
    source: String,
    special: BTreeMap<String, String>,
}

impl ChatTemplate {
    /// Takes a template, and the special tokens under the names by which it may call them, such as `bos_token`.
    ///
    /// It is tried at once: a template that can be read may still call what only Python has.
    pub fn new(source: &str, special: BTreeMap<String, String>) -> Result<Self, ChatError> {
        let template = Self { source: source.to_owned(), special };
        if template.render(TRIAL)?.contains(TRIAL) { Ok(template) } else { Err(ChatError::Deaf) }
    }

    /// The text of a conversation in which the user has said this and the model is about to answer.
    ///
    /// It is whole: the tokens that begin a text are in it where the template wants them, so it is for
    /// [`Tokenizer::encode_raw`](super::tokenizer::Tokenizer::encode_raw), which adds none.
    pub fn render(&self, user: &str) -> Result<String, ChatError> {
        let message: Value = [("role", "user"), ("content", user)].into_iter().collect();
        let mut context: BTreeMap<&str, Value> =
            self.special.iter().map(|(name, token)| (name.as_str(), Value::from(token))).collect();
        context.insert("messages", Value::from(vec![message]));
        context.insert("tools", Value::from(()));
        context.insert("documents", Value::from(()));
        context.insert("add_generation_prompt", Value::from(true));
        let (environment, source) = (environment(), without_marks(&self.source));
        let mut text = Text(Vec::new());
        environment
            .template_from_named_str("chat template", &source)?
            .render_captured_to(context, &mut text)?;
        // What is written is whole texts.
        Ok(String::from_utf8_lossy(&text.0).into_owned())
    }

    /// A text as a conversation: its last word begins the model's answer, what is before it is what the user says.
    pub fn converse(&self, text: &str) -> Result<String, ChatError> {
        let (question, answer) = text.trim_end().rsplit_once(char::is_whitespace).unwrap_or_default();
        if question.trim().is_empty() {
            return Err(ChatError::Short);
        }
        Ok(self.render(question.trim())? + answer)
    }

    /// The template as it was given.
    pub(super) fn source(&self) -> &str {
        &self.source
    }

    /// The special tokens under their names.
    pub(super) fn special(&self) -> &BTreeMap<String, String> {
        &self.special
    }
}

/// What a template writes, up to [`LONGEST`].
struct Text(Vec<u8>);

impl io::Write for Text {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        if self.0.len() + bytes.len() > LONGEST {
            return Err(io::Error::other("the text is too long"));
        }
        self.0.extend_from_slice(bytes);
        Ok(bytes.len())
    }

    fn flush(&mut self) -> io::Result<()> {
        Ok(())
    }
}

/// Jinja as transformers sets it up (`_cached_compile_jinja_template` in its `utils/chat_template_utils.py`).
fn environment() -> Environment<'static> {
    let mut environment = Environment::new();
    environment.set_trim_blocks(true);
    environment.set_lstrip_blocks(true);
    environment.set_fuel(Some(MOST_STEPS));
    environment.set_recursion_limit(DEEPEST);
    environment.set_unknown_method_callback(call_method);
    environment.add_filter("tojson", to_json);
    // No template can spell the second names.
    environment.add_filter("any indent", indent);
    environment.add_filter("any batch", batch);
    environment.add_filter("any slice", slice);
    environment.add_filter("any format", format);
    environment.add_filter("indent", narrow_indent);
    environment.add_filter("batch", narrow_batch);
    environment.add_filter("slice", narrow_slice);
    environment.add_filter("format", narrow_format);
    environment.add_test("sequence", is_sequence);
    environment.add_function("raise_exception", raise_exception);
    environment.add_function("strftime_now", strftime_now);
    environment
}

/// A method of Python's.
fn call_method(state: &State, value: &Value, method: &str, args: &[Value]) -> Result<Value, Error> {
    if method == "format" {
        check_format(value)?;
    }
    unknown_method_callback(state, value, method, args)
}

/// Refuses a format with wide numbers.
fn check_format(format: &Value) -> Result<(), Error> {
    let numbers = format.as_str().unwrap_or_default().split(|c: char| !c.is_ascii_digit());
    match numbers.map(str::len).max() {
        Some(digits) if digits > WIDEST => Err(too_wide()),
        _ => Ok(()),
    }
}

#[expect(clippy::needless_pass_by_value, reason = "minijinja hands over values, not references to them")]
fn narrow_format(state: &State, values: Rest<Value>) -> Result<Value, Error> {
    values.first().map_or(Ok(()), check_format)?;
    state.apply_filter("any format", &values)
}

#[expect(clippy::needless_pass_by_value, reason = "minijinja hands over values, not references to them")]
fn narrow_indent(state: &State, values: Rest<Value>) -> Result<Value, Error> {
    narrow(state, "any indent", &values)
}

#[expect(clippy::needless_pass_by_value, reason = "minijinja hands over values, not references to them")]
fn narrow_batch(state: &State, values: Rest<Value>) -> Result<Value, Error> {
    narrow(state, "any batch", &values)
}

#[expect(clippy::needless_pass_by_value, reason = "minijinja hands over values, not references to them")]
fn narrow_slice(state: &State, values: Rest<Value>) -> Result<Value, Error> {
    narrow(state, "any slice", &values)
}

/// Applies a filter whose options may be no numbers of more digits than [`WIDEST`].
fn narrow(state: &State, filter: &str, values: &[Value]) -> Result<Value, Error> {
    let most = 10_usize.pow(WIDEST as u32);
    let is_wide = |number: Value| usize::try_from(number).is_ok_and(|number| number >= most);
    let mut options = values.iter().skip(1);
    if options.any(|option| is_wide(option.clone()) || option.get_attr("width").is_ok_and(is_wide)) {
        return Err(too_wide());
    }
    state.apply_filter(filter, values)
}

fn too_wide() -> Error {
    Error::new(ErrorKind::InvalidOperation, "it asks for something too wide")
}

/// Replaces `{% generation %}`, which marks the answers for training in transformers and changes no text, by a
/// block that is known here and, like it, keeps its variables to itself.
fn without_marks(source: &str) -> String {
    let mut plain = String::with_capacity(source.len());
    let mut rest = source;
    while let Some(begin) = rest.find("{%") {
        let (text, from_tag) = rest.split_at(begin);
        let (tag, behind) = from_tag.split_at(from_tag.find("%}").map_or(from_tag.len(), |end| end + 2));
        plain.push_str(text);
        match tag.trim_matches(|c: char| c.is_whitespace() || "{%-+}".contains(c)) {
            "generation" | "endgeneration" => plain.push_str(&tag.replace("generation", "with")),
            _ => plain.push_str(tag),
        }
        rest = behind;
    }
    plain + rest
}

/// In Jinja a text and a dictionary are sequences, too.
fn is_sequence(value: &Value) -> bool {
    value.len().is_some()
}

fn raise_exception(message: &str) -> Result<Value, Error> {
    Err(Error::new(ErrorKind::InvalidOperation, message.to_owned()))
}

/// The time where the model is, as Python's `strftime` writes it in English.
fn strftime_now(format: &str) -> Result<String, Error> {
    jiff::fmt::strtime::format(format, &jiff::Zoned::now())
        .map_err(|cause| Error::new(ErrorKind::InvalidOperation, cause.to_string()))
}

/// JSON as Python's `json.dumps` writes it, with the two options that templates use.
#[expect(
    clippy::needless_pass_by_value,
    reason = "minijinja hands over the options, not a reference to them"
)]
fn to_json(value: &Value, options: Kwargs) -> Result<String, Error> {
    const WIDEST: usize = 16;
    let refused = |problem: String| Error::new(ErrorKind::InvalidOperation, problem);
    let indent: Option<usize> = options.get("indent")?;
    let in_ascii: Option<bool> = options.get("ensure_ascii")?;
    options.assert_all_used()?;
    let mut bytes = Vec::new();
    let written = match indent {
        Some(indent) => {
            let indent = " ".repeat(indent.min(WIDEST));
            value.serialize(&mut Serializer::with_formatter(
                &mut bytes,
                PrettyFormatter::with_indent(indent.as_bytes()),
            ))
        }
        None => value.serialize(&mut Serializer::with_formatter(&mut bytes, Spaced)),
    };
    written.map_err(|cause| refused(cause.to_string()))?;
    let text = String::from_utf8(bytes).map_err(|cause| refused(cause.to_string()))?;
    Ok(if in_ascii == Some(true) { escaped(&text) } else { text })
}

/// JSON on one line with a space behind each comma and colon.
struct Spaced;

impl Formatter for Spaced {
    fn begin_array_value<W: ?Sized + io::Write>(&mut self, writer: &mut W, first: bool) -> io::Result<()> {
        if first { Ok(()) } else { writer.write_all(b", ") }
    }

    fn begin_object_key<W: ?Sized + io::Write>(&mut self, writer: &mut W, first: bool) -> io::Result<()> {
        if first { Ok(()) } else { writer.write_all(b", ") }
    }

    fn begin_object_value<W: ?Sized + io::Write>(&mut self, writer: &mut W) -> io::Result<()> {
        writer.write_all(b": ")
    }
}

/// JSON with `\u00e9` for each character that is not ASCII: such characters stand in its texts alone.
fn escaped(json: &str) -> String {
    let mut text = String::with_capacity(json.len());
    for character in json.chars() {
        if character.is_ascii() {
            text.push(character);
        } else {
            let units = character.encode_utf16(&mut [0; 2]).to_vec();
            text.extend(units.iter().map(|unit| format!("\\u{unit:04x}")));
        }
    }
    text
}
