//! Chat templates, which are programs of strangers, and the special tokens that they name.

use std::collections::BTreeMap;
use std::fs;

use llamascape::model::chat::ChatTemplate;
use serde_json::{Value, json};

use super::dice::{Dice, cases};
use super::models::{copy_of, json_of, open, size_of_folder};
use super::{fixture, reads};

const SPOILT: u64 = 1000;
const WRITTEN: u64 = 600;
const CONFIGS: u64 = 200;

/// What a rendering may hold for each byte of a template besides what any reader may: a loop of the steps that are
/// counted.
const LOOP: usize = 1 << 20;

fn templates() -> Vec<String> {
    let examples = json_of(&fixture("chat.json"));
    let templates = examples["templates"].as_array().unwrap().iter();
    templates.map(|example| example["template"].as_str().unwrap().to_owned()).collect()
}

/// Tries a template, and speaks with it where it is taken.
fn tried(bytes: &[u8]) -> bool {
    let source = String::from_utf8_lossy(bytes);
    let special = BTreeMap::from([("bos_token".to_owned(), "<s>".to_owned())]);
    let Some(template) = reads(bytes.len() * LOOP, || ChatTemplate::new(&source, special)) else {
        return false;
    };
    for text in ["What is it? Paris", "a b", "\u{1b}[31m {{ x }} {% y", "one"] {
        reads(bytes.len() * LOOP, || template.converse(text));
    }
    true
}

#[test]
fn spoilt_chat_templates_are_taken_or_refused() {
    let templates = templates();
    let make = |dice: &mut Dice| {
        let template = dice.pick(&templates).as_bytes().to_vec();
        if dice.one_in(4) {
            let other = dice.pick(&templates).as_bytes().to_vec();
            return dice.splice(&template, &other);
        }
        dice.spoil(&template)
    };
    cases("spoilt chat templates", SPOILT, make, tried);
}

/// Pieces of programs: what loops, what grows, what is wide, what calls itself, and what takes odd values.
const PIECES: [&str; 34] = [
    "{{ messages[0].content }}",
    "{% for m in messages %}{{ m['content'] }}{% endfor %}",
    "{% for i in range(N) %}{% for j in range(N) %}x{% endfor %}{% endfor %}",
    "{% for i in range(N) %}{{ 'x' * N }}{% endfor %}",
    "{{ 'x' * N }}",
    "{{ ('x' * N)|upper|length }}",
    "{% set ns = namespace(a='x') %}{% for i in range(9) %}{% set ns.a = ns.a ~ ns.a %}{% endfor %}{{ ns.a }}",
    "{% macro f(n) %}{{ f(n) }}{% endmacro %}{{ f(N) }}",
    "{% macro f(n) %}{% if n > 0 %}{{ f(n - 1) }}{{ f(n - 1) }}{% endif %}{% endmacro %}{{ f(N) }}",
    "{{ 'a\nb'|indent(N) }}",
    "{{ 'a\nb'|indent(width=N) }}",
    "{{ [1, 2]|batch(N, 'x')|list }}",
    "{{ [1, 2]|slice(N)|list }}",
    "{{ '%Nd'|format(1) }}",
    "{{ '{:>N}'.format('x') }}",
    "{{ '{:.Nf}'.format(1.5) }}",
    "{{ '{:0N}'.format(7) }}",
    "{{ '%.Nf' % 1.5 }}",
    "{{ 1.5|round(N) }}",
    "{{ N ** N }}",
    "{{ N // 0 }}{{ N % 0 }}",
    "{{ -N * N + N - N }}",
    "{{ 'abc'[N:-N] }}{{ 'abc'[::N] }}",
    "{{ messages|tojson(indent=N) }}",
    "{{ messages[N] }}{{ messages[-N].x.y }}",
    "{{ strftime_now('%Y%N%%%') }}",
    "{{ raise_exception('\u{1b}[31m\n no') }}",
    "{{ 'a,b'.split(',', N) }}{{ 'é日'[1:] }}{{ 'x'.replace('', 'yy') }}",
    "{% generation %}{{ loop.index }}{% endgeneration %}",
    "{% include 'chat template' %}{% import 'x' as y %}",
    "{% set x %}{{ messages }}{% endset %}{{ x|safe|string|trim|int|float|abs }}",
    "{{ messages|sort|reverse|first|items|dictsort }}",
    "{%- if tools is defined and tools is sequence -%}{{ tools|map(attribute='x')|join }}{%- endif -%}",
    "{{ cycler }}{{ self }}{{ super() }}{{ caller() }}{{ loop }}",
];
const NUMBERS: [&str; 10] =
    ["0", "-1", "3", "50", "9999", "10001", "1000000", "4294967296", "9223372036854775807", "1e308"];

/// A program of a few pieces, one of them inside another now and then.
fn program(dice: &mut Dice) -> Vec<u8> {
    let mut program = String::new();
    for _ in 0..=dice.below(3) {
        let piece = dice.pick(&PIECES).replace('N', dice.pick::<&str>(&NUMBERS));
        program = match dice.below(6) {
            0 => format!("{{% for q in range({}) %}}{program}{piece}{{% endfor %}}", dice.pick(&NUMBERS)),
            1 => format!("{{% if {} %}}{piece}{{% endif %}}{program}", dice.pick(&NUMBERS)),
            2 => {
                let depth = dice.below(2000);
                format!("{}{piece}{}", "{% if 1 %}".repeat(depth), "{% endif %}".repeat(depth))
            }
            _ => program + &piece,
        };
    }
    if dice.one_in(12) {
        let depth = dice.below(20_000);
        program += &format!("{{{{ {}1{} }}}}", "(".repeat(depth), ")".repeat(depth));
    }
    program += if dice.one_in(2) { "{{ messages[0].content }}" } else { "" };
    program.into_bytes()
}

#[test]
fn programs_that_loop_grow_and_call_themselves_come_to_an_end() {
    cases("programs as chat templates", WRITTEN, program, tried);
}

#[test]
fn spoilt_special_tokens_cost_the_template_and_not_the_model() {
    let copy = copy_of("tiny-hf");
    let whole = json!({
        "bos_token": "<s>", "eos_token": {"content": "</s>", "lstrip": false}, "unk_token": null,
        "chat_template": [{"name": "tool_use", "template": "no"},
                          {"name": "default", "template": templates()[0]}],
    });
    let path = copy.path().join("tokenizer_config.json");
    let make = |dice: &mut Dice| {
        let config = if dice.one_in(3) { Value::String(templates()[1].clone()) } else { whole.clone() };
        dice.spoil_json(&config)
    };
    cases("tokenizer_config.json", CONFIGS, make, |bytes| {
        fs::write(&path, bytes).unwrap();
        let model = reads(size_of_folder(copy.path()) * 64, || open(copy.path())).unwrap();
        model.chat.is_some_and(|chat| reads(bytes.len(), || chat.converse("a b")).is_some())
    });
}
