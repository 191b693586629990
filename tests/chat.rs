//! Chat templates give the texts that transformers gives, and a bad one is refused in one line.
//!
//! `tests/fixtures/make_chat.py` made the templates and the texts.

// What fails to unwrap fails the test.
#![allow(clippy::unwrap_used)]

use std::collections::BTreeMap;

use llamascape::model::chat::{ChatError, ChatTemplate};
use serde_json::Value;

fn template(source: &str) -> Result<ChatTemplate, ChatError> {
    ChatTemplate::new(source, BTreeMap::new())
}

/// Why a template cannot be used: always one line.
fn refusal(source: &str) -> String {
    let message = template(source).unwrap_err().to_string();
    assert!(!message.contains('\n'), "{message:?}");
    message
}

#[test]
fn a_question_becomes_the_text_of_the_reference() {
    let expected: Value = serde_json::from_str(include_str!("fixtures/chat.json")).unwrap();
    let special: BTreeMap<String, String> = serde_json::from_value(expected["special"].clone()).unwrap();
    for entry in expected["templates"].as_array().unwrap() {
        let name = entry["name"].as_str().unwrap();
        let template = ChatTemplate::new(entry["template"].as_str().unwrap(), special.clone()).unwrap();
        for case in entry["texts"].as_array().unwrap() {
            let text = template.render(case["user"].as_str().unwrap()).unwrap();
            assert_eq!(text, case["text"].as_str().unwrap(), "{name}");
        }
    }
}

#[test]
fn the_last_word_begins_the_answer_behind_the_template() {
    let template = template("{{ messages[0].content }}\n{{ '<|assistant|>\\n' }}").unwrap();
    assert_eq!(
        template.converse(" Why is\nit so? Because\n").unwrap(),
        "Why is\nit so?\n<|assistant|>\nBecause"
    );
    for text in ["", " ", "Because", " Because "] {
        assert!(matches!(template.converse(text), Err(ChatError::Short)), "{text:?}");
    }
}

#[test]
fn a_template_may_ask_for_the_date() {
    let template = template("{{ strftime_now('%Y') }} {{ messages[0].content }}").unwrap();
    let year = || format!("{} Hi", jiff::Zoned::now().year());
    // A year may end meanwhile.
    let (before, said, after) = (year(), template.render("Hi").unwrap(), year());
    assert!([before, after].contains(&said), "{said}");
}

#[test]
fn what_a_template_raises_is_told_with_its_line() {
    assert_eq!(
        refusal("{% if messages %}\n{{ raise_exception('only\\nsystem') }}{% endif %}"),
        "the chat template fails at line 2 (\"only\\nsystem\"): write the model's prompt in full instead"
    );
}

#[test]
fn what_is_no_template_is_refused() {
    for source in [
        "{% if %}",
        "{{ messages[0].content",
        "{% for message in messages %}",
        "{% nonsense %}",
        "{{ unheard_of() }}",
        "{{ messages[0].content | unheard_of }}",
        "{{ messages[0].content.unheard_of() }}",
        "{{ missing.field }}",
        "{{ messages | tojson(unheard_of=1) }}",
        "{% include 'secret' %}",
        "{% endgeneration %}",
        "{% generation %",
    ] {
        let message = refusal(source);
        assert!(message.starts_with("the chat template fails at line 1 (\""), "{source}: {message}");
    }
}

#[test]
fn a_template_that_comes_to_no_end_is_stopped() {
    let loops = "{% for a in range(9999) %}{% for b in range(9999) %}{% set c = a %}{% endfor %}{% endfor %}";
    assert!(matches!(template(loops), Err(ChatError::Endless)));
    let recursion = "{% macro again(n) %}{{ again(n + 1) }}{% endmacro %}{{ again(0) }}";
    assert!(matches!(template(recursion), Err(ChatError::Failed { .. })));
}

#[test]
fn a_template_that_leaves_out_the_question_is_refused() {
    assert!(matches!(template("{{ messages | length }}"), Err(ChatError::Deaf)));
    let of_parts = "{% for part in messages[0].content %}{{ part.text }}{% endfor %}";
    assert!(matches!(template(of_parts), Err(ChatError::Deaf)));
}
